#include "ockham/core/kv_policy.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "ockham/core/error.h"

namespace ockham {
namespace {

using Specs = std::vector<ParamSpec>;

ParamSpec budget_spec(double fallback) {
  return real_spec("budget", "tokens kept: up to 1 a share of those read so far, above 1 a number", fallback, 1e-4,
                   1e9);
}
ParamSpec heavy_spec(double fallback) {
  return real_spec("heavy", "share of the budget for the tokens with the most accumulated attention", fallback, 0, 1);
}
ParamSpec sinks_spec(int64_t fallback) {
  return int_spec("sinks", "first tokens that always stay", fallback, 0, 1'000'000);
}
ParamSpec positions_spec(const char* fallback) {
  return text_spec("positions", "of kept tokens: those of the text, or their places among what is kept", fallback,
                   {"absolute", "rolling"});
}
ParamSpec layers_spec() {
  return text_spec("layers", "budgets of blocks: all the same, or more for the first (PyramidKV, Cai et al. 2024)",
                   "even", {"even", "pyramid"});
}
ParamSpec chunk_spec() {
  return int_spec("chunk", "prompt tokens between two evictions; 0: once, behind the whole prompt", 0, 0, 1'000'000);
}
ParamSpec bits_spec(int64_t fallback) {
  return int_spec("bits", "of stored keys and values: 2, 4 or 8; 0: as the cache's type", fallback, 0, 8);
}
ParamSpec group_spec() {
  return int_spec("group", "elements that share a scale and a minimum: of a channel's keys, of a token's values", 32,
                  16, 128);
}

// What every policy that drops tokens has, its own parameters before.
Specs evicting(Specs own, const char* positions, int64_t bits = 0) {
  for (ParamSpec spec : {positions_spec(positions), layers_spec(), chunk_spec(), bits_spec(bits), group_spec()})
    own.push_back(std::move(spec));
  return own;
}

std::vector<KvPolicyEntry> make_entries() {
  return {
      {"full", "Every token stays, stored as the cache's type.", "", {}},
      {"local", "The newest tokens.", "", evicting({budget_spec(0.2), sinks_spec(0)}, "absolute")},
      {"streaming", "The first tokens (attention sinks) and the newest.",
       "Xiao et al., Efficient Streaming Language Models with Attention Sinks, ICLR 2024",
       evicting({budget_spec(512), sinks_spec(4)}, "rolling")},
      {"h2o", "The tokens with the most accumulated attention and the newest, for each head.",
       "Zhang et al., H2O: Heavy-Hitter Oracle for Efficient Generative Inference, NeurIPS 2023",
       evicting({budget_spec(0.2), heavy_spec(0.5), sinks_spec(0)}, "absolute")},
      {"strided", "The newest tokens and every n-th before them.",
       "Child et al., Generating Long Sequences with Sparse Transformers, 2019 (in column form)",
       evicting({budget_spec(0.2), heavy_spec(0)}, "absolute")},
      {"fixed", "The tokens of the current stretch and the last ones of every earlier.",
       "Child et al., Generating Long Sequences with Sparse Transformers, 2019",
       evicting({budget_spec(0.2), heavy_spec(0)}, "absolute")},
      {"merge", "As h2o, but a dropped token is added to the kept one most like it.",
       "Wan et al., D2O: Dynamic Discriminative Operations for Efficient Generative Inference, 2024 (here with the "
       "logarithm of a slot's weight in its score)",
       evicting({budget_spec(0.2), heavy_spec(0.5), sinks_spec(0),
                 int_spec("reach", "merge only with tokens at most so many positions away", 8, 1, 1'000'000)},
                "absolute")},
      {"quantized",
       "Every token stays; keys in codes per channel, values per token.",
       "Liu et al., KIVI: A Tuning-Free Asymmetric 2bit Quantization for KV Cache, ICML 2024",
       {bits_spec(4), group_spec()}},
      {"gear",
       "Codes, a low-rank correction for each head, and outliers kept exactly.",
       "Kang et al., GEAR: An Efficient KV Cache Compression Recipe for Near-Lossless Generative Inference, 2024",
       {bits_spec(4), group_spec(), real_spec("outliers", "share of the elements kept exactly", 0.02, 0, 0.5),
        int_spec("rank", "of the correction", 4, 0, 64)}},
      {"qhitter", "As h2o, by attention and by how little a token loses in codes, stored in codes.",
       "Zhang et al., Q-Hitter: A Better Token Oracle for Efficient LLM Inference via Sparse-Quantized KV Cache, MLSys "
       "2024",
       evicting({budget_spec(0.2), heavy_spec(1),
                 real_spec("lambda", "weight of attention beside quantization error", 0.5, 0, 1)},
                "absolute", 4)},
  };
}

const KvPolicyEntry& entry_of(const std::string& where, const std::string& name) {
  std::vector<std::string> names;
  for (const KvPolicyEntry& entry : kv_policies()) {
    if (entry.name == name) return entry;
    names.push_back(entry.name);
  }
  const std::string near = closest_name(name, names);
  throw_input("{}: unknown KV-cache policy '{}'; expected one of: {}{}", where, name, fmt::join(names, ", "),
              near.empty() ? "" : "; did you mean '" + near + "'?");
}

KvPolicy::Keep keep_of(const std::string& name) {
  using Keep = KvPolicy::Keep;
  if (name == "local") return Keep::kLocal;
  if (name == "streaming") return Keep::kStreaming;
  if (name == "strided") return Keep::kStrided;
  if (name == "fixed") return Keep::kFixed;
  return name == "h2o" || name == "merge" || name == "qhitter" ? Keep::kHeavyHitters : Keep::kAll;
}

void check(const std::string& where, const KvPolicy& policy) {
  if (policy.bits != 0 && policy.bits != 2 && policy.bits != 4 && policy.bits != 8)
    throw_input("{}: key 'bits': found {}, expected 2, 4 or 8 (0: as the cache's type); correct the value", where,
                policy.bits);
  if (policy.group % 16 != 0 || 128 % policy.group != 0)
    throw_input("{}: key 'group': found {}, expected 16, 32, 64 or 128; correct the value", where, policy.group);
  if (policy.budget > 1 && policy.budget != std::floor(policy.budget))
    throw_input("{}: key 'budget': found {}, expected a share up to 1 or a whole number of tokens; correct the value",
                where, policy.budget);
  if (policy.budget > 1 && static_cast<double>(policy.sinks) >= policy.budget)
    throw_input("{}: key 'sinks': found {} in a budget of {} tokens, expected fewer; lower it or raise 'budget'", where,
                policy.sinks, policy.budget);
  if (!policy.is_even() && policy.positions == KvPolicy::Positions::kRolling)
    throw_input(
        "{}: key 'layers': found pyramid beside positions=rolling, which need equally many tokens in all "
        "blocks; expected even, or add positions=absolute",
        where);
}

ParamValue value_of(const std::string& text) {
  if (text == "true" || text == "false") return text == "true";
  const char* end = text.data() + text.size();
  int64_t whole = 0;
  if (const auto read = std::from_chars(text.data(), end, whole); read.ec == std::errc() && read.ptr == end)
    return whole;
  double real = 0;
  if (const auto read = std::from_chars(text.data(), end, real); read.ec == std::errc() && read.ptr == end) return real;
  return text;
}

}  // namespace

int64_t KvPolicy::budget_of(int64_t tokens, int64_t block, int64_t blocks) const {
  constexpr double kSteepest = 1 - 1.0 / 20;  // of what the first block has above the mean
  double own = budget;
  if (!is_even() && evicts() && blocks > 1) {
    const double most = budget > 1 ? budget - static_cast<double>(sinks) - 1 : 1 - budget;
    const double tilt = 1 - 2 * static_cast<double>(block) / static_cast<double>(blocks - 1);  // 1 .. -1
    const double more = std::min(kSteepest * budget, most) * tilt;
    own += budget > 1 ? std::round(more) : more;
  }
  const double kept = budget > 1 ? own : std::ceil(own * static_cast<double>(tokens) - 1e-9);
  return std::clamp<int64_t>(static_cast<int64_t>(std::min(kept, 1e15)), 1, std::max<int64_t>(tokens, 1));
}

std::map<std::string, ParamValue> KvPolicy::changed() const {
  const std::map<std::string, ParamValue> all = {
      {"budget", budget},
      {"heavy", heavy},
      {"sinks", sinks},
      {"positions", std::string(positions == Positions::kRolling ? "rolling" : "absolute")},
      {"layers", std::string(is_even() ? "even" : "pyramid")},
      {"chunk", chunk},
      {"reach", reach},
      {"lambda", attention_weight},
      {"bits", int64_t{bits}},
      {"group", group},
      {"outliers", outliers},
      {"rank", rank}};
  std::map<std::string, ParamValue> result;
  for (const ParamSpec& spec : entry_of("", name).specs)
    if (to_text(all.at(spec.name)) != to_text(spec.fallback)) result.insert(*all.find(spec.name));
  return result;
}

std::string KvPolicy::text() const {
  std::string result = name;
  for (const auto& [key, value] : changed()) {
    const auto* word = std::get_if<std::string>(&value);
    result += fmt::format(",{}={}", key, word != nullptr ? *word : to_text(value));
  }
  return result;
}

KvBytes kv_bytes(const KvPolicy& policy, int64_t kv_heads, int64_t head_dim, int64_t tokens, double bytes_of_element) {
  const auto kept = static_cast<double>(policy.budget_of(tokens)), heads = static_cast<double>(kv_heads),
             dim = static_cast<double>(head_dim);
  const double numbers = 2 * kept * heads * dim;
  if (!policy.is_quantized()) return {numbers * bytes_of_element, 0};
  const double scales = 4 * numbers / static_cast<double>(policy.group), outliers = 6 * policy.outliers * numbers,
               corrections = 2 * 2 * heads * static_cast<double>(policy.rank) * (kept + dim);
  return {numbers * policy.bits / 8, scales + outliers + corrections};
}

const std::vector<KvPolicyEntry>& kv_policies() {
  static const std::vector<KvPolicyEntry> kEntries = make_entries();
  return kEntries;
}

KvPolicy make_kv_policy(const std::string& where, const std::string& name,
                        const std::map<std::string, ParamValue>& params) {
  const KvPolicyEntry& entry = entry_of(where, name);
  const Params given(where, entry.specs, params);
  KvPolicy policy;
  policy.name = name;
  policy.keep = keep_of(name);
  policy.merges = name == "merge";
  for (const ParamSpec& spec : entry.specs) {
    if (given.from(spec.name) != nullptr)
      throw_input("{}: key '{}': found a reference to a step, expected a number; a cache has no steps", where,
                  spec.name);
    if (spec.name == "budget") policy.budget = given.real(spec.name);
    if (spec.name == "heavy") policy.heavy = given.real(spec.name);
    if (spec.name == "sinks") policy.sinks = given.integer(spec.name);
    if (spec.name == "chunk") policy.chunk = given.integer(spec.name);
    if (spec.name == "reach") policy.reach = given.integer(spec.name);
    if (spec.name == "lambda") policy.attention_weight = given.real(spec.name);
    if (spec.name == "bits") policy.bits = static_cast<int>(given.integer(spec.name));
    if (spec.name == "group") policy.group = given.integer(spec.name);
    if (spec.name == "outliers") policy.outliers = given.real(spec.name);
    if (spec.name == "rank") policy.rank = given.integer(spec.name);
    if (spec.name == "positions" && given.text(spec.name) == "rolling")
      policy.positions = KvPolicy::Positions::kRolling;
    if (spec.name == "layers" && given.text(spec.name) == "pyramid") policy.layers = KvPolicy::Layers::kPyramid;
  }
  check(where, policy);
  return policy;
}

KvPolicy parse_kv_policy(const std::string& where, const std::string& text) {
  size_t end = text.find(',');
  const std::string name = text.substr(0, end);
  std::map<std::string, ParamValue> params;
  while (end != std::string::npos) {
    const size_t begin = end + 1;
    end = text.find(',', begin);
    const std::string item = text.substr(begin, end == std::string::npos ? end : end - begin);
    const size_t sign = item.find('=');
    if (sign == std::string::npos || sign == 0)
      throw_input("{}: found '{}' in '{}', expected key=value; write NAME,key=value,...", where, item, text);
    if (!params.emplace(item.substr(0, sign), value_of(item.substr(sign + 1))).second)
      throw_input("{}: key '{}' stands twice in '{}'; leave one out", where, item.substr(0, sign), text);
  }
  return make_kv_policy(where, name, params);
}

}  // namespace ockham
