#include <numeric>

#include "ockham/core/half.h"
#include "ockham/kernels/pack_sparse.h"
#include "tests/kernels/kernel_case.h"

namespace ockham {
namespace {

enum class Zeros { kSymmetric, kCodes, kMinima };

struct Shape {
  int64_t bits, group_size, rows, columns;
};

// A source with random codes, and what it means in double. Row 2 has the code of zero everywhere, row 3 the largest.
struct IntegerCase {
  Shape shape;
  Zeros zeros = Zeros::kSymmetric;
  bool has_mask = false, has_f32_scales = false;
  std::vector<int32_t> group_index;
  std::vector<uint8_t> codes, zero_codes, kept;
  std::vector<float> scales, minima;

  int64_t group_size() const { return shape.group_size == 0 ? shape.columns : shape.group_size; }
  int64_t groups() const { return (shape.columns + group_size() - 1) / group_size(); }
  size_t group_of(int64_t row, int64_t column) const {
    const int64_t g = group_index.empty() ? column / group_size() : group_index[static_cast<size_t>(column)];
    return static_cast<size_t>(row * groups() + g);
  }

  void draw(Rng& rng) {
    const int levels = 1 << shape.bits;
    for (int64_t i = 0; i < shape.rows * groups(); ++i) {
      const auto scale = static_cast<float>(0.01 + 0.02 * rng.uniform());
      scales.push_back(has_f32_scales ? scale : half_to_float(float_to_half(scale)));
      minima.push_back(half_to_float(float_to_half(static_cast<float>(rng.normal()))));
      zero_codes.push_back(static_cast<uint8_t>(zeros == Zeros::kCodes ? rng.below(levels) : levels / 2));
    }
    for (int64_t i = 0; i < shape.rows * shape.columns; ++i) {
      const int64_t row = i / shape.columns;
      codes.push_back(static_cast<uint8_t>(row == 3 ? levels - 1 : rng.below(levels)));
      if (row == 2) codes.back() = zero_codes[group_of(row, i % shape.columns)];
      kept.push_back(static_cast<uint8_t>(row == 4 ? 0 : row == 5 ? 1 : rng.below(2)));
    }
  }

  KernelCase make() const {
    KernelCase c;
    c.reference.rows = shape.rows;
    c.reference.columns = shape.columns;
    for (int64_t i = 0; i < shape.rows * shape.columns; ++i) {
      const size_t g = group_of(i / shape.columns, i % shape.columns);
      const double code = codes[static_cast<size_t>(i)], scale = scales[g];
      const double offset = zeros == Zeros::kMinima ? minima[g] : -scale * zero_codes[g];
      const bool is_zero = has_mask && kept[static_cast<size_t>(i)] == 0;
      c.reference.weights.push_back(is_zero ? 0 : scale * code + offset);
      c.reference.magnitudes.push_back(std::fabs(scale) * code + std::fabs(offset));
    }
    c.matrix = pack_integers(source(), BitmapLimits());
    return c;
  }

