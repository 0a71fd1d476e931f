// A greedy search for repetitions, whose cost in bytes is all that is kept.
#include "ockham/text/alignment.h"

#include <algorithm>
#include <cstring>

namespace ockham {
namespace {

constexpr size_t kShortest = 4, kWindow = 65535, kTableBits = 14;
constexpr size_t kLongestText = 4096, kMostTargets = 64;
constexpr uint32_t kNowhere = 0xffffffff;

size_t slot(const char* at) {
  uint32_t word = 0;
  std::memcpy(&word, at, sizeof(word));
  return (word * 2654435761U) >> (32 - kTableBits);
}

// A length beyond the 4 bits of the token takes one byte per 255.
size_t extra_bytes(size_t length, size_t in_token) {
  return length < in_token ? 0 : (length - in_token) / 255 + 1;
}

std::string_view beginning(const std::string& text) {
  return std::string_view(text).substr(0, kLongestText);
}

}  // namespace

size_t compressed_size(std::string_view text) {
  std::vector<uint32_t> last(size_t{1} << kTableBits, kNowhere);
  size_t bytes = 0, literals = 0, place = 0;
  while (place + kShortest <= text.size()) {
    uint32_t& seen = last[slot(text.data() + place)];
    const size_t before = seen;
    seen = static_cast<uint32_t>(place);
    size_t length = 0;
    if (before != kNowhere && place - before <= kWindow)
      while (place + length < text.size() && text[before + length] == text[place + length]) ++length;
    if (length < kShortest) {
      ++literals;
      ++place;
      continue;
    }
    bytes += 1 + extra_bytes(literals, 15) + literals + 2 + extra_bytes(length - kShortest, 15);
    literals = 0;
    // The positions inside the match are worth finding again.
    for (size_t i = 1; i < length && place + i + kShortest <= text.size(); ++i)
      last[slot(text.data() + place + i)] = static_cast<uint32_t>(place + i);
    place += length;
  }
  literals += text.size() - place;
  return bytes + 1 + extra_bytes(literals, 15) + literals;
}

double compression_distance(std::string_view a, std::string_view b) {
  const double left = static_cast<double>(compressed_size(a)), right = static_cast<double>(compressed_size(b));
  std::string both(a);
  both += b;
  return (static_cast<double>(compressed_size(both)) - std::min(left, right)) / std::max(left, right);
}

std::vector<double> alignments(const std::vector<std::string>& candidates, const std::vector<std::string>& targets) {
  const size_t count = std::min(targets.size(), kMostTargets);
  std::vector<double> result;
  for (const std::string& candidate : candidates) {
    double sum = 0;
    for (size_t i = 0; i < count; ++i)
      sum += 1 - compression_distance(beginning(candidate), beginning(targets[i * targets.size() / count]));
    result.push_back(count > 0 ? sum / static_cast<double>(count) : 0);
  }
  return result;
}

}  // namespace ockham
