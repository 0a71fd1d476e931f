// How alike two texts are, by how much one helps to compress the other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ockham {

// Bytes of a text in LZ4's block format: literals, and matches of at least 4 bytes at most 64 KiB back, found greedily.
size_t compressed_size(std::string_view text);

// Normalized compression distance (C(ab) - min(C(a), C(b))) / max(C(a), C(b)) (Li et al. 2004): near 0 for equal texts,
// near 1 for unrelated ones.
double compression_distance(std::string_view a, std::string_view b);

// The mean of 1 - distance over the targets, for every candidate (Obbad et al., ZIP-FIT, 2024). Of long texts the first
// 4 KiB count, of many targets 64, evenly spread.
std::vector<double> alignments(const std::vector<std::string>& candidates, const std::vector<std::string>& targets);

}  // namespace ockham
