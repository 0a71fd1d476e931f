// What an engine holds between passes and how a pass runs; private to the sources engine*.cc.
#pragma once

#include <span>
#include <vector>

#include "ockham/runtime/engine.h"
#include "ockham/runtime/vectors.h"

namespace ockham {

// Floats that are taken once.
class FloatRoom {
 public:
  FloatRoom() = default;
  explicit FloatRoom(int64_t count) : memory_(count * static_cast<int64_t>(sizeof(float))) {}
  float* data() { return reinterpret_cast<float*>(memory_.data()); }

 private:
  Buffer memory_;
};

// A product of the pass: out [rows, R] = matrix x + bias.
struct Product {
  const KernelMatrix* matrix = nullptr;
  const std::vector<float>* bias = nullptr;  // empty: none
  const InputRule* rule = nullptr;
  float* out = nullptr;

  Product(const EngineLinear& linear, float* to)
      : matrix(&linear.weight), bias(&linear.bias), rule(&linear.rule), out(to) {}
  Product(const KernelMatrix& plain, float* to) : matrix(&plain), out(to) {}
};

struct Engine::State {
  State(EngineModel weights, const EngineOptions& chosen);

  // engine.cc
  void forward(std::span<const TokenSpan> spans);
  float* logits(std::span<const float* const> rows, bool is_generating);
  // body(begin, end) over rows, in parallel where `cost` operations for each row are worth it; end - begin may be 1.
  template <typename Body>
  void for_rows(int64_t rows, int64_t cost, const Body& body);
  // out [rows, H]; without a norm a copy. out may be x.
  void normalize(const EngineNorm& norm, const float* x, int64_t rows, float* out);
  void add(float* x, const float* y, int64_t rows);  // [rows, H]

  // engine_products.cc
  // Products of the same inputs x [rows, C], at most kMostProducts, in one go; the first `exact` rows belong to tokens
  // that are generated. Results have room for kMostFiller rows more, which may be overwritten.
  void multiply(std::span<const Product> products, const float* x, int64_t rows, int64_t exact);
  // engine_attention.cc
  void place_tokens(std::span<const TokenSpan> spans);
  void attention(int64_t block, const float* normed, float* out);
  // engine_eviction.cc
  void check(const KvPolicy& policy) const;
  int32_t open(const KvPolicy& policy, int64_t prompt, int64_t longest);
  // engine_mlp.cc
  void mlp(int64_t block, const float* normed, float* out);

  static constexpr size_t kMostProducts = 3;
  static constexpr int64_t kMostFiller = kFewTokens + 1;
  EngineModel model;
  const ModelConfig& config;
  EngineOptions options;
  ThreadPool pool;
  PagedCache cache;
  int64_t hidden_size, logit_rows;
  int64_t tokens = 0, generated = 0;  // of the pass; the generated ones come first

  FloatRoom hidden, normed, update;  // [T, H]
  FloatRoom embedded;                // [T, embedding size], where that is not H
  FloatRoom logit_inputs, logit_values;
  KernelInput inputs[kMostProducts];

  void check(std::span<const TokenSpan> spans) const;
  void embed(std::span<const TokenSpan> spans);
  void run_block(int64_t block);
  // Rows of one kind: `asked` of them, computed as `rows`.
  struct Part {
    InputRounding rounding;
    int64_t first, asked, rows;
  };
  void multiply_part(std::span<const Product> products, const float* x, const Part& part);
  void fill(std::span<const Product> products, const float* x, const Part& part, size_t (&input_of)[kMostProducts]);
  void multiply_rounded(const Product& product, const float* x, int64_t rows);
  void reserve_inputs();

  // A stretch of queries of one sequence that share a head of keys.
  struct Task {
    int64_t row, count;  // tokens of the pass
    int32_t sequence;
    int64_t kv_head, head, heads;  // queries of heads [head, head + heads)
    bool by_tiles = false;
    bool adds_columns = false;  // of a sequence whose attention is counted, which has no other token in the pass
    int64_t seen = 0;           // where blocks are in codes: tokens of the sequence up to the last of these
  };
  // Tokens of a span that are stored and attend together: all of them, or those in one block of codes.
  struct Segment {
    int64_t row, count;
    int32_t sequence;
    int64_t index;  // of the first, in the sequence
    bool adds_columns;
  };
  // Segments that run at the same time, of different sequences, and their tasks.
  struct Stage {
    size_t first_segment, segments, first_task, tasks;
  };
  struct Rotation {
    FloatRoom cos, sin;            // [T, half]
    int64_t half = 0, length = 0;  // length: see RopeConfig::depends_on_length
    std::vector<double> frequencies;
  };
  void plan_stages(std::span<const TokenSpan> spans);
  void plan_tasks(const Segment& segment);
  void fill_rotation(Rotation& rotation, const RopeConfig& rope, std::span<const TokenSpan> spans);
  void finish_heads(int64_t block, int64_t row);
  void store_heads(int64_t block, int64_t row);
  void fetch_first_page(const Task& task, int64_t block);
  void attend(std::span<const Task> all, int64_t block);
  void encode(std::span<const Segment> all, int64_t block);
  AttentionTask attention_task(const Task& task, int64_t block, int worker);
  bool takes_tiles(const Segment& segment) const;
  void attend(const Task& task, int64_t block, int worker);

