// Decoding under policies of the KV cache beside the full cache, and attention alone beside the read bandwidth, in
// turns in one run. Prints one table.
//   kv_bench [CONTEXT [BATCH [THREADS [SHAPE [ROUNDS]]]]]   8192, 16, 2, tinyllama-1.1b, 9
// Weights are made up, int4 in groups of 128, keys and values bf16 random numbers: what takes time is the same.
// OCKHAM_KERNELS names a target other than the best.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "ockham/bench/machine_limits.h"
#include "ockham/bench/random_model.h"
#include "ockham/bench/shapes.h"
#include "ockham/core/rng.h"
#include "ockham/runtime/engine.h"
#include "ockham/runtime/sampler.h"

namespace ockham {
namespace {

constexpr int kSteps = 2, kPairs = 10;

double now() {
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(since).count();
}
double quantile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(share * static_cast<double>(values.size()))];
}
double median(const std::vector<double>& values) {
  return quantile(values, 0.5);
}

// Sequences that hold equally many tokens, and what a step of all of them took.
struct Contender {
  std::string name;
  std::vector<int32_t> sequences;
  std::vector<double> step_s = {}, attention_s = {};
};

class KvBench {
 public:
  KvBench(const std::string& shape, int64_t context, int64_t batch, int threads, int rounds)
      : context_(context), kept_((context + 4) / 5), batch_(batch), rounds_(rounds) {
    RandomModelSpec spec{shape, find_shape(shape), parse_weight_format("int4", 128, 0),
                         parse_weight_format("int4", 128, 0)};
    EngineOptions options;
    options.threads = threads;
    options.cache_type = DType::kBF16;
    options.longest_context = context + 256;
    const int64_t tokens = batch * (context + 3 * kept_ + int64_t{4} * 256) + batch / 4 * 2 * (context + 256);
    options.cache_bytes =
        PagedCache::pages_of(tokens) *
        PagedCache::page_bytes({spec.config.blocks, spec.config.kv_heads, spec.config.head_dim, options.cache_type});
    engine_ = std::make_unique<Engine>(read_engine_model(make_random_model(spec)), options);
    for (int i = 0; i < 4096; ++i) numbers_.push_back(static_cast<float>(rng_.normal()));
  }

  void run() {
    const std::string budget = ",budget=" + std::to_string(kept_);
    const KvPolicy h2o = parse_kv_policy("bench", "h2o" + budget);
    fill("full", KvPolicy(), context_, batch_);
    fill("full, as many tokens", KvPolicy(), kept_, batch_);
    fill("local 20 %", parse_kv_policy("bench", "local" + budget), kept_, batch_);
    fill("h2o 20 %", h2o, kept_, batch_);
    // In the memory of the full cache of a quarter of the batch.
    const int64_t quarter = std::max<int64_t>(batch_ / 4, 1);
    fill("full", KvPolicy(), context_, quarter);
    fill("h2o 20 %", h2o, kept_, quarter * PagedCache::pages_of(context_) / PagedCache::pages_of(kept_ + 1));
    MachineProbe probe(engine_->threads(), default_read_bytes());
    std::vector<double> read;
    for (int round = 0; round < rounds_; ++round) {
      read.push_back(probe.measure().read_bytes_per_s);
      for (Contender& one : contenders_) {
        one.step_s.push_back(decode(one));
        one.attention_s.push_back(attend(one));
      }
    }
    // What a step of H2O costs more than one of as many tokens: small, so measured more often, either first in turns.
    std::vector<double> costs;
    for (int round = 0; round < kPairs * rounds_; ++round) {
      Contender &full = contenders_[1], &h2o_one = contenders_[3];
      const double first = round % 2 == 0 ? decode(full) : decode(h2o_one);
      const double second = round % 2 == 0 ? decode(h2o_one) : decode(full);
      costs.push_back(round % 2 == 0 ? second / first - 1 : first / second - 1);
    }
    print(median(read), costs);
  }

 private:
  void fill(const std::string& name, const KvPolicy& policy, int64_t tokens, int64_t batch) {
    PagedCache& cache = engine_->cache();
    Contender& one = contenders_.emplace_back(Contender{name, {}});
    for (int64_t i = 0; i < batch; ++i) {
      const int32_t sequence = one.sequences.emplace_back(engine_->open(policy, tokens, tokens + 200));
      cache.append(sequence, tokens);
      engine_->threads().run(tokens, [&](int64_t index, int) {
        for (int64_t block = 0; block < engine_->config().blocks; ++block) {
          const int64_t start = index * 31 + block * 7 + sequence;
          cache.store(block, sequence, index, numbers_.data() + start % 997, numbers_.data() + start * 3 % 997);
        }
      });
      for (int64_t block = 0; cache.counts_attention(sequence) && block < engine_->config().blocks; ++block) {
        for (int64_t head = 0; head < engine_->config().kv_heads; ++head) {
          const KvHead slots = cache.choice(sequence).head(block, head);
          for (int64_t s = 0; s < tokens; ++s) slots.scores[s] = static_cast<float>(rng_.uniform());
        }
      }
    }
  }

