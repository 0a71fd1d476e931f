#include "ockham/runtime/packed_weights.h"

#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <utility>

#include "ockham/core/error.h"
#include "ockham/core/parallel.h"
#include "ockham/core/progress.h"
#include "ockham/core/version.h"
#include "ockham/io/output_file.h"
#include "ockham/kernels/stored_matrix.h"

namespace fs = std::filesystem;

namespace ockham {
namespace {

// File: kMagic and stored_layout(), the matrices at multiples of 64 bytes, the table, kTail. Table: the number of
// entries, the entries, the lines of source_lines(), the SHA-256 (64 characters).
constexpr char kMagic[8] = {'O', 'C', 'K', 'P', 'A', 'C', 'K', '1'};
struct Head {
  char magic[8];
  uint64_t layout;
  uint64_t unused[6];
};
struct Tail {
  uint64_t table_offset, table_bytes, table_checksum;
  char magic[8];
};

// Four sums side by side, each over every fourth word: finds damage, not ill will.
uint64_t checksum(std::span<const uint8_t> bytes) {
  constexpr uint64_t kPrime = 0x9E3779B185EBCA87;
  uint64_t sums[4] = {1, 2, 3, 4};
  size_t at = 0;
  for (; at + 32 <= bytes.size(); at += 32) {
    uint64_t words[4];
    std::memcpy(words, bytes.data() + at, sizeof words);
    for (int i = 0; i < 4; ++i) {
      sums[i] = (sums[i] ^ words[i]) * kPrime;
      sums[i] ^= sums[i] >> 29;
    }
  }
  for (; at < bytes.size(); ++at) sums[0] = (sums[0] ^ bytes[at]) * kPrime;
  uint64_t all = bytes.size();
  for (const uint64_t sum : sums) all = (all ^ sum) * kPrime ^ sum >> 32;
  return all;
}

// Name, size and time of change of config and weight files, a line each.
std::string source_lines(const std::string& model) {
  std::vector<std::string> paths;
  if (fs::is_directory(model)) {
    for (const auto& entry : fs::directory_iterator(model)) {
      const std::string extension = entry.path().extension().string();
      const bool is_config = entry.path().filename() == "config.json";
      if (extension == ".safetensors" || extension == ".gguf" || is_config) paths.push_back(entry.path().string());
    }
    std::sort(paths.begin(), paths.end());
  } else {
    paths.push_back(model);
  }
  std::string lines = std::string(version()) + "\n";
  for (const std::string& path : paths) {
    struct stat state = {};
    if (::stat(path.c_str(), &state) != 0) throw_input("{}: cannot be read; check the path", path);
    lines += fmt::format("{} {} {}.{:09}\n", fs::path(path).filename().string(), state.st_size, state.st_mtim.tv_sec,
                         state.st_mtim.tv_nsec);
  }
  return lines;
}

template <typename Take>
void for_each_stored_matrix(const ModelFiles& files, const Take& take) {
  for (int64_t block = 0; block < files.config().blocks; ++block)
    for (const LinearSpec& spec : block_linears(files.config(), block)) take(files.read_linear(block, spec));
  take(files.read_matrix(FrameTensorRole::kHead));
}

std::string path_in(const ModelFiles& files, const std::string& directory) {
  const fs::path model = files.tokenizer_directory();
  const std::string place = fs::absolute(model).lexically_normal().string();
  if (!directory.empty())
    return directory + "/" + model.filename().string() + "-" + sha256_text(place).substr(0, 16) + ".ockham-packed";
  return fs::is_directory(model) ? (model / ".ockham-packed").string() : model.string() + ".ockham-packed";
}

}  // namespace

size_t stored_matrices(const ModelConfig& config) {
  size_t count = 1;
  for (int64_t block = 0; block < config.blocks; ++block) count += block_linears(config, block).size();
  return count;
}

std::shared_ptr<const PackedWeights> PackedWeights::open(const ModelFiles& files, const std::string& directory) {
  std::error_code error;
  if (!directory.empty() && (fs::create_directories(directory, error), error))
    throw_error(ErrorKind::kResource, "{}: cannot be made: {}; choose another directory for packed weights", directory,
                error.message());
  const std::string path = path_in(files, directory);
  std::string problem = "is missing";
  for (const bool may_write : {true, false}) {
    if (fs::exists(path)) {
      const std::shared_ptr<PackedWeights> weights(new PackedWeights(path));
      problem = weights->read(files);
      if (problem.empty()) return weights;
    }
    if (!may_write) break;
    log_info(fmt::format("{}: {}; packing the weights", path, problem));
    write(files, path);
  }
  throw_error(ErrorKind::kResource, "{}: {} after it was written; check the disk", path, problem);
}

std::string PackedWeights::read(const ModelFiles& files) {
  const auto* data = reinterpret_cast<const uint8_t*>(map_.bytes().data());
  const std::span<const uint8_t> bytes(data, map_.bytes().size());
  Head head;
  Tail tail;
  if (bytes.size() < sizeof head + sizeof tail + kStoredSlack) return "is cut short";
  std::memcpy(&head, data, sizeof head);
  std::memcpy(&tail, data + bytes.size() - sizeof tail, sizeof tail);
  if (std::memcmp(head.magic, kMagic, sizeof kMagic) != 0 || std::memcmp(tail.magic, kMagic, sizeof kMagic) != 0)
    return "is no file of packed weights, or cut short";
  if (head.layout != stored_layout()) return "is of another version";
  if (tail.table_offset > bytes.size() || tail.table_bytes > bytes.size() - tail.table_offset) return "is damaged";
  const auto table = bytes.subspan(tail.table_offset, tail.table_bytes);
  constexpr size_t kHash = 64;
  uint64_t count = 0;
  if (checksum(table) != tail.table_checksum || table.size() < sizeof count + kHash) return "is damaged";
  std::memcpy(&count, table.data(), sizeof count);
  if (count != stored_matrices(files.config()) || count > (table.size() - sizeof count - kHash) / sizeof(Entry))
    return "is of another model";
  entries_.resize(count);
  std::memcpy(entries_.data(), table.data() + sizeof count, count * sizeof(Entry));
  const std::string_view text(reinterpret_cast<const char*>(table.data()), table.size());
  const size_t lines = sizeof count + count * sizeof(Entry);
  const bool is_same = text.substr(lines, text.size() - lines - kHash) == source_lines(files.tokenizer_directory());
  if (!is_same && text.substr(text.size() - kHash) != files.sha256()) return "is of other weights";
  return check_entries();
}

std::string PackedWeights::check_entries() const {
  const auto* data = reinterpret_cast<const uint8_t*>(map_.bytes().data());
  const uint64_t size = map_.bytes().size();
  std::atomic<bool> is_whole = true;
  parallel_for(static_cast<int64_t>(entries_.size()), 1, [&](int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
      const Entry& entry = entries_[i];
      if (entry.bytes == 0) continue;
      const bool fits =
          entry.offset % kStoredAlignment == 0 && entry.offset <= size && entry.bytes <= size - entry.offset;
      if (!fits || checksum({data + entry.offset, entry.bytes}) != entry.checksum) is_whole = false;
    }
  });
  return is_whole ? "" : "is damaged";
}

