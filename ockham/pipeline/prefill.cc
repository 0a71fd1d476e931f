// Batches of prompts with shared prefixes.
#include "ockham/pipeline/prefill.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <numeric>

#include "ockham/core/error.h"
#include "ockham/core/parallel.h"
#include "ockham/core/progress.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

// Tokens per forward pass: enough to hide the cost of calling an operation, few enough for activations to stay in the
// cache.
constexpr int64_t kBatchTokens = 4096;
// A shorter common prefix is not worth a pass of its own, nor is a group that saves fewer tokens than this.
constexpr int64_t kMinPrefix = 8, kGroupCost = 512;

// ids of the rows [rows, width], right-aligned from token `from` on; true where there is none in `padding`.
Tensor make_ids(std::span<const TokenIds* const> rows, int64_t from, int64_t width, Tensor& padding) {
  const auto count = static_cast<int64_t>(rows.size());
  Tensor ids = at::zeros({count, width}, at::kLong);
  padding = at::zeros({count, width}, at::kBool);
  auto* id = ids.data_ptr<int64_t>();
  auto* pad = padding.data_ptr<bool>();
  for (int64_t r = 0; r < count; ++r) {
    const TokenIds& row = *rows[static_cast<size_t>(r)];
    const int64_t tokens = static_cast<int64_t>(row.size()) - from, gap = width - tokens;
    std::fill_n(pad + r * width, gap, true);
    std::copy(row.begin() + from, row.end(), id + r * width + gap);
  }
  return ids;
}

// The cache's rows [first, first + count) and columns from `column` on, sharing its memory.
KvCache view_of(const KvCache& cache, int64_t first, int64_t count, int64_t column) {
  KvCache view;
  const int64_t width = cache.keys[0].size(2) - column;
  for (const Tensor& keys : cache.keys) view.keys.push_back(keys.narrow(0, first, count).narrow(2, column, width));
  for (const Tensor& values : cache.values)
    view.values.push_back(values.narrow(0, first, count).narrow(2, column, width));
  view.padding = cache.padding.narrow(0, first, count).narrow(1, column, width);
  return view;
}

KvCache allocate(const Decoder& decoder, int64_t rows, int64_t capacity) {
  KvCache cache;
  const at::TensorOptions options = decoder.embedding.options().requires_grad(false);
  for (size_t block = 0; block < decoder.blocks.size(); ++block) {
    cache.keys.push_back(at::empty({rows, decoder.config.kv_heads, capacity, decoder.config.head_dim}, options));
    cache.values.push_back(at::empty({rows, decoder.config.kv_heads, capacity, decoder.config.head_dim}, options));
  }
  cache.padding = at::ones({rows, capacity}, options.dtype(at::kBool));
  return cache;
}

// Operations of this scope run on one thread.
class OneThread {
 public:
  OneThread(bool is_on, int threads) : is_on_(is_on), threads_(threads) {
    if (is_on_) at::set_num_threads(1);
  }
  ~OneThread() {
    if (is_on_) at::set_num_threads(threads_);
  }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  bool is_on_;
  int threads_;
};

// Memory that was never written may hold NaN, and 0 * NaN would spread through masked columns.
void clear_columns(KvCache& cache, int64_t first, int64_t count, int64_t columns) {
  if (columns <= 0) return;
  for (Tensor& keys : cache.keys) keys.narrow(0, first, count).narrow(2, 0, columns).zero_();
  for (Tensor& values : cache.values) values.narrow(0, first, count).narrow(2, 0, columns).zero_();
}

