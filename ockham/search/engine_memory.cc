#include "ockham/search/engine_memory.h"

#include <algorithm>
#include <filesystem>
#include <vector>

#include "ockham/core/error.h"
#include "ockham/core/memory.h"
#include "ockham/core/progress.h"
#include "ockham/core/rng.h"
#include "ockham/io/file.h"
#include "ockham/io/json.h"
#include "ockham/runtime/engine.h"
#include "ockham/search/latency.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

constexpr int64_t kDefaultContext = 2048;
constexpr int64_t kPage = 4096, kHugePage = int64_t{2} << 20;

int64_t settle() {
  release_free_memory();
  forget_peak_memory();
  return peak_memory_bytes();
}

int64_t context_of(const MemoryLoad& load, int64_t longest) {
  return load.context > 0 ? load.context : std::min(longest, kDefaultContext);
}

// Serves the load as far as memory goes: caches are filled up to the last pass, which is read, and one token follows.
class ServedLoad {
 public:
  ServedLoad(Engine& engine, int64_t batch, int64_t context) : engine_(engine), context_(context) {
    for (int64_t i = 0; i < batch; ++i) sequences_.push_back(engine.cache().open());
  }

  void run() {
    const int64_t read = std::clamp<int64_t>(context_ - 1, 1, engine_.pass_tokens());
    const std::vector<int32_t> tokens = random_tokens(read);
    for (const int32_t sequence : sequences_) {
      fill(sequence, context_ - 1 - read);
      const TokenSpan span = {sequence, tokens, context_ - 1, false};
      engine_.forward({&span, 1});
    }
    const std::vector<int32_t> next = random_tokens(static_cast<int64_t>(sequences_.size()));
    for (size_t first = 0; first < sequences_.size(); first += static_cast<size_t>(engine_.pass_tokens()))
      step(first, next);
  }

 private:
  std::vector<int32_t> random_tokens(int64_t count) {
    std::vector<int32_t> tokens;
    for (int64_t i = 0; i < count; ++i)
      tokens.push_back(static_cast<int32_t>(rng_.below(static_cast<uint64_t>(engine_.config().vocabulary))));
    return tokens;
  }

  void fill(int32_t sequence, int64_t count) {
    if (count <= 0) return;
    const ModelConfig& config = engine_.config();
    const std::vector<float> numbers(static_cast<size_t>(config.kv_heads * config.head_dim), 0.5F);
    engine_.cache().append(sequence, count);
    for (int64_t index = 0; index < count; ++index)
      for (int64_t block = 0; block < config.blocks; ++block)
        engine_.cache().store(block, sequence, index, numbers.data(), numbers.data());
  }

  void step(size_t first, const std::vector<int32_t>& next) {
    const size_t count = std::min(sequences_.size() - first, static_cast<size_t>(engine_.pass_tokens()));
    std::vector<TokenSpan> spans;
    for (size_t i = first; i < first + count; ++i) spans.push_back({sequences_[i], {&next[i], 1}, context_, true});
    engine_.forward(spans);
    const auto at_once = static_cast<size_t>(engine_.logit_rows());
    for (size_t begin = 0; begin < count; begin += at_once) {
      std::vector<const float*> hidden;
      for (size_t i = begin; i < std::min(count, begin + at_once); ++i)
        hidden.push_back(engine_.hidden(static_cast<int64_t>(i)));
      engine_.logits(hidden, true);
    }
  }

  Engine& engine_;
  int64_t context_;
  std::vector<int32_t> sequences_;
  Rng rng_{0};
};

// As Buffer hands it out.
int64_t handed_out(int64_t bytes) {
  if (bytes == 0) return 0;
  const int64_t unit = bytes >= kHugePage ? kHugePage : kPage;
  return (bytes + unit - 1) / unit * unit;
}

// Dense weights are multiplied where they lie in the file; of others there is a copy, and the file's pages are given
// back.
int64_t resident_bytes(const Weight& weight) {
  if (std::holds_alternative<DenseWeight>(weight)) return weight_bytes(weight);
  int64_t in_file = 0;
  if (const auto* factors = std::get_if<LowRankWeight>(&weight); factors != nullptr && factors->base != nullptr) {
    const Weight& base = factors->base->weight;
    if (std::holds_alternative<DenseWeight>(base)) in_file = weight_bytes(base);
  }
  return in_file + handed_out(kernel_matrix(weight).bytes() - in_file);
}

}  // namespace

int64_t measure_engine_memory(const std::string& model, const MemoryLoad& load) {
  const int64_t before = settle();
  const auto files = std::make_shared<const ModelFiles>(model);
  const ModelConfig& config = files->config();
  const int64_t context = context_of(load, config.context_length);
  if (context > config.context_length && !config.has_rope)
    throw_error(ErrorKind::kUsage, "--context: found {}, expected at most {}, the positions of {}", context,
                config.context_length, model);
  EngineOptions options;
  const KvShape shape = {config.blocks, config.kv_heads, config.head_dim, options.cache_type};
  options.longest_context = context;
  options.cache_bytes = load.batch * (PagedCache::needed_pages(shape, context) + 1) * PagedCache::page_bytes(shape);
  Engine engine(read_engine_model(files), options);
  ServedLoad(engine, load.batch, context).run();
  return std::max<int64_t>(peak_memory_bytes() - before, 0);
}

MemoryTable memory_of_levels(const LevelDatabase& database) {
  MemoryTable table(database.units().size());
  for (size_t u = 0; u < table.size(); ++u) {
    check_interrupt();
    for (size_t l = 0; l < database.levels(u).size(); ++l) {
      int64_t bytes = 0;
      for (size_t place = 0; place < database.units()[u].places.size(); ++place)
        bytes += resident_bytes(database.read(u, l, place));
      table[u].push_back(bytes);
    }
    report_progress({"memory", static_cast<int64_t>(u) + 1, static_cast<int64_t>(table.size()), "units"});
  }
  return table;
}

int64_t engine_overhead(const Checkpoint& checkpoint, const MemoryLoad& load, const std::string& path) {
  const std::string key =
      fmt::format("{} sequences of {} tokens", load.batch, context_of(load, checkpoint.config().context_length));
  Json known = std::filesystem::exists(path) ? read_json_file(path) : Json::object();
  if (!known.is_object()) throw_input("{}: is no object, expected numbers by load; remove the file", path);
  if (!known.contains(key)) {
    // The first time also brings the program's own code into memory, in pieces of up to 2 MiB.
    int64_t bytes = measure_engine_memory(checkpoint.directory(), load);
    bytes = std::min(bytes, measure_engine_memory(checkpoint.directory(), load));
    known[key] = std::max<int64_t>(bytes - checkpoint.bytes(), 0);
    write_file_atomically(path, known.dump(1) + "\n");
  }
  return json_integer(known, key, path);
}

}  // namespace ockham