void PackedWeights::write(const ModelFiles& files, const std::string& path) {
  OutputFile file(path);
  Head head = {};
  std::memcpy(head.magic, kMagic, sizeof kMagic);
  head.layout = stored_layout();
  file.write(&head, sizeof head);
  std::vector<Entry> entries;
  std::vector<uint8_t> stored;
  for_each_stored_matrix(files, [&](const KernelMatrix& matrix) {
    Entry& entry = entries.emplace_back(Entry{static_cast<uint64_t>(file.written()), 0, 0});
    if (!owns_weights(matrix)) return;
    stored.clear();
    store_matrix(matrix, [&](const void* data, size_t bytes) {
      const auto* from = static_cast<const uint8_t*>(data);
      stored.insert(stored.end(), from, from + bytes);
    });
    entry.bytes = stored.size();
    entry.checksum = checksum(stored);
    file.write(stored.data(), stored.size());
  });
  const std::vector<uint8_t> slack(kStoredSlack);
  file.write(slack.data(), slack.size());
  std::string table(sizeof(uint64_t), '\0');
  const uint64_t count = entries.size();
  std::memcpy(table.data(), &count, sizeof count);
  table.append(reinterpret_cast<const char*>(entries.data()), entries.size() * sizeof(Entry));
  table += source_lines(files.tokenizer_directory()) + files.sha256();
  Tail tail = {static_cast<uint64_t>(file.written()),
               table.size(),
               checksum({reinterpret_cast<const uint8_t*>(table.data()), table.size()}),
               {}};
  std::memcpy(tail.magic, kMagic, sizeof kMagic);
  file.write(table.data(), table.size());
  file.write(&tail, sizeof tail);
  file.commit();
}

KernelMatrix PackedWeights::view(size_t number) const {
  const Entry& entry = entries_[number];
  const auto* data = reinterpret_cast<const uint8_t*>(map_.bytes().data());
  return view_stored_matrix({data + entry.offset, entry.bytes}, path_);
}

}  // namespace ockham