// The branches of all rows of a cache in one pass; `width`: tokens of the row with most of them.
Tensor forward_together(const Decoder& decoder, KvCache& cache, const std::vector<int64_t>& lengths,
                        std::span<const std::vector<TokenIds>* const> branches, int64_t width) {
  const auto count = static_cast<int64_t>(branches.size());
  const int64_t start = cache.length, columns = start + width;
  OCKHAM_CHECK(width > 0 && cache.keys[0].size(2) >= columns);

  Tensor ids = at::zeros({count, width}, at::kLong), positions = at::zeros({count, width}, at::kLong);
  Tensor mask = at::zeros({count, width, columns}, at::kBool);
  auto* id = ids.data_ptr<int64_t>();
  auto* position = positions.data_ptr<int64_t>();
  auto* sees = mask.data_ptr<bool>();
  for (int64_t r = 0; r < count; ++r) {
    const int64_t length = lengths[static_cast<size_t>(r)];
    int64_t at = 0;
    for (const TokenIds& branch : *branches[static_cast<size_t>(r)]) {
      for (size_t j = 0; j < branch.size(); ++j) {
        const int64_t place = at + static_cast<int64_t>(j);
        id[r * width + place] = branch[j];
        position[r * width + place] = length + static_cast<int64_t>(j);
        bool* line = sees + (r * width + place) * columns;
        std::fill_n(line, start, true);  // padded columns are taken out below
        std::fill(line + start + at, line + start + place + 1, true);
      }
      at += static_cast<int64_t>(branch.size());
    }
    for (; at < width; ++at) sees[(r * width + at) * columns + start + at] = true;  // filler sees itself: no NaN
  }
  const at::Device device = decoder.device();
  mask = mask.to(device);
  if (cache.padding.defined())
    mask.narrow(2, 0, start).logical_and_(cache.padding.narrow(1, 0, start).logical_not().unsqueeze(1));

  BlockContext context;
  const int64_t length = positions.max().item<int64_t>() + 1;
  decoder.place(context, positions.to(device), length);
  context.mask = mask.unsqueeze(1);
  if (const int64_t window = decoder.config.window; window > 0 && length > window) {
    // Columns of the cache are right-aligned, those of the branches each have their token's position.
    const Tensor first = start - at::tensor(lengths, at::kLong).unsqueeze(1);
    const Tensor keys = at::cat({at::arange(start, at::kLong).unsqueeze(0) - first, positions}, 1);
    const Tensor is_near = keys.unsqueeze(1) > positions.unsqueeze(2) - window;
    context.window_mask = mask.logical_and(is_near.to(device)).unsqueeze(1);
  }
  context.cache = &cache;
  Tensor hidden = decoder.embed(ids.to(device), context.positions);
  for (size_t block = 0; block < decoder.blocks.size(); ++block) {
    context.index = static_cast<int64_t>(block);
    hidden = decoder.blocks[block].forward(hidden, context);
  }
  return decoder.finish(hidden);
}

// These rows of a cache, with room for `extra` columns: a view of neighbours, a copy of others.
KvCache rows_of(const KvCache& cache, const std::vector<int64_t>& rows, int64_t extra) {
  const auto count = static_cast<int64_t>(rows.size()), columns = cache.length + extra;
  const bool are_neighbours = rows.back() - rows.front() + 1 == count && std::is_sorted(rows.begin(), rows.end());
  const Tensor index = at::tensor(rows, at::kLong).to(cache.keys[0].device());
  const auto chosen = [&](const Tensor& all, int64_t dimension) {
    if (are_neighbours) return all.narrow(0, rows.front(), count);
    std::vector<int64_t> shape = all.sizes().vec();
    shape[0] = count;
    shape[static_cast<size_t>(dimension)] = columns;
    Tensor copy = at::empty(shape, all.options());
    copy.narrow(dimension, 0, cache.length).copy_(all.narrow(dimension, 0, cache.length).index_select(0, index));
    return copy;
  };
  KvCache result;
  for (const Tensor& keys : cache.keys) result.keys.push_back(chosen(keys, 2));
  for (const Tensor& values : cache.values) result.values.push_back(chosen(values, 2));
  if (cache.padding.defined()) result.padding = chosen(cache.padding, 1);
  result.length = cache.length;
  return result;
}

// Into how many parts, at most `wanted`, a group can be dealt that compute at most a quarter more tokens than together,
// for each computes the common prefix, and at least kPartTokens each.
size_t useful_parts(std::span<const TokenIds> rows, const std::vector<size_t>& group, size_t wanted) {
  constexpr int64_t kPartTokens = 512;
  int64_t prefix = group.size() > 1 ? std::numeric_limits<int64_t>::max() : 0, tokens = 0;
  for (const size_t row : group) {
    tokens += static_cast<int64_t>(rows[row].size());
    if (row != group[0]) prefix = std::min(prefix, common_prefix(rows[group[0]], rows[row]));
  }
  tokens -= prefix * static_cast<int64_t>(group.size() - 1);
  size_t parts = std::min(wanted, group.size());
  const auto is_useful = [&](int64_t count) {
    return 4 * (count - 1) * prefix <= tokens && tokens >= count * kPartTokens;
  };
  while (parts > 1 && !is_useful(static_cast<int64_t>(parts))) --parts;
  return std::max<size_t>(1, parts);
}

// Tokens of filler that are cheaper than another pass. A large model's pass reads weights for about as long as it
// computes some dozen tokens.
int64_t filler_limit(const Decoder& decoder) {
  return is_small(decoder) ? kGroupCost : 64;
}

}  // namespace

int64_t common_prefix(const TokenIds& a, const TokenIds& b) {
  return std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin();
}

bool is_small(const Decoder& decoder) {
  const ModelConfig& config = decoder.config;
  return config.blocks * config.hidden_size * (4 * config.hidden_size + 3 * config.intermediate_size) < 50'000'000;
}

