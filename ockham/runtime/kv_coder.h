// A block of keys or values in codes: numbers in groups, each with a step and a minimum (Liu et al. 2024, KIVI), the
// largest and smallest kept beside them, and a correction of low rank for each head (Kang et al. 2024, GEAR). This is
// the arithmetic; how a page of the cache holds the result is kv_codes.h.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace ockham {

// A code c stands for c * step + minimum.
struct CodeScale {
  float step = 0, minimum = 0;
  float inverse() const { return step > 0 ? 1 / step : 0; }
};
// Of `count` numbers `stride` apart: from the least in 2^bits - 1 steps to the greatest, both as float16 holds them. A
// constant group has the step 0.
CodeScale code_scale(const float* x, int64_t count, int64_t stride, int bits);
// To nearest, within what `bits` hold; 0 for what is no number.
uint8_t code_of(float x, const CodeScale& scale, float inverse, int bits);

// E [rows, columns] is about left right^T, left [rows, width] orthonormal, right [columns, width], width: rank rounded
// up to 16, zeros behind it. Power iteration from a fixed start: `rounds` times left = E right, right = E^T left, both
// made orthonormal, which keeps what they span, but for the last right. Where E has a smaller rank, columns are 0.
class PowerIteration {
 public:
  PowerIteration(int64_t rows, int64_t columns, int64_t rank);
  void run(const float* error, int rounds);  // [rows, columns]
  int64_t width() const { return width_; }
  const float* left() const { return left_.data(); }
  const float* right() const { return right_.data(); }

 private:
  int64_t rows_, columns_, rank_, width_;
  std::vector<float> start_, turned_, left_, right_;
};

struct CodeShape {
  int64_t tokens = 64, heads = 1, dim = 0;
  int bits = 4;
  // Numbers that share a scale: of a channel's tokens (`by_channel`: keys) or of the channels of a token's head
  // (values). Fewer at the end.
  int64_t group = 32;
  bool by_channel = false;
  // The largest and as many smallest numbers of each channel, or of each token over all heads, that stay what they are:
  // the vector's mean is quantized in their place.
  int64_t outliers = 0;
  int64_t rank = 0;  // of each head's correction
  int64_t width() const { return heads * dim; }
  // How many of `count` numbers go to each side, where `share` of them are outliers: to nearest.
  static int64_t outliers_of(int64_t count, double share);
};

struct KvOutlier {
  int32_t head, token, channel;  // channel: of the head
  float value;
};

// Room is taken when it is made; encode() takes none.
class KvCoder {
 public:
  static constexpr int kRounds = 3;
  explicit KvCoder(const CodeShape& shape);
  void encode(const float* x, int64_t stride);  // token t: width() floats from x + t * stride
  // [tokens, width]: codes, outliers in their places, corrections on top.
  void decode(float* x) const;

  const CodeShape& shape() const { return shape_; }
  uint8_t code(int64_t token, int64_t channel) const { return codes_[at(token, channel)]; }
  // Group `group` of a channel's tokens; of a token's channels, `line` being token * heads + head.
  const CodeScale& scale(int64_t line, int64_t group) const {
    return scales_[static_cast<size_t>(line * groups_ + group)];
  }
  int64_t groups() const { return groups_; }
  // By head, then token.
  std::span<const KvOutlier> outliers() const { return outliers_; }
  // [tokens, correction_width()], [dim, correction_width()].
  const float* left(int64_t head) const { return corrections_[static_cast<size_t>(head)].left(); }
  const float* right(int64_t head) const { return corrections_[static_cast<size_t>(head)].right(); }
  int64_t correction_width() const { return corrections_.empty() ? 0 : corrections_[0].width(); }

 private:
  size_t at(int64_t token, int64_t channel) const { return static_cast<size_t>(token * shape_.width() + channel); }
  void take_outliers();
  void take_outliers(int64_t first, int64_t count, int64_t stride);
  void quantize();
  void quantize(int64_t first, int64_t count, int64_t stride, CodeScale& scale);
  void correct();

  CodeShape shape_;
  int64_t groups_;
  std::vector<float> rest_;  // [tokens, width]: without outliers; then what is lost
  std::vector<uint8_t> codes_;
  std::vector<CodeScale> scales_;
  std::vector<KvOutlier> outliers_;
  std::vector<std::pair<float, int32_t>> order_;  // of one vector
  std::vector<float> head_;                       // [tokens, dim]
  std::vector<PowerIteration> corrections_;       // of each head; none where the rank is 0
};

}  // namespace ockham
