#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "ockham/bench/bench_result.h"
#include "ockham/report/format.h"

namespace ockham {
namespace {

// Columns as wide as their contents; all but the first on the right.
class Columns {
 public:
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  std::string text() const {
    std::vector<size_t> widths;
    for (const auto& row : rows_) {
      widths.resize(std::max(widths.size(), row.size()), 0);
      for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], length(row[i]));
    }
    std::string text;
    for (const auto& row : rows_) {
      std::string line;
      for (size_t i = 0; i < row.size(); ++i) {
        const std::string filling(widths[i] - length(row[i]), ' ');
        line += (i == 0 ? "" : "  ") + (i == 0 ? row[i] + filling : filling + row[i]);
      }
      text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
    }
    return text;
  }

 private:
  // In characters, not bytes.
  static size_t length(const std::string& text) {
    return static_cast<size_t>(
        std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<uint8_t>(c) & 0xC0U) != 0x80U; }));
  }
  std::vector<std::vector<std::string>> rows_;
};

std::string giga(const Spread& spread) {
  if (spread.rounds == 0) return "–";
  return fmt::format("{:.1f} ({:.1f}–{:.1f})", spread.median / 1e9, spread.low / 1e9, spread.high / 1e9);
}
std::string range(const Spread& spread, int digits) {
  return fmt::format("{:.{}f}–{:.{}f}", spread.low, digits, spread.high, digits);
}
int digits_for(double value) {
  return value < 10 ? 2 : value < 100 ? 1 : 0;
}

std::string limits_text(const BenchResult& result) {
  const BenchLimits& limits = result.limits;
  std::string text =
      fmt::format("{}\n{} kernels, {} threads; memory is read at {} GB/s; Gop/s: float32 {}", result.machine,
                  result.kernels, result.threads, giga(limits.read_bytes_per_s), giga(limits.f32_per_s));
  if (limits.bf16_per_s.rounds > 0) text += ", bf16 tiles " + giga(limits.bf16_per_s);
  if (limits.int8_per_s.rounds > 0) text += ", int8 " + giga(limits.int8_per_s);
  if (limits.int8_vectors_per_s.rounds > 0) {
    text += fmt::format("; without tiles bf16 {}, int8 {}", giga(limits.bf16_vectors_per_s),
                        giga(limits.int8_vectors_per_s));
  }
  return text + fmt::format("\nMedians of {} rounds (least–greatest), {} tokens decoded in each. Warm-up: {}.\n",
                            result.rounds, result.tokens, result.warm_up);
}

std::string models_text(const BenchResult& result) {
  Columns table;
  table.add({"model", "weights", "packed", "bits/weight", "on disk", "bits/parameter", "load", "first token", "peak"});
  for (const BenchedModel& model : result.models) {
    table.add({model.name, fmt::format("{:.3f}e9", model.weights / 1e9), bytes_text(model.packed_bytes),
               fmt::format("{:.2f}", model.bits_per_weight),
               model.disk_bytes > 0 ? bytes_text(static_cast<double>(model.disk_bytes)) : "–",
               model.disk_bytes > 0 ? fmt::format("{:.2f}", model.disk_bits_per_weight) : "–",
               fmt::format("{:.2f} s", model.load_s),
               fmt::format("{:.2f} s ({} tokens)", model.first_token_s, model.first_token_prompt),
               bytes_text(static_cast<double>(model.peak_bytes))});
  }
  return result.models.empty() ? "" : "\n" + table.text();
}