  // Seconds of a step of all sequences: a token each, logits and the most likely next ones.
  double decode(Contender& one) {
    std::vector<int32_t> chosen(one.sequences.size(), 5);
    std::vector<TokenSpan> spans(chosen.size());
    const double begin = now();
    for (int step = 0; step < kSteps; ++step) {
      for (size_t i = 0; i < spans.size(); ++i) spans[i] = {one.sequences[i], {&chosen[i], 1}, 0, true};
      engine_->forward(spans);
      std::vector<const float*> hidden;
      for (size_t i = 0; i < spans.size(); ++i) hidden.push_back(engine_->hidden(static_cast<int64_t>(i)));
      const float* logits = engine_->logits(hidden, true);
      const int64_t vocabulary = engine_->config().vocabulary;
      engine_->threads().run(static_cast<int64_t>(chosen.size()), [&](int64_t row, int) {
        chosen[static_cast<size_t>(row)] = first_maximum(logits + row * vocabulary, vocabulary);
      });
    }
    return (now() - begin) / kSteps;
  }

  // Seconds of the attention of such a step, without what policies add.
  double attend(const Contender& one) {
    const ModelConfig& config = engine_->config();
    const PagedCache& cache = engine_->cache();
    const int64_t group = config.heads / config.kv_heads, dim = config.head_dim;
    std::vector<std::vector<float>> rooms(static_cast<size_t>(engine_->threads().threads()));
    for (auto& room : rooms) room.resize(static_cast<size_t>(kMostRows * (2 * dim + kBlockKeys + cache.value_width())));
    std::vector<std::vector<AttentionPage>> pages(rooms.size());
    for (auto& list : pages) list.resize(static_cast<size_t>(cache.views(one.sequences[0])));
    const auto batch = static_cast<int64_t>(one.sequences.size());
    const double begin = now();
    for (int64_t block = 0; block < config.blocks; ++block) {
      engine_->threads().run(batch * config.kv_heads, [&](int64_t number, int worker) {
        const int32_t sequence = one.sequences[static_cast<size_t>(number / config.kv_heads)];
        std::vector<AttentionPage>& list = pages[static_cast<size_t>(worker)];
        for (int64_t page = 0; page < cache.views(sequence); ++page)
          list[static_cast<size_t>(page)] = cache.view(sequence, page, block, number % config.kv_heads);
        const auto position = static_cast<int32_t>(cache.length(sequence) - 1);
        AttentionTask task;
        task.q = numbers_.data();
        task.out = rooms[static_cast<size_t>(worker)].data();
        task.positions = &position;
        task.tokens = 1;
        task.group = group;
        task.dim = dim;
        task.wide = cache.value_width();
        task.pages = list.data();
        task.page_count = cache.views(sequence);
        task.scale = 1 / std::sqrt(static_cast<float>(dim));
        task.queries = task.out + kMostRows * dim;
        task.scores = task.queries + kMostRows * dim;
        task.mixed = task.scores + kMostRows * kBlockKeys;
        vector_kernels().attend_bf16(task);
      });
    }
    return now() - begin;
  }

  void print(double read, const std::vector<double>& costs) const {
    const KvShape& shape = engine_->cache().shape();
    fmt::print("{} tokens, batch {}, {} threads, {}; memory is read at {:.1f} GB/s\n", context_, batch_,
               engine_->threads().threads(), target_name(current_target()), read / 1e9);
    fmt::print("{:<22}{:>7}{:>10}{:>12}{:>14}{:>10}{:>14}\n", "cache", "batch", "step ms", "tokens/s", "attention ms",
               "GB/s", "of reading");
    for (const Contender& one : contenders_) {
      const double step = median(one.step_s), attention = median(one.attention_s);
      const auto batch = static_cast<int64_t>(one.sequences.size());
      const double bytes = static_cast<double>(batch * engine_->cache().slots(one.sequences[0]) * shape.blocks *
                                               shape.kv_heads * (shape.head_dim + engine_->cache().value_width()) * 2);
      fmt::print("{:<22}{:>7}{:>10.1f}{:>12.1f}{:>14.1f}{:>10.1f}{:>13.0f}%\n", one.name, batch, 1e3 * step,
                 static_cast<double>(batch) / step, 1e3 * attention, bytes / attention / 1e9,
                 100 * bytes / attention / read);
    }
    std::vector<double> ratios, batches;
    for (int round = 0; round < rounds_; ++round) {
      const auto r = static_cast<size_t>(round);
      ratios.push_back(contenders_[0].step_s[r] / contenders_[3].step_s[r]);
      const auto tokens_per_s = [&](const Contender& one) {
        return static_cast<double>(one.sequences.size()) / one.step_s[r];
      };
      batches.push_back(tokens_per_s(contenders_[5]) / tokens_per_s(contenders_[4]));
    }
    fmt::print(
        "h2o 20 % decodes {:.2f} times as fast as the full cache; beside a full cache of as many tokens a step "
        "costs {:+.1f}% (quartiles {:+.1f} and {:+.1f}, {} pairs); in equal memory it makes {:.2f} times as many "
        "tokens a second\n",
        median(ratios), 100 * quantile(costs, 0.5), 100 * quantile(costs, 0.25), 100 * quantile(costs, 0.75),
        costs.size(), median(batches));
  }

  int64_t context_, kept_, batch_;
  int rounds_;
  std::unique_ptr<Engine> engine_;
  Rng rng_{7};
  std::vector<float> numbers_;
  std::vector<Contender> contenders_;
};

}  // namespace
}  // namespace ockham

int main(int argc, char** argv) {
  const auto number = [&](int place, int64_t fallback) { return argc > place ? std::atoll(argv[place]) : fallback; };
  try {
    if (const char* name = std::getenv("OCKHAM_KERNELS")) ockham::set_target(ockham::find_target(name));
    ockham::KvBench(argc > 4 ? argv[4] : "tinyllama-1.1b", number(1, 8192), number(2, 16),
                    static_cast<int>(number(3, 2)), static_cast<int>(number(5, 9)))
        .run();
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