void run_jobs(const Decoder& decoder, size_t count, int64_t tokens, const std::function<void(size_t)>& body) {
  // The decoder extends its rotary tables on demand, which no two threads may do.
  decoder.make_context(1, tokens, nullptr, Tensor());
  const int threads = at::get_num_threads();
  if (count < 2 || threads < 2 || !is_small(decoder)) {
    // Even a single job of a small model runs faster without threads that wait for each other at every operation.
    const bool is_alone = is_small(decoder) && threads > 1;
    const OneThread scope(is_alone, threads);
    for (size_t job = 0; job < count; ++job) body(job);
    return;
  }
  const OneThread scope(true, threads);
  std::atomic<size_t> next = 0;
  parallel_for(std::min<int64_t>(threads, static_cast<int64_t>(count)), 1, [&](int64_t, int64_t) {
    for (size_t job = next++; job < count; job = next++) body(job);
  });
}

size_t wanted_groups(const Decoder& decoder) {
  return is_small(decoder) ? 4 : 1;
}

size_t group_rows(const Decoder& decoder, int64_t tokens) {
  // Jobs of a small model run side by side, each with a cache of its own.
  const int64_t bytes = int64_t{1} << (is_small(decoder) ? 27 : 30), most = is_small(decoder) ? 64 : 512;
  const ModelConfig& config = decoder.config;
  const int64_t row_bytes =
      2 * config.blocks * config.kv_heads * config.head_dim * tokens * decoder.embedding.element_size();
  return static_cast<size_t>(std::clamp<int64_t>(bytes / row_bytes, 1, most));
}

PrefilledRows prefill(const Decoder& decoder, std::span<const TokenIds* const> rows, int64_t extra) {
  OCKHAM_CHECK(!rows.empty());
  const at::NoGradGuard no_grad;
  const auto count = static_cast<int64_t>(rows.size());
  const auto longest = static_cast<int64_t>(rows.back()->size());
  PrefilledRows result;
  for (const TokenIds* row : rows) result.lengths.push_back(static_cast<int64_t>(row->size()));
  result.cache = allocate(decoder, count, longest + extra);

  int64_t prefix = static_cast<int64_t>(rows[0]->size()) - 1;
  for (const TokenIds* row : rows.subspan(1)) prefix = std::min(prefix, common_prefix(*rows[0], *row));
  if (prefix < kMinPrefix || count < 2) prefix = 0;
  KvCache shared;
  if (prefix > 0) {
    const Tensor ids =
        at::tensor(at::ArrayRef<int32_t>(rows[0]->data(), static_cast<size_t>(prefix))).to(at::kLong).unsqueeze(0);
    decoder.forward(ids.to(decoder.device()), &shared);
  }

  std::vector<Tensor> hidden;
  for (int64_t first = 0; first < count;) {
    int64_t batch = 1;
    const auto width = [&](int64_t rows_taken) {
      return static_cast<int64_t>(rows[static_cast<size_t>(first + rows_taken - 1)]->size()) - prefix;
    };
    int64_t own = width(1);
    while (first + batch < count && (batch + 1) * width(batch + 1) <= kBatchTokens) {
      own += static_cast<int64_t>(rows[static_cast<size_t>(first + batch)]->size()) - prefix;
      if (!is_small(decoder) && (batch + 1) * width(batch + 1) - own > filler_limit(decoder)) break;
      ++batch;
    }
    const int64_t tokens = width(batch), column = longest - prefix - tokens;
    const auto part = rows.subspan(static_cast<size_t>(first), static_cast<size_t>(batch));
    Tensor padding;
    const Tensor ids = make_ids(part, prefix, tokens, padding).to(decoder.device());
    clear_columns(result.cache, first, batch, column);
    KvCache view = view_of(result.cache, first, batch, column);
    for (size_t block = 0; prefix > 0 && block < view.keys.size(); ++block) {
      view.keys[block].narrow(2, 0, prefix).copy_(shared.keys[block].narrow(2, 0, prefix).expand({batch, -1, -1, -1}));
      view.values[block]
          .narrow(2, 0, prefix)
          .copy_(shared.values[block].narrow(2, 0, prefix).expand({batch, -1, -1, -1}));
    }
    view.length = prefix;
    if (prefix > 0) view.padding.narrow(1, 0, prefix).zero_();
    const bool is_even = part.front()->size() == part.back()->size();
    if (is_even) {  // no padding: the cheaper masks apply
      view.padding.narrow(1, prefix, tokens).zero_();
      view.padding = Tensor();
      hidden.push_back(decoder.forward(ids, &view).select(1, tokens - 1));
    } else {
      hidden.push_back(decoder.forward(ids, &view, padding.to(decoder.device())).select(1, tokens - 1));
    }
    first += batch;
    check_interrupt();
  }
  result.last_hidden = hidden.size() == 1 ? hidden[0] : at::cat(hidden, 0);
  result.cache.length = longest;
  if (rows.front()->size() == rows.back()->size()) result.cache.padding = Tensor();
  return result;
}