std::string cells_text(const BenchResult& result, bool is_decode) {
  Columns table;
  table.add({is_decode ? "decode" : "prefill", "prompt", "batch", "tokens/s", "spread", is_decode ? "ms/step" : "ms",
             is_decode ? "GB/s" : "Gop/s", "share",
             is_decode                                     ? "by bytes"
             : result.limits.int8_vectors_per_s.rounds > 0 ? "of it without tiles"
                                                           : ""});
  bool has_rows = false;
  for (const BenchedModel& model : result.models) {
    for (const BenchCell& cell : model.cells) {
      if (cell.is_decode != is_decode) continue;
      has_rows = true;
      std::vector<std::string> row = {model.name, fmt::format("{}", cell.prompt), fmt::format("{}", cell.batch)};
      if (!cell.left_out.empty()) {
        row.push_back("left out: " + cell.left_out);
      } else {
        const int digits = digits_for(cell.tokens_per_s.median);
        row.push_back(fmt::format("{:.{}f}", cell.tokens_per_s.median, digits));
        row.push_back(range(cell.tokens_per_s, digits));
        row.push_back(fmt::format("{:.1f}", cell.ms.median));
        row.push_back(fmt::format("{:.1f}", (is_decode ? cell.bytes_per_s() : cell.operations_per_s()) / 1e9));
        row.push_back(percent(cell.share.median) + (is_decode ? "" : " of " + model.multiply_unit));
        if (is_decode) row.push_back(fmt::format("{:.{}f}", cell.bound(), digits_for(cell.bound())));
        if (cell.vector_share.rounds > 0) row.push_back(percent(cell.vector_share.median));
      }
      table.add(std::move(row));
    }
  }
  return has_rows ? "\n" + table.text() : "";
}

std::string caches_text(const BenchResult& result) {
  Columns table;
  table.add({"cache", "tokens", "bytes/token", "largest batch"});
  bool has_rows = false;
  for (const BenchedModel& model : result.models) {
    for (const CacheRow& row : model.cache_rows) {
      has_rows = true;
      table.add({model.name, fmt::format("{}", row.tokens), fmt::format("{:.0f}", row.bytes_per_token),
                 fmt::format("{}", row.largest_batch)});
    }
  }
  if (!has_rows) return "";
  return fmt::format("\nKeys and values of a sequence, and how many such sequences {} hold\n",
                     bytes_text(static_cast<double>(result.kv_bytes))) +
         table.text();
}

std::string sweep_text(const BenchResult& result) {
  if (result.sweep.empty()) return "";
  Columns table;
  table.add({result.sweep_shape, "against", "bits", "of", "tokens/s", "of", "step", "spread", "layer", "spread",
             "kept dense"});
  for (const SweepRow& row : result.sweep) {
    if (!row.left_out.empty()) {
      table.add({row.format, row.dense, "left out: " + row.left_out});
      continue;
    }
    table.add({row.format, row.dense, fmt::format("{:.2f}", row.bits_per_weight),
               fmt::format("{:.2f}", row.dense_bits_per_weight), fmt::format("{:.2f}", row.tokens_per_s.median),
               fmt::format("{:.2f}", row.dense_tokens_per_s.median), fmt::format("{:.2f}×", row.speedup.median),
               range(row.speedup, 2), fmt::format("{:.2f}×", row.layer_speedup.median), range(row.layer_speedup, 2),
               percent(row.kept_dense)});
  }
  return "\nSpeed-up by zeros, one sequence (step: a whole step; layer: the products of one block)\n" + table.text();
}

std::string quality_text(const BenchResult& result) {
  if (result.quality.empty()) return "";
  Columns table;
  table.add({"version", "packed", "zeros", "tokens/s", "KL per token", "±", "dominated by"});
  for (const QualityRow& row : result.quality) {
    table.add({row.is_dense ? row.name + " (dense)" : row.name, bytes_text(row.bytes), percent(row.sparsity),
               fmt::format("{:.1f}", row.tokens_per_s), fmt::format("{:.4f}", row.divergence),
               fmt::format("{:.4f}", row.divergence_error), joined(row.dominated_by)});
  }
  return fmt::format("\nSpeed and divergence from the dense model, nats over {} tokens that it drew\n",
                     result.quality_tokens) +
         table.text();
}

}  // namespace

std::string bench_text(const BenchResult& result) {
  std::string text = limits_text(result) + models_text(result) + cells_text(result, true) + cells_text(result, false) +
                     caches_text(result) + sweep_text(result) + quality_text(result);
  text += "\n";
  if (result.has_random()) text += random_notice() + "\n";
  for (const std::string& note : result.notes) text += "Note: " + note + ".\n";
  return text;
}

}  // namespace ockham
