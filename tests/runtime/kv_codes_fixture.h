// Reads pages in codes as their header describes them, number by number, in double precision: what kernels and writers
// are held against.
#pragma once

#include <cstring>

#include "ockham/core/half.h"
#include "ockham/runtime/kv_codes.h"

namespace ockham::test {

class CodeReader {
 public:
  CodeReader(const KvCodeLayout& layout, const uint8_t* page) : layout_(layout), page_(page) {}

  double key(int64_t head, int64_t token, int64_t channel) const {
    const int64_t fields = 32 / layout_.bits, slot = token % 32;
    const auto word = get<uint32_t>(half(head, token) + 4 * (channel / fields * 32 + slot));
    const uint32_t code = word >> (channel % fields * layout_.bits) & mask();
    const uint8_t* scales = half(head, token) + layout_.token_key_scales;
    int64_t count = layout_.key_groups * 32, place = channel / layout_.key_group * 32 + slot;
    if (!layout_.by_token) {
      scales = start(head) + layout_.key_scales;
      count = layout_.key_groups * layout_.dim;
      place = token / layout_.key_group * layout_.dim + channel;
    }
    double x = decode(code, scales, count, place);
    find_outlier(2 * head + token / 32, channel * 32 + slot, x);
    return x + correction(start(head) + layout_.key_correction, layout_.dim, token, channel);
  }
  double value(int64_t head, int64_t token, int64_t channel) const {
    const int64_t fields = 8 / layout_.bits, slot = token % 32, chunk = channel / 16;
    const uint8_t byte =
        half(head, token)[layout_.value_codes + (slot * layout_.value_units + chunk / fields) * 16 + channel % 16];
    const uint32_t code = byte >> (chunk % fields * layout_.bits) & mask();
    double x = decode(code, half(head, token) + layout_.value_scales, layout_.value_groups * 32,
                      channel / layout_.value_group * 32 + slot);
    find_outlier(2 * layout_.heads + 1 + 2 * head + token / 32, slot * layout_.wide + channel, x);
    return x + correction(start(head) + layout_.value_correction, layout_.wide, token, channel);
  }

 private:
  template <typename T>
  static T get(const uint8_t* from) {
    T value;
    std::memcpy(&value, from, sizeof value);
    return value;
  }
  uint32_t mask() const { return (1U << layout_.bits) - 1; }
  const uint8_t* start(int64_t head) const { return page_ + head * layout_.head_bytes; }
  const uint8_t* half(int64_t head, int64_t token) const { return start(head) + token / 32 * layout_.half_bytes; }
  static double decode(uint32_t code, const uint8_t* scales, int64_t count, int64_t place) {
    const double step = half_to_float(get<uint16_t>(scales + 2 * place)),
                 minimum = half_to_float(get<uint16_t>(scales + 2 * (count + place)));
    return code * step + minimum;
  }
  void find_outlier(int64_t list, int64_t place, double& x) const {
    if (layout_.all_outliers() == 0) return;
    const uint8_t* starts = page_ + layout_.outlier_starts + 4 * list;
    for (auto i = get<uint32_t>(starts); i < get<uint32_t>(starts + 4); ++i) {
      if (get<uint16_t>(page_ + layout_.outlier_places + 2 * i) != place) continue;
      x = layout_.exact == DType::kBF16 ? bfloat16_to_float(get<uint16_t>(page_ + layout_.outlier_values + 2 * i))
                                        : get<float>(page_ + layout_.outlier_values + 4 * i);
    }
  }
  double correction(const uint8_t* from, int64_t columns, int64_t token, int64_t channel) const {
    double sum = 0;
    const int64_t rank = layout_.rank;
    const uint8_t* factors = from + (rank * (64 + columns) + 3) / 4 * 4;
    for (int64_t j = 0; j < rank; ++j) {
      const auto left = get<int8_t>(from + (token / 32 * rank + j) * 32 + token % 32),
                 right = get<int8_t>(from + rank * 64 + j * columns + channel);
      sum += static_cast<double>(get<float>(factors + 4 * j)) * left * right;
    }
    return sum;
  }
  const KvCodeLayout& layout_;
  const uint8_t* page_;
};

}  // namespace ockham::test
