#include "ockham/kernels/stored_matrix.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include "ockham/core/error.h"
#include "ockham/kernels/builder.h"

namespace ockham {
namespace {

// To be raised where the same bytes come to mean something else: another order of codes within a panel, say.
constexpr uint64_t kMeaning = 3;
constexpr uint32_t kMostBuffers = 1 << 20;

using Memory = std::span<const std::unique_ptr<Buffer>>;

// Layouts are plain values, so that a pointer in them is a word that holds an address within the matrix's memory.
template <typename Layout>
constexpr bool kIsPlain = std::is_trivially_copyable_v<Layout> && sizeof(Layout) % sizeof(uintptr_t) == 0;

// Calls visit(pointer) for every pointer of a layout. Other words must not be taken for one: what is left in the
// padding of a small number may look like the address of a buffer.
template <typename Visit>
void for_shape_pointers(const LayoutShape& shape, const Visit& visit) {
  visit(shape.form.order);
}
template <typename Visit>
void for_record_pointers(const GroupRecords& records, const Visit& visit) {
  visit(records.records);
  visit(records.outers);
}
template <typename Visit>
void for_own_pointers(const DenseRows& dense, const Visit& visit) {
  visit(dense.values);
}
template <typename Visit>
void for_own_pointers(const IntegerPanels& panels, const Visit& visit) {
  for_record_pointers(panels.groups, visit);
  visit(panels.codes);
}
template <typename Visit>
void for_own_pointers(const SparseIntegerPanels& panels, const Visit& visit) {
  for_record_pointers(panels.groups, visit);
  visit(panels.masks);
  visit(panels.starts);
  visit(panels.values);
}
template <typename Visit>
void for_own_pointers(const SparseFloatPanels& panels, const Visit& visit) {
  visit(panels.masks);
  visit(panels.starts);
  visit(panels.values);
}
template <typename Visit>
void for_own_pointers(const StepPanels& panels, const Visit& visit) {
  visit(panels.starts);
  visit(panels.steps);
  visit(panels.values);
}
template <typename Visit>
void for_own_pointers(const GroupSparsePanels& panels, const Visit& visit) {
  visit(panels.masks);
  visit(panels.starts);
  visit(panels.codes);
  visit(panels.scales);
  visit(panels.zeros);
}

// Which words of a layout are pointers.
template <typename Layout>
std::vector<size_t> pointer_words(const Layout& layout) {
  std::vector<size_t> words;
  const auto start = reinterpret_cast<uintptr_t>(&layout);
  const auto add = [&](const auto* const& pointer) {
    words.push_back((reinterpret_cast<uintptr_t>(&pointer) - start) / sizeof(uintptr_t));
  };
  for_shape_pointers(layout, add);
  for_own_pointers(layout, add);
  return words;
}

// The buffer that an address lies in, or -1.
int64_t buffer_of(Memory memory, uintptr_t address) {
  for (size_t i = 0; i < memory.size(); ++i) {
    const auto start = reinterpret_cast<uintptr_t>(memory[i]->data());
    if (start != 0 && address >= start && address < start + static_cast<uintptr_t>(memory[i]->bytes()))
      return static_cast<int64_t>(i);
  }
  return -1;
}

class Writer {
 public:
  void put(const void* data, size_t bytes) {
    const auto* from = static_cast<const uint8_t*>(data);
    bytes_.insert(bytes_.end(), from, from + bytes);
  }
  void number(uint64_t value) { put(&value, sizeof value); }
  template <typename Layout>
  void layout(const Layout& layout, Memory memory);
  const std::vector<uint8_t>& bytes() const { return bytes_; }

