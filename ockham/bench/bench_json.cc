#include <algorithm>

#include "ockham/bench/bench_result.h"

namespace ockham {
namespace {

Json spread_json(const Spread& spread) {
  if (spread.rounds == 0) return nullptr;
  return {{"median", spread.median}, {"low", spread.low}, {"high", spread.high}, {"rounds", spread.rounds}};
}

Json number_or_null(double value) {
  return value > 0 ? Json(value) : Json(nullptr);
}

Json limits_json(const BenchLimits& limits) {
  return {{"read_bytes_per_s", spread_json(limits.read_bytes_per_s)},
          {"f32_operations_per_s", spread_json(limits.f32_per_s)},
          {"bf16_operations_per_s", spread_json(limits.bf16_per_s)},
          {"int8_operations_per_s", spread_json(limits.int8_per_s)},
          {"bf16_vector_operations_per_s", spread_json(limits.bf16_vectors_per_s)},
          {"int8_vector_operations_per_s", spread_json(limits.int8_vectors_per_s)},
          {"read_bytes", limits.read_bytes},
          {"last_cache_bytes", limits.last_cache_bytes}};
}

Json cell_json(const BenchCell& cell) {
  Json json = {{"phase", cell.is_decode ? "decode" : "prefill"}, {"prompt", cell.prompt}, {"batch", cell.batch}};
  if (!cell.left_out.empty()) {
    json["left_out"] = cell.left_out;
    return json;
  }
  json["tokens_per_s"] = spread_json(cell.tokens_per_s);
  json["ms"] = spread_json(cell.ms);
  json["share"] = spread_json(cell.share);
  if (cell.is_decode) json["tokens_per_s_by_bytes"] = cell.bound();
  if (!cell.is_decode) json["vector_share"] = spread_json(cell.vector_share);
  json["bytes"] = cell.bytes;
  json["operations"] = cell.operations;
  json["intensity"] = cell.intensity();
  json["bytes_per_s"] = cell.bytes_per_s();
  json["operations_per_s"] = cell.operations_per_s();
  return json;
}

Json model_json(const BenchedModel& model) {
  Json cells = Json::array(), layouts = Json::object();
  for (const BenchCell& cell : model.cells) cells.push_back(cell_json(cell));
  for (const auto& [name, weights] : model.layouts) layouts[name] = weights;
  Json json = {{"name", model.name},
               {"source", model.source},
               {"is_random", model.is_random},
               {"layout", model.layout},
               {"parameters", model.parameters},
               {"blocks", model.blocks},
               {"context_length", model.context_length},
               {"sparsity", model.sparsity},
               {"weights", model.weights},
               {"packed_bytes", model.packed_bytes},
               {"bits_per_weight", model.bits_per_weight},
               {"disk_bytes", model.disk_bytes > 0 ? Json(model.disk_bytes) : Json(nullptr)},
               {"disk_bits_per_weight", number_or_null(model.disk_bits_per_weight)},
               {"multiply_unit", model.multiply_unit},
               {"layouts", layouts},
               {"load_s", model.load_s},
               {"first_token_s", model.first_token_s},
               {"first_token_prompt", model.first_token_prompt},
               {"peak_bytes", model.peak_bytes},
               {"cache_bytes_per_token", model.cache_bytes_per_token},
               {"cells", cells}};
  if (!model.kv.empty()) {
    json["kv"] = {{"policy", model.kv}, {"lengths", Json::array()}};
    for (const CacheRow& row : model.cache_rows)
      json["kv"]["lengths"].push_back(
          {{"tokens", row.tokens}, {"bytes_per_token", row.bytes_per_token}, {"largest_batch", row.largest_batch}});
  }
  return json;
}

Json sweep_json(const SweepRow& row) {
  Json json = {{"format", row.format}, {"dense", row.dense}, {"sparsity", row.sparsity}};
  if (!row.left_out.empty()) {
    json["left_out"] = row.left_out;
    return json;
  }
  json["bits_per_weight"] = row.bits_per_weight;
  json["dense_bits_per_weight"] = row.dense_bits_per_weight;
  json["kept_dense"] = row.kept_dense;
  json["tokens_per_s"] = spread_json(row.tokens_per_s);
  json["dense_tokens_per_s"] = spread_json(row.dense_tokens_per_s);
  json["speedup"] = spread_json(row.speedup);
  json["layer_ms"] = spread_json(row.layer_ms);
  json["dense_layer_ms"] = spread_json(row.dense_layer_ms);
  json["layer_speedup"] = spread_json(row.layer_speedup);
  json["share"] = spread_json(row.share);
  return json;
}

Json quality_json(const QualityRow& row) {
  return {{"name", row.name},
          {"recipe", row.recipe},
          {"is_dense", row.is_dense},
          {"packed_bytes", row.bytes},
          {"disk_bytes", row.disk_bytes},
          {"sparsity", row.sparsity},
          {"tokens_per_s", row.tokens_per_s},
          {"divergence", row.divergence},
          {"divergence_error", row.divergence_error},
          {"dominated_by", row.dominated_by}};
}

}  // namespace

bool BenchResult::has_random() const {
  return !sweep.empty() ||
         std::any_of(models.begin(), models.end(), [](const BenchedModel& model) { return model.is_random; });
}

std::string random_notice() {
  return "Weights drawn at random: these figures are about speed and memory, and say nothing about what a model of "
         "this "
         "shape, compressed like this, would still be good for.";
}

Json bench_json(const BenchResult& result) {
  Json json = {{"version", 1},
               {"ockham", result.version},
               {"started", result.started},
               {"machine", result.machine},
               {"kernels", result.kernels},
               {"threads", result.threads},
               {"settings",
                {{"tokens", result.tokens},
                 {"rounds", result.rounds},
                 {"pass_tokens", result.pass_tokens},
                 {"cache_type", result.cache_type},
                 {"fast", result.is_fast},
                 {"kv_bytes", result.kv_bytes},
                 {"warm_up", result.warm_up}}},
               {"limits", limits_json(result.limits)},
               {"peak_bytes", result.peak_bytes},
               {"notes", result.notes}};
  if (result.has_random()) json["notice"] = random_notice();
  json["models"] = Json::array();
  for (const BenchedModel& model : result.models) json["models"].push_back(model_json(model));
  if (!result.sweep.empty()) {
    json["sweep"] = {{"shape", result.sweep_shape}, {"rows", Json::array()}};
    for (const SweepRow& row : result.sweep) json["sweep"]["rows"].push_back(sweep_json(row));
  }
  if (!result.quality.empty()) {
    json["study"] = {{"directory", result.study}, {"tokens", result.quality_tokens}, {"rows", Json::array()}};
    for (const QualityRow& row : result.quality) json["study"]["rows"].push_back(quality_json(row));
  }
  return json;
}

}  // namespace ockham
