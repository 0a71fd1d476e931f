// Statistics, JSON, table and page, from results made by hand.
#include <gtest/gtest.h>

#include "ockham/bench/bench_result.h"
#include "ockham/bench/chart.h"

namespace ockham {
namespace {

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

Spread spread(double median) {
  return {median, 0.9 * median, 1.2 * median, 5};
}

BenchCell cell(bool is_decode, int64_t prompt, int64_t batch) {
  BenchCell cell;
  cell.is_decode = is_decode;
  cell.prompt = prompt;
  cell.batch = batch;
  cell.tokens_per_s = spread(50);
  cell.ms = spread(20);
  cell.share = spread(0.75);
  cell.bytes = 5e8;
  cell.operations = is_decode ? 2e9 : 1e12;
  return cell;
}

BenchResult sample(const std::string& name) {
  BenchResult result;
  result.version = "1.2.3";
  result.machine = "a machine";
  result.kernels = "avx512";
  result.started = "2026-01-02T03:04:05Z";
  result.threads = 2;
  result.tokens = 16;
  result.rounds = 5;
  result.cache_type = "float32";
  result.warm_up = "none";
  result.limits.read_bytes_per_s = spread(30e9);
  result.limits.f32_per_s = spread(2e11);
  result.limits.int8_per_s = spread(3e12);
  BenchedModel model;
  model.name = name;
  model.source = "random weights";
  model.is_random = true;
  model.parameters = 1000;
  model.weights = 900;
  model.packed_bytes = 450;
  model.bits_per_weight = 4;
  model.multiply_unit = "int8";
  model.layouts = {{name + " layout", 900}};
  model.cells = {cell(true, 128, 1), cell(true, 128, 4), cell(false, 128, 1)};
  BenchCell missing;
  missing.prompt = 2048;
  missing.batch = 16;
  missing.left_out = "no room";
  model.cells.push_back(missing);
  result.models.push_back(model);
  return result;
}

SweepRow sweep_row(double sparsity, double speedup, double kept_dense) {
  SweepRow row;
  row.format = "bf16";
  row.dense = "bf16";
  row.sparsity = sparsity;
  row.bits_per_weight = 9;
  row.dense_bits_per_weight = 16;
  row.kept_dense = kept_dense;
  row.tokens_per_s = row.dense_tokens_per_s = row.layer_ms = row.dense_layer_ms = spread(10);
  row.speedup = row.layer_speedup = spread(speedup);
  row.share = spread(0.5);
  return row;
}

TEST(Spreads, MediansAndBounds) {
  EXPECT_EQ(spread_of({}).rounds, 0);
  const Spread odd = spread_of({5, 1, 3});
  EXPECT_EQ(odd.median, 3);
  EXPECT_EQ(odd.low, 1);
  EXPECT_EQ(odd.high, 5);
  EXPECT_EQ(odd.rounds, 3);
  EXPECT_EQ(spread_of({4, 1, 2, 8}).median, 3);
  // What slowed a round down for both falls out.
  const Spread ratio = spread_of_ratios({2, 20, 4}, {1, 10, 2});
  EXPECT_EQ(ratio.low, 2);
  EXPECT_EQ(ratio.high, 2);
}

TEST(BenchJson, HoldsWhatTheFormatSays) {
  BenchResult result = sample("m");
  result.sweep_shape = "toy";
  result.sweep = {sweep_row(0.5, 1.5, 0)};
  const Json json = bench_json(result);
  EXPECT_EQ(json["version"], 1);
  for (const char* key : {"ockham", "started", "machine", "kernels", "threads", "settings", "limits", "peak_bytes",
                          "notes", "notice", "models", "sweep"})
    EXPECT_TRUE(json.contains(key)) << key;
  EXPECT_FALSE(json.contains("study"));
  EXPECT_TRUE(json["limits"]["bf16_operations_per_s"].is_null());
  const Json& model = json["models"][0];
  EXPECT_TRUE(model["disk_bytes"].is_null());
  EXPECT_EQ(model["cells"].size(), 4U);
  EXPECT_EQ(model["cells"][0]["phase"], "decode");
  EXPECT_EQ(model["cells"][0]["tokens_per_s"]["median"], 50);
  EXPECT_DOUBLE_EQ(model["cells"][0]["bytes_per_s"].get<double>(), 25e9);
  EXPECT_DOUBLE_EQ(model["cells"][2]["operations_per_s"].get<double>(), 5e13);
  EXPECT_EQ(model["cells"][3]["left_out"], "no room");
  EXPECT_FALSE(model["cells"][3].contains("tokens_per_s"));
  EXPECT_EQ(json["sweep"]["rows"][0]["speedup"]["median"], 1.5);
}

TEST(BenchJson, RealWeightsHaveNoNotice) {
  BenchResult result = sample("m");
  result.models[0].is_random = false;
  EXPECT_FALSE(bench_json(result).contains("notice"));
  EXPECT_FALSE(has(bench_text(result), random_notice()));
  EXPECT_FALSE(has(bench_page(result), "drawn at random"));
}

TEST(BenchText, HasEveryCellAndTheNotice) {
  const std::string text = bench_text(sample("tiny"));
  EXPECT_TRUE(has(text, "left out: no room"));
  EXPECT_TRUE(has(text, "75 %"));
  EXPECT_TRUE(has(text, random_notice()));
}

TEST(BenchPage, EscapesNames) {
  const std::string page = bench_page(sample("<script>alert('x')</script> & \"more\""));
  EXPECT_FALSE(has(page, "<script>alert"));
  EXPECT_TRUE(has(page, "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;more&quot;"));
}

TEST(BenchPage, IsCompleteInItself) {
  BenchResult result = sample("m");
  result.sweep_shape = "toy";
  result.sweep = {sweep_row(0.5, 0.95, 1), sweep_row(0.7, 1.8, 0)};
  SweepRow missing = sweep_row(0.9, 1, 0);
  missing.left_out = "no room for it";
  result.sweep.push_back(missing);
  const std::string page = bench_page(result);
  for (const char* part : {"id=\"roofline\"", "id=\"decode\"", "id=\"prefill\"", "id=\"sweep\"", "id=\"models\"",
                           "id=\"method\"", "drawn at random", "no room for it", "<svg viewBox"})
    EXPECT_TRUE(has(page, part)) << part;
  for (const char* part :
       {"http://", "https://", "<link rel=\"stylesheet\"", "src=", "id=\"study\"", ">nan", "\"nan", ">inf"})
    EXPECT_FALSE(has(page, part)) << part;
}

TEST(BenchPage, OneMeasurementIsEnough) {
  BenchResult result = sample("m");
  result.models[0].cells = {cell(true, 1, 1)};
  EXPECT_TRUE(has(bench_page(result), "id=\"roofline\""));
  result.models[0].cells.clear();
  EXPECT_FALSE(has(bench_page(result), "id=\"roofline\""));
}

QualityRow version(const std::string& name, double bytes, double sparsity, double tokens_per_s, double divergence) {
  QualityRow row;
  row.name = name;
  row.bytes = bytes;
  row.sparsity = sparsity;
  row.tokens_per_s = tokens_per_s;
  row.divergence = divergence;
  return row;
}

TEST(Quality, FindsWhatFewerBitsDominate) {
  std::vector<QualityRow> rows = {
      version("dense", 100, 0, 10, 0),           version("int4", 30, 0, 30, 0.05),
      version("int3", 22, 0, 35, 0.2),           version("sparse, beaten", 40, 0.5, 20, 0.3),
      version("sparse, fast", 40, 0.5, 50, 0.3), version("sparse, small", 20, 0.9, 20, 0.9),
      version("sparse, good", 60, 0.5, 15, 0.01)};
  rows[0].is_dense = true;
  find_dominated(rows);
  EXPECT_EQ(rows[3].dominated_by, (std::vector<std::string>{"int4", "int3"}));
  for (const size_t free : {0, 1, 2, 4, 5, 6}) EXPECT_TRUE(rows[free].dominated_by.empty()) << rows[free].name;
  BenchResult result = sample("m");
  result.models[0].is_random = false;
  result.quality = rows;
  result.quality_tokens = 1000;
  const std::string page = bench_page(result);
  EXPECT_TRUE(has(page, "Dominated by fewer bits without zeros"));
  EXPECT_TRUE(has(page, "sparse, beaten."));
  EXPECT_EQ(bench_json(result)["study"]["rows"].size(), rows.size());
}

TEST(Axes, TicksLieInside) {
  for (const Axis& axis :
       {log_axis("x", 0.3, 4000), log_axis("x", 0.9, 18), linear_axis("y", 0.8, 3.1), linear_axis("y", 0, 1e-3)}) {
    EXPECT_GE(axis.ticks.size(), 2U);
    EXPECT_LE(axis.ticks.size(), 16U);
    for (const auto& [value, text] : axis.ticks) {
      EXPECT_GE(value, axis.low * 0.99);
      EXPECT_LE(value, axis.high * 1.01);
    }
  }
}

}  // namespace
}  // namespace ockham