 private:
  std::vector<uint8_t> bytes_;
};

template <typename Layout>
void Writer::layout(const Layout& layout, Memory memory) {
  const size_t bytes = sizeof layout;
  std::vector<uintptr_t> words(bytes / sizeof(uintptr_t));
  std::memcpy(words.data(), &layout, bytes);
  std::vector<uint64_t> pointers;  // word, buffer, offset
  for (const size_t i : pointer_words(layout)) {
    const int64_t buffer = buffer_of(memory, words[i]);
    if (buffer < 0) continue;
    const auto start = reinterpret_cast<uintptr_t>(memory[static_cast<size_t>(buffer)]->data());
    pointers.insert(pointers.end(), {i, static_cast<uint64_t>(buffer), words[i] - start});
    words[i] = 0;
  }
  number(bytes);
  put(words.data(), bytes);
  number(pointers.size() / 3);
  put(pointers.data(), pointers.size() * sizeof(uint64_t));
}

class Reader {
 public:
  Reader(std::span<const uint8_t> bytes, const std::string& where) : bytes_(bytes), where_(where) {}
  [[noreturn]] void refuse() const { throw_input("{}: is damaged; delete it, it is made again", where_); }
  std::span<const uint8_t> take(uint64_t count) {
    if (count > bytes_.size() - at_) refuse();
    const auto taken = bytes_.subspan(at_, static_cast<size_t>(count));
    at_ += static_cast<size_t>(count);
    return taken;
  }
  uint64_t number(uint64_t most = UINT64_MAX) {
    uint64_t value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    if (value > most) refuse();
    return value;
  }
  template <typename Layout>
  void layout(Layout& layout, const std::vector<std::span<const uint8_t>>& buffers);
  void align() { take((kStoredAlignment - at_ % kStoredAlignment) % kStoredAlignment); }
  std::span<const uint8_t> rest() const { return bytes_.subspan(at_); }

 private:
  std::span<const uint8_t> bytes_;
  const std::string& where_;
  size_t at_ = 0;
};

template <typename Layout>
void Reader::layout(Layout& layout, const std::vector<std::span<const uint8_t>>& buffers) {
  static_assert(kIsPlain<Layout>);
  const size_t bytes = sizeof layout;
  const std::vector<size_t> own = pointer_words(layout);
  if (number() != bytes) refuse();
  std::vector<uintptr_t> words(bytes / sizeof(uintptr_t));
  std::memcpy(words.data(), take(bytes).data(), bytes);
  for (uint64_t pointers = number(words.size()); pointers > 0; --pointers) {
    const uint64_t word = number(words.size() - 1), buffer = number(), offset = number();
    if (std::find(own.begin(), own.end(), word) == own.end()) refuse();
    if (buffer >= buffers.size() || offset >= buffers[buffer].size()) refuse();
    words[word] = reinterpret_cast<uintptr_t>(buffers[buffer].data() + offset);
  }
  std::memcpy(static_cast<void*>(&layout), words.data(), bytes);
}

template <size_t kIndex = 0>
MatrixLayout read_layout(Reader& reader, uint64_t index, const std::vector<std::span<const uint8_t>>& buffers) {
  if constexpr (kIndex < std::variant_size_v<MatrixLayout>) {
    if (index != kIndex) return read_layout<kIndex + 1>(reader, index, buffers);
    std::variant_alternative_t<kIndex, MatrixLayout> layout;
    reader.layout(layout, buffers);
    return layout;
  } else {
    reader.refuse();
  }
}

template <size_t... kIndices>
uint64_t mix_sizes(std::index_sequence<kIndices...>) {
  uint64_t mixed = kMeaning;
  ((mixed = mixed * 1000003 + sizeof(std::variant_alternative_t<kIndices, MatrixLayout>)), ...);
  return mixed;
}

void pad(size_t written, const WriteBytes& write) {
  const std::vector<uint8_t> zeros((kStoredAlignment - written % kStoredAlignment) % kStoredAlignment);
  if (!zeros.empty()) write(zeros.data(), zeros.size());
}

}  // namespace

// Reaches into matrices for both directions.
struct MatrixStore {
  static bool owns(const KernelMatrix& matrix) {
    const auto is_own = [&](const DenseRows& rows) {
      return buffer_of(matrix.memory_, reinterpret_cast<uintptr_t>(rows.values)) >= 0;
    };
    for (const MatrixPart& part : matrix.parts_) {
      const auto* dense = std::get_if<DenseRows>(&part.layout);
      if ((dense != nullptr && !is_own(*dense)) || (part.left && !is_own(*part.left))) return false;
    }
    return matrix.rows_ > 0 && (matrix.right_ == nullptr || owns(*matrix.right_));
  }

