// Matrices written out and used where the bytes lie: the same products to the last bit; damaged bytes are refused.
#include "ockham/kernels/stored_matrix.h"

#include <cstddef>
#include <cstring>

#include "ockham/kernels/pack_sparse.h"
#include "tests/kernels/kernel_case.h"

namespace ockham {
namespace {

constexpr int64_t kOutputs = 37, kInputs = 160;

std::vector<float> product(const KernelMatrix& matrix) {
  Rng rng(7);
  const std::vector<float> x = random_inputs(rng, 3, kInputs);
  KernelInput input;
  input.reserve(matrix, 3, InputRounding::kFine);
  input.fill(matrix, x.data(), kInputs, 0, 3);
  std::vector<float> y(3 * kOutputs);
  multiply(matrix, input, 0, matrix.units(), y.data(), kOutputs);
  return y;
}

KernelMatrix striped_integers(bool has_mask, int64_t bits, int64_t rows = kOutputs) {
  IntegerSource source;
  source.rows = rows;
  source.columns = kInputs;
  source.bits = bits;
  source.group_size = 32;
  source.has_mask = has_mask;
  source.read = [&](int64_t row, IntegerRow& out) {
    for (int64_t c = 0; c < kInputs; ++c) {
      out.codes[c] = static_cast<uint8_t>((row * 7 + c * 5) % (1 << bits));
      if (has_mask) out.is_kept[c] = (row + c) % 3 == 0;
    }
    std::fill_n(out.scales, kInputs / 32, 0.25F);
    std::fill_n(out.zeros, kInputs / 32, uint8_t{3});
  };
  return pack_integers(source, BitmapLimits());
}

ReadFloats numbers(double share, int64_t count) {
  return [=](int64_t row, float* values) {
    Rng rng(static_cast<uint64_t>(row) + 1);
    for (int64_t c = 0; c < count; ++c) values[c] = rng.uniform() < share ? static_cast<float>(rng.normal()) : 0.0F;
  };
}

std::vector<KernelMatrix> matrices() {
  std::vector<KernelMatrix> all;
  all.push_back(striped_integers(false, 4));
  all.push_back(striped_integers(false, 3));
  all.push_back(striped_integers(true, 8));
  all.push_back(pack_dense(numbers(1, kInputs), DType::kBF16, kOutputs, kInputs));
  all.push_back(pack_sparse(numbers(0.3, kInputs), DType::kF32, kOutputs, kInputs));
  all.push_back(pack_sparse(numbers(0.02, kInputs), DType::kBF16, kOutputs, kInputs));
  std::vector<KernelMatrix> parts;
  parts.push_back(striped_integers(false, 4, 20));
  parts.push_back(striped_integers(false, 8, kOutputs - 20));
  std::vector<std::vector<int32_t>> rows(2);
  for (int32_t row = 0; row < kOutputs; ++row) rows[rows[0].size() < 20 ? 0 : 1].push_back(kOutputs - 1 - row);
  all.push_back(add_low_rank(join_rows(std::move(parts), rows), 5, numbers(1, 5), numbers(1, kInputs), DType::kF32));
  return all;
}

Buffer stored(const KernelMatrix& matrix) {
  std::vector<uint8_t> bytes;
  store_matrix(matrix, [&](const void* data, size_t count) {
    const auto* from = static_cast<const uint8_t*>(data);
    bytes.insert(bytes.end(), from, from + count);
  });
  EXPECT_EQ(bytes.size() % kStoredAlignment, 0u);
  Buffer copy(static_cast<int64_t>(bytes.size()));
  std::memcpy(copy.data(), bytes.data(), bytes.size());
  return copy;
}

TEST(StoredMatrix, ProductsAreTheSame) {
  for (const KernelMatrix& matrix : matrices()) {
    SCOPED_TRACE(matrix.description());
    ASSERT_TRUE(owns_weights(matrix));
    const Buffer bytes = stored(matrix);
    const KernelMatrix view = view_stored_matrix({bytes.data(), static_cast<size_t>(bytes.bytes())}, "file");
    EXPECT_EQ(view.description(), matrix.description());
    EXPECT_EQ(view.bytes(), matrix.bytes());
    EXPECT_EQ(product(view), product(matrix));
  }
}

TEST(StoredMatrix, BytesThatAreCutAreRefused) {
  for (const KernelMatrix& matrix : matrices()) {
    const Buffer bytes = stored(matrix);
    const auto size = static_cast<size_t>(bytes.bytes());
    for (const size_t length : {size_t{0}, size_t{7}, size_t{64}, size / 2, size - 64})
      EXPECT_THROW(view_stored_matrix({bytes.data(), length}, "file"), Error) << matrix.description() << ", " << length;
  }
}

// Three flags and five bytes of padding share a word with the upper bytes of a pointer that was there before. Whatever
// the flags are, the word is an address within more than 16 MiB.
TEST(StoredMatrix, WhatIsLeftInPaddingIsNoPointer) {
  const KernelMatrix matrix = pack_dense(numbers(1, 1056), DType::kBF16, 8192, 1056);
  const auto& dense = std::get<DenseRows>(matrix.parts()[0].layout);
  const uintptr_t inside = (reinterpret_cast<uintptr_t>(dense.values) + 0xffffff) & ~uintptr_t{0xffffff};
  auto* const form = reinterpret_cast<uint8_t*>(const_cast<InputForm*>(&dense.form));
  static_assert(offsetof(InputForm, is_turnable) == 2 && offsetof(InputForm, columns) == 8);
  std::memcpy(form + 3, reinterpret_cast<const uint8_t*>(&inside) + 3, 5);
  const Buffer bytes = stored(matrix);
  const KernelMatrix view = view_stored_matrix({bytes.data(), static_cast<size_t>(bytes.bytes())}, "file");
  EXPECT_TRUE(std::get<DenseRows>(view.parts()[0].layout).form == dense.form);
}

TEST(StoredMatrix, WeightsInAFileOfTheirOwnStayThere) {
  const std::vector<float> values(static_cast<size_t>(kOutputs * kInputs), 1.0F);
  EXPECT_FALSE(owns_weights(view_dense(values.data(), DType::kF32, kOutputs, kInputs)));
  EXPECT_FALSE(owns_weights(KernelMatrix()));
}

}  // namespace
}  // namespace ockham