Tensor forward_branches(const Decoder& decoder, PrefilledRows& rows, std::span<const std::vector<TokenIds>> branches) {
  const at::NoGradGuard no_grad;
  const auto count = static_cast<int64_t>(branches.size());
  std::vector<int64_t> widths, order(branches.size());
  for (const auto& row : branches) {
    int64_t tokens = 0;
    for (const TokenIds& branch : row) tokens += static_cast<int64_t>(branch.size());
    widths.push_back(tokens);
  }
  std::iota(order.begin(), order.end(), int64_t{0});
  const auto width_of = [&](int64_t row) { return widths[static_cast<size_t>(row)]; };
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return width_of(a) < width_of(b); });
  const int64_t widest = width_of(order.back());
  OCKHAM_CHECK(widest > 0);

  // Rows of about as many tokens go together, so that little is computed for the filler behind the shorter ones.
  Tensor result;
  for (auto first = std::partition_point(order.begin(), order.end(), [&](int64_t row) { return width_of(row) == 0; });
       first != order.end();) {
    auto last = first;
    int64_t tokens = 0, size = 0;
    for (; last != order.end(); ++last) {
      tokens += width_of(*last);
      const int64_t padded = ++size * width_of(*last);
      if (last != first && (padded > kBatchTokens || padded - tokens > filler_limit(decoder))) break;
    }
    const std::vector<int64_t> chosen(first, last);
    const int64_t width = width_of(chosen.back());
    KvCache cache = rows_of(rows.cache, chosen, width);
    std::vector<int64_t> lengths;
    std::vector<const std::vector<TokenIds>*> own;
    for (const int64_t row : chosen) {
      lengths.push_back(rows.lengths[static_cast<size_t>(row)]);
      own.push_back(&branches[static_cast<size_t>(row)]);
    }
    Tensor hidden = forward_together(decoder, cache, lengths, own, width);
    if (static_cast<int64_t>(chosen.size()) == count && std::is_sorted(chosen.begin(), chosen.end())) return hidden;
    if (!result.defined()) result = at::zeros({count, widest, hidden.size(2)}, hidden.options());
    result.narrow(1, 0, width).index_copy_(0, at::tensor(chosen, at::kLong).to(hidden.device()), hidden);
    first = last;
    check_interrupt();
  }
  return result;
}

std::vector<std::vector<size_t>> group_by_prefix(std::span<const TokenIds> rows, size_t max_rows, size_t wanted) {
  std::vector<size_t> order(rows.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return rows[a] < rows[b]; });
  std::vector<std::vector<size_t>> groups;
  int64_t prefix = 0;  // common to the open group
  for (size_t i = 0; i < order.size(); ++i) {
    const size_t row = order[i];
    if (!groups.empty()) {
      std::vector<size_t>& group = groups.back();
      const int64_t with_row = group.size() == 1 ? common_prefix(rows[group[0]], rows[row])
                                                 : std::min(prefix, common_prefix(rows[group[0]], rows[row]));
      const int64_t lost = group.size() == 1 ? 0 : (prefix - with_row) * static_cast<int64_t>(group.size() - 1);
      if (lost <= kGroupCost) {
        prefix = with_row;
        group.push_back(row);
        continue;
      }
    }
    groups.push_back({row});
    prefix = static_cast<int64_t>(rows[row].size());
  }
  std::vector<std::vector<size_t>> dealt;
  for (std::vector<size_t>& group : groups) {
    std::stable_sort(group.begin(), group.end(), [&](size_t a, size_t b) { return rows[a].size() < rows[b].size(); });
    const size_t parts = std::max((group.size() + max_rows - 1) / max_rows,
                                  groups.size() < wanted ? useful_parts(rows, group, wanted) : size_t{1});
    for (size_t part = 0; part < parts; ++part)
      dealt.emplace_back(group.begin() + static_cast<int64_t>(group.size() * part / parts),
                         group.begin() + static_cast<int64_t>(group.size() * (part + 1) / parts));
  }
  // The longest first: whoever works on them side by side is done at about the same time.
  const auto tokens_of = [&](const std::vector<size_t>& group) {
    size_t tokens = 0;
    for (const size_t row : group) tokens += rows[row].size();
    return tokens;
  };
  std::stable_sort(dealt.begin(), dealt.end(),
                   [&](const auto& a, const auto& b) { return tokens_of(a) > tokens_of(b); });
  return dealt;
}

}  // namespace ockham