  static void write(const KernelMatrix& matrix, const WriteBytes& write) {
    Writer head;
    head.number(matrix.memory_.size());
    for (const auto& buffer : matrix.memory_) head.number(static_cast<uint64_t>(buffer->bytes()));
    for (const int64_t value : {matrix.rows_, matrix.columns_, matrix.rank_}) head.number(static_cast<uint64_t>(value));
    head.number(matrix.description_.size());
    head.put(matrix.description_.data(), matrix.description_.size());
    head.number(matrix.right_ != nullptr ? 1 : 0);
    head.number(matrix.parts_.size());
    for (const MatrixPart& part : matrix.parts_) {
      head.number(part.layout.index());
      std::visit([&](const auto& layout) { head.layout(layout, matrix.memory_); }, part.layout);
      head.number(part.outputs.size());
      head.put(part.outputs.data(), part.outputs.size() * sizeof(int32_t));
      head.number(part.left ? 1 : 0);
      if (part.left) head.layout(*part.left, matrix.memory_);
    }
    const uint64_t bytes = head.bytes().size();
    write(&bytes, sizeof bytes);
    write(head.bytes().data(), head.bytes().size());
    pad(sizeof bytes + head.bytes().size(), write);
    for (const auto& buffer : matrix.memory_) {
      write(buffer->data(), static_cast<size_t>(buffer->bytes()));
      pad(static_cast<size_t>(buffer->bytes()), write);
    }
    if (matrix.right_ != nullptr) MatrixStore::write(*matrix.right_, write);
  }

  static KernelMatrix read(std::span<const uint8_t> bytes, const std::string& where) {
    Reader file(bytes, where);
    const uint64_t head_bytes = file.number();
    Reader head(file.take(head_bytes), where);
    std::vector<uint64_t> sizes(head.number(kMostBuffers));
    for (uint64_t& size : sizes) size = head.number();
    std::vector<std::span<const uint8_t>> buffers;
    for (const uint64_t size : sizes) {
      file.align();
      buffers.push_back(file.take(size));
    }
    file.align();
    KernelMatrix matrix;
    for (int64_t* value : {&matrix.rows_, &matrix.columns_, &matrix.rank_})
      *value = static_cast<int64_t>(head.number(INT64_MAX));
    const auto text = head.take(head.number());
    matrix.description_.assign(text.begin(), text.end());
    const bool has_right = head.number(1) == 1;
    for (uint64_t parts = head.number(); parts > 0; --parts) {
      MatrixPart& part = matrix.parts_.emplace_back();
      part.layout = read_layout(head, head.number(), buffers);
      const auto outputs = head.take(head.number(INT32_MAX) * sizeof(int32_t));
      part.outputs.resize(outputs.size() / sizeof(int32_t));
      if (!outputs.empty()) std::memcpy(part.outputs.data(), outputs.data(), outputs.size());
      if (head.number(1) == 1) head.layout(part.left.emplace(), buffers);
    }
    if (has_right) matrix.right_ = std::make_unique<KernelMatrix>(read(file.rest(), where));
    return matrix;
  }
};

uint64_t stored_layout() {
  return mix_sizes(std::make_index_sequence<std::variant_size_v<MatrixLayout>>());
}

bool owns_weights(const KernelMatrix& matrix) {
  return MatrixStore::owns(matrix);
}

void store_matrix(const KernelMatrix& matrix, const WriteBytes& write) {
  OCKHAM_CHECK(owns_weights(matrix));
  MatrixStore::write(matrix, write);
}

KernelMatrix view_stored_matrix(std::span<const uint8_t> bytes, const std::string& where) {
  return MatrixStore::read(bytes, where);
}

}  // namespace ockham
