// Packing and unpacking of the three word layouts.
#include "ockham/io/formats/packed_words.h"

#include <algorithm>

#include "ockham/core/error.h"
#include "ockham/core/integers.h"

namespace ockham {
namespace {

constexpr int64_t kWordBits = 32;

// Calls visit(code index, word index, shift in the word, shift in the code, width) for every piece of every code.
template <typename Visit>
void for_each_piece(int64_t count, int64_t bits, WordLayout layout, Visit&& visit) {
  if (layout == WordLayout::kPadded) {
    const int64_t each = kWordBits / bits;
    for (int64_t i = 0; i < count; ++i) visit(i, i / each, i % each * bits, 0, bits);
  } else if (layout == WordLayout::kDense) {
    for (int64_t i = 0; i < count; ++i) {
      const int64_t at = i * bits, shift = at % kWordBits, low = std::min(bits, kWordBits - shift);
      visit(i, at / kWordBits, shift, 0, low);
      if (low < bits) visit(i, at / kWordBits + 1, 0, low, bits - low);
    }
  } else {
    for (int64_t chunk = 0; chunk < count / kWordBits; ++chunk) {
      int64_t word = chunk * bits, done = 0;
      for (const int64_t width : {8, 4, 2, 1}) {
        if ((bits & width) == 0) continue;
        const int64_t each = kWordBits / width;
        for (int64_t i = 0; i < kWordBits; ++i)
          visit(chunk * kWordBits + i, word + i / each, i % each * width, done, width);
        word += width;
        done += width;
      }
    }
  }
}

}  // namespace

int64_t packed_words(int64_t count, int64_t bits, WordLayout layout) {
  OCKHAM_CHECK(bits >= 1 && bits <= 8 && count >= 0);
  OCKHAM_CHECK(layout != WordLayout::kPlanar || count % kWordBits == 0);
  return layout == WordLayout::kPadded ? ceil_div(count, kWordBits / bits) : ceil_div(count * bits, kWordBits);
}

void pack_words(std::span<const uint8_t> codes, int64_t bits, WordLayout layout, std::span<uint32_t> words) {
  const int64_t count = static_cast<int64_t>(codes.size());
  OCKHAM_CHECK(static_cast<int64_t>(words.size()) == packed_words(count, bits, layout));
  std::fill(words.begin(), words.end(), 0U);
  for_each_piece(count, bits, layout, [&](int64_t i, int64_t word, int64_t shift, int64_t from, int64_t width) {
    const uint32_t piece = (uint32_t{codes[static_cast<size_t>(i)]} >> from) & ((1U << width) - 1);
    words[static_cast<size_t>(word)] |= piece << shift;
  });
}

void unpack_words(std::span<const uint32_t> words, int64_t bits, WordLayout layout, std::span<uint8_t> codes) {
  const int64_t count = static_cast<int64_t>(codes.size());
  OCKHAM_CHECK(static_cast<int64_t>(words.size()) == packed_words(count, bits, layout));
  std::fill(codes.begin(), codes.end(), uint8_t{0});
  for_each_piece(count, bits, layout, [&](int64_t i, int64_t word, int64_t shift, int64_t to, int64_t width) {
    const uint32_t piece = (words[static_cast<size_t>(word)] >> shift) & ((1U << width) - 1);
    codes[static_cast<size_t>(i)] |= static_cast<uint8_t>(piece << to);
  });
}

}  // namespace ockham