  IntegerSource source() const {
    IntegerSource source;
    source.rows = shape.rows;
    source.columns = shape.columns;
    source.bits = shape.bits;
    source.group_size = shape.group_size;
    source.has_minima = zeros == Zeros::kMinima;
    source.has_mask = has_mask;
    source.group_index = group_index;
    source.read = [this](int64_t row, IntegerRow& out) {
      const auto copy = [&](const auto& from, int64_t count, auto* to) {
        std::copy_n(from.begin() + row * count, count, to);
      };
      copy(codes, shape.columns, out.codes);
      copy(scales, groups(), out.scales);
      if (zeros == Zeros::kMinima) copy(minima, groups(), out.minima);
      if (zeros == Zeros::kCodes) copy(zero_codes, groups(), out.zeros);
      if (has_mask) copy(kept, shape.columns, out.is_kept);
    };
    return source;
  }
};

IntegerCase random_case(Rng& rng, const Shape& shape, Zeros zeros) {
  IntegerCase c;
  c.shape = shape;
  c.zeros = zeros;
  c.draw(rng);
  return c;
}

constexpr int64_t kBits[] = {2, 3, 4, 5, 6, 7, 8};

TEST(IntegerKernel, EveryWidthMatchesTheReference) {
  Rng rng(1);
  for (const int64_t bits : kBits) {
    for (const int64_t columns : {1, 16, 31, 33, 64, 130, 515}) {
      for (const int64_t group : {0, 16, 32, 128}) {
        for (const Zeros zeros : {Zeros::kSymmetric, Zeros::kCodes, Zeros::kMinima}) {
          expect_products(random_case(rng, {bits, group, 19, columns}, zeros).make(), 2);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST(IntegerKernel, RowsThatFillNoPanelMatchTheReference) {
  Rng rng(3);
  for (const int64_t rows : {1, 2, 15, 16, 17, 32, 50}) {
    expect_products(random_case(rng, {4, 32, rows, 96}, Zeros::kCodes).make(), 4);
    if (HasFatalFailure()) return;
  }
}

TEST(IntegerKernel, GroupsOfAnyLengthMatchTheReference) {
  Rng rng(5);
  for (const int64_t bits : {3, 4, 8}) {
    for (const int64_t group : {1, 5, 24, 48, 100, 640, 1024}) {
      expect_products(random_case(rng, {bits, group, 18, 1300}, Zeros::kCodes).make(), 6);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(IntegerKernel, GroupsOfScatteredColumnsMatchTheReference) {
  Rng rng(7);
  for (const int64_t bits : kBits) {
    IntegerCase c;
    c.shape = {bits, 32, 18, 150};
    c.zeros = Zeros::kCodes;
    c.group_index.resize(150);
    std::iota(c.group_index.begin(), c.group_index.end(), 0);
    for (int32_t& index : c.group_index) index = index * 7 % 5;
    c.draw(rng);
    expect_products(c.make(), 8);
    if (HasFatalFailure()) return;
  }
}

TEST(IntegerKernel, MaskedWeightsAreExactlyZero) {
  Rng rng(9);
  for (const int64_t bits : kBits) {
    IntegerCase c;
    c.shape = {bits, 64, 18, 200};
    c.has_mask = true;
    c.zeros = Zeros::kCodes;
    c.draw(rng);
    expect_products(c.make(), 10);
    if (HasFatalFailure()) return;
  }
}

TEST(IntegerKernel, ScalesKeepTheirPrecision) {
  Rng rng(11);
  IntegerCase c;
  c.shape = {4, 64, 18, 256};
  c.has_f32_scales = true;
  c.draw(rng);
  const KernelCase made = c.make();
  EXPECT_EQ(made.matrix.description(), "int4 group 64, scales float32");
  expect_products(made, 12);
}

// The K types of GGUF: scales, and minima, are small integers times an f16 for each 256 columns.
TEST(IntegerKernel, NestedScalesMatchTheReference) {
  Rng rng(19);
  for (const int64_t bits : {2, 3, 4, 5, 6}) {
    for (const int64_t group : {16, 32}) {
      for (const Zeros zeros : {Zeros::kSymmetric, Zeros::kMinima}) {
        IntegerCase c;
        c.shape = {bits, group, 18, 576};
        c.zeros = zeros;
        c.draw(rng);
        for (int64_t i = 0; i < c.shape.rows * c.groups(); ++i) {
          const float factor =
              half_to_float(static_cast<uint16_t>(0x1001 + i / c.groups() * 77 + i % c.groups() / (256 / group)));
          c.scales[static_cast<size_t>(i)] = factor * static_cast<float>(static_cast<int>(rng.below(127)) - 63);
          c.minima[static_cast<size_t>(i)] = -4 * factor * static_cast<float>(rng.below(64));
        }
        const KernelCase made = c.make();
        EXPECT_NE(made.matrix.description().find("nested"), std::string::npos) << made.matrix.description();
        expect_products(made, 20);
        if (HasFatalFailure()) return;
      }
    }
  }
}

// Bytes per weight as panels.h promises: 4 bits, 16 of scale and 8 of zero in 128.
TEST(IntegerKernel, ReadsNoMoreThanItsFormat) {
  Rng rng(13);
  const KernelCase c = random_case(rng, {4, 128, 64, 1024}, Zeros::kCodes).make();
  EXPECT_EQ(c.matrix.bytes() * 8, int64_t{64} * 1024 * 4 + int64_t{64} * 8 * 24);
}

// LLM.int8(): sums of one step for the whole token are exact, so equal integers give equal outputs.
TEST(IntegerKernel, OneStepForATokenIsExact) {
  Rng rng(15);
  IntegerCase c;
  c.shape = {8, 0, 16, 300};
  c.draw(rng);
  std::fill(c.scales.begin(), c.scales.end(), 1.0F);
  const KernelMatrix matrix = pack_integers(c.source(), BitmapLimits());
  std::vector<float> x(300);
  for (float& value : x) value = static_cast<float>(static_cast<int>(rng.below(255)) - 127);
  x[7] = 127;
  KernelInput input;
  input.reserve(matrix, 1, InputRounding::kToken);
  input.fill(matrix, x.data(), 300, 0, 1);
  std::vector<float> y(16);
  multiply(matrix, input, 0, matrix.units(), y.data(), 16);
  for (size_t r = 0; r < 16; ++r) {
    int64_t sum = 0;
    for (size_t i = 0; i < 300; ++i) sum += (c.codes[r * 300 + i] - 128) * static_cast<int64_t>(x[i]);
    EXPECT_EQ(y[r], static_cast<float>(sum));
  }
}

// More columns than a block of codes, more tokens than a pass, short last groups, and groups of every step of tiles.
TEST(IntegerKernel, ManyTokensHaveTheBitsOfOne) {
  Rng rng(18);
  constexpr Shape kShapes[] = {
      {4, 128, 70, 4300}, {8, 0, 33, 4700}, {8, 64, 50, 320}, {3, 32, 90, 96}, {2, 48, 17, 160}};
  for (const Shape& shape : kShapes) {
    const bool is_wide = shape.columns > 1000;  // what takes long, once
    for (const Zeros zeros : {Zeros::kSymmetric, Zeros::kCodes, Zeros::kMinima}) {
      if (is_wide && zeros != Zeros::kCodes) continue;
      const IntegerCase c = random_case(rng, shape, zeros);
      const KernelMatrix matrix = pack_integers(c.source(), BitmapLimits());
      for (const InputRounding rounding : {InputRounding::kFine, InputRounding::kFast}) {
        expect_same_bits_alone(matrix, is_wide ? 53 : 301, rounding, 19);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(IntegerKernel, MaskedManyTokensHaveTheBitsOfOne) {
  Rng rng(20);
  for (const int64_t bits : {4, 8}) {
    IntegerCase c;
    c.shape = {bits, 128, 70, 640};
    c.has_mask = true;
    c.zeros = Zeros::kCodes;
    c.draw(rng);
    for (size_t i = 0; i < c.kept.size(); i += 3) c.kept[i] = 0;
    expect_same_bits_alone(pack_integers(c.source(), BitmapLimits()), 101, InputRounding::kFine, 21);
    if (HasFatalFailure()) return;
  }
}

TEST(IntegerKernel, RefusesWhatItCannotHold) {
  Rng rng(17);
  IntegerCase c = random_case(rng, {4, 32, 4, 64}, Zeros::kSymmetric);
  c.shape.bits = 9;
  EXPECT_ANY_THROW(pack_integers(c.source(), BitmapLimits()));
  c.shape.bits = 3;
  EXPECT_ANY_THROW(pack_integers(c.source(), BitmapLimits()));  // codes of 4 bits
}

}  // namespace
}  // namespace ockham
