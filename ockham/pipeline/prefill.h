// Prompts through the decoder in batches, their common prefix computed once, keys and values kept in one cache.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "ockham/model/decoder.h"

namespace ockham {

using TokenIds = std::vector<int32_t>;

// Rows of a batch in one cache, aligned on the right: row r's tokens end at column cache.length - 1.
struct PrefilledRows {
  KvCache cache;                 // capacity: longest row + `extra`
  Tensor last_hidden;            // [rows, H] at each row's last token
  std::vector<int64_t> lengths;  // tokens per row
};
// `rows` hold at least one token each and are ordered by length, so that a batch needs little padding.
PrefilledRows prefill(const Decoder& decoder, std::span<const TokenIds* const> rows, int64_t extra);

// Continuations of prefilled rows: `branches[r]` are token lists that each follow row r on its own. Rows with about as
// many tokens go through the decoder together; where they are not neighbours their part of the cache is copied. Returns
// the hidden states of all branch tokens [rows, T, H], branches of a row one behind the other; what stands behind a
// row's own tokens means nothing.
Tensor forward_branches(const Decoder& decoder, PrefilledRows& rows, std::span<const std::vector<TokenIds>> branches);

// Calls body(0) .. body(count - 1). A small model's operations are too short to share between threads, so its jobs run
// side by side with one thread each; a large model's run one after the other with all threads in each operation. Either
// way a job's result depends on the job alone. `tokens`: the longest sequence of any job.
void run_jobs(const Decoder& decoder, size_t count, int64_t tokens, const std::function<void(size_t)>& body);
bool is_small(const Decoder& decoder);

// Indices of rows that are worth computing together: neighbours in lexicographic order, split where a group of its own
// with a longer common prefix saves more than a group costs; each group ordered by length and at most `max_rows` long,
// a larger one dealt evenly; groups of many tokens first. Fewer than `wanted` groups are dealt further where the parts
// compute little more together.
std::vector<std::vector<size_t>> group_by_prefix(std::span<const TokenIds> rows, size_t max_rows, size_t wanted);
// Groups that jobs side by side want: work for several threads, the same whatever their number.
size_t wanted_groups(const Decoder& decoder);
// Rows of `tokens` tokens whose keys and values fit the memory set aside for them (1 GiB), at most 512; for a small
// model 128 MiB and at most 64: groups enough for all threads whatever their number, and activations that stay in the
// processor's cache.
size_t group_rows(const Decoder& decoder, int64_t tokens);
int64_t common_prefix(const TokenIds& a, const TokenIds& b);

}  // namespace ockham