  // Eviction (engine_eviction.cc)
  static KvCut cut_behind(const TokenSpan& span) { return span.is_generated ? KvCut::kStep : span.cut; }
  void plan_cuts(std::span<const TokenSpan> spans);
  bool is_counted_at_once(const TokenSpan& span) const;
  void reserve_columns(int64_t rows, int64_t slots);
  void reserve_turns(int64_t slots);
  void add_columns(int64_t block);
  void cut(int64_t block);

  int64_t query_width, key_width;
  std::vector<int32_t> positions, sequences;  // [T]
  std::vector<int32_t> places;                // [T]: what queries and keys are rotated by
  std::vector<int64_t> indices;               // [T]: place in the sequence
  std::vector<Task> tasks;
  std::vector<Segment> segments;
  std::vector<Stage> stages;
  Rotation rotation, local_rotation;
  FloatRoom queries, keys, values, mixed;  // [T, heads * D], [T, kv_heads * D] twice, [T, heads * D]
  FloatRoom attention_room;                // for each worker
  int64_t attention_floats = 0;
  int64_t task_rows = kMostRows;                  // of any task, at most
  bool tiles = false;                             // tokens that are read attend by tiles
  FloatRoom expanded_room;                        // for each worker, where pages are in codes
  std::vector<KvBlockWriter> writers;             // the same
  std::vector<int64_t> full_segments;             // of a stage: those that end a block
  std::vector<std::vector<AttentionPage>> pages;  // for each worker

  std::vector<int32_t> cuts;  // sequences that lose tokens behind this pass
  // Those that lose one whose scores are in the caches still: a head's goes when its attention is counted.
  std::vector<int32_t> early_cuts;
  std::vector<Task> counted;  // spans of several tokens whose attention is counted, for each head of keys
  // [rows, heads, row_state] of AttentionTask; rows: tokens of the pass, but none where no attention is counted.
  FloatRoom row_states;
  int64_t row_state = 0, state_rows = 0;
  std::vector<FloatRoom> column_scores;  // for each worker
  int64_t column_slots = 0;              // for which there is room
  FloatRoom turn_cos, turn_sin;          // [half, turn_places]
  int64_t turn_places = 0;
  std::vector<FloatRoom> turned;  // for each worker: one page of keys

  // Tokens that one expert was chosen for.
  struct Choice {
    int32_t token;
    float share;
  };
  void apply_mlp(const EngineMlp& weights, const float* x, int64_t rows, int64_t exact, float* out);
  void mixture(const EngineBlock& block, const float* normed, float* out);
  void choose_experts(const EngineBlock& block, const float* normed);
  void add_expert(const EngineMlp& weights, std::span<const Choice> choices, const float* normed, float* out);
  FloatRoom gate, up;                         // [T, I]
  FloatRoom scores, gathered, expert_update;  // [T, experts], [T, H] twice
  std::vector<std::vector<Choice>> choices;   // for each expert
  std::vector<int32_t> order;                 // experts by score

  // For weights that ask for rounded inputs.
  FloatRoom small, large, kept, partial;
  KernelInput rounded_input, fine_input, kept_input;
};

template <typename Body>
void Engine::State::for_rows(int64_t rows, int64_t cost, const Body& body) {
  constexpr int64_t kWorth = 50'000;  // operations that outweigh waking a thread
  if (rows * cost < 2 * kWorth || pool.threads() == 1) return body(0, rows);
  const int64_t parts = std::min<int64_t>({rows, rows * cost / kWorth, int64_t{4} * pool.threads()});
  pool.run(parts, [&](int64_t part, int) { body(rows * part / parts, rows * (part + 1) / parts); });
}

}  // namespace ockham
