// The page: limits, roofline, tables, sweep, speed beside divergence, and how all of it was measured.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "ockham/bench/bench_result.h"
#include "ockham/bench/chart.h"
#include "ockham/report/format.h"
#include "ockham/report/html_page.h"

namespace ockham {
namespace {

std::string colour(size_t index) {
  constexpr std::array kColours = {1, 2, 3, 4, 6, 7, 5};
  return fmt::format("var(--s{})", kColours[index % kColours.size()]);
}

std::string rounded(double value) {
  return fmt::format("{:.{}f}", value, value < 10 ? 2 : value < 100 ? 1 : 0);
}
std::string range(const Spread& spread) {
  return rounded(spread.low) + "–" + rounded(spread.high);
}

std::string limit_cards(const BenchResult& result) {
  const auto card = [&](const std::string& question, const std::string& unit, const Spread& spread) {
    if (spread.rounds == 0) return std::string();
    return fmt::format(
        "<div class=\"card\"><div class=\"q\">{}</div><div class=\"a\">{} {}</div><div class=\"d\">{}–{} over {} "
        "measurements</div></div>",
        question, rounded(spread.median / 1e9), unit, rounded(spread.low / 1e9), rounded(spread.high / 1e9),
        spread.rounds);
  };
  const BenchLimits& limits = result.limits;
  return "<div class=\"answers\">" + card("Memory is read at", "GB/s", limits.read_bytes_per_s) +
         card("Multiply-adds in float32", "Gop/s", limits.f32_per_s) +
         card("Tiles of bfloat16", "Gop/s", limits.bf16_per_s) + card("Products of bytes", "Gop/s", limits.int8_per_s) +
         card("Bytes without tiles", "Gop/s", limits.int8_vectors_per_s) +
         card("Bfloat16 without tiles", "Gop/s", limits.bf16_vectors_per_s) + "</div>";
}

struct Roof {
  std::string name;
  double per_s;
};
std::vector<Roof> roofs(const BenchLimits& limits) {
  std::vector<Roof> result;
  for (const Roof& roof : {Roof{"int8", limits.int8_per_s.median}, Roof{"bf16", limits.bf16_per_s.median},
                           Roof{"float32", limits.f32_per_s.median}})
    if (roof.per_s > 0) result.push_back(roof);
  return result;
}

std::string cell_tip(const BenchedModel& model, const BenchCell& cell) {
  return fmt::format(
             "{}\n{}, {} tokens {}, {}\n{} tokens/s ({})\n{} operations per byte\n{} GB/s, {} Gop/s\n{} of the {}",
             model.name, cell.is_decode ? "decode" : "prefill", cell.prompt, cell.is_decode ? "before" : "read",
             counted(cell.batch, "sequence"), rounded(cell.tokens_per_s.median), range(cell.tokens_per_s),
             rounded(cell.intensity()), rounded(cell.bytes_per_s() / 1e9), rounded(cell.operations_per_s() / 1e9),
             percent(cell.share.median), cell.is_decode ? "read bandwidth" : model.multiply_unit + " rate") +
         (cell.vector_share.rounds == 0 ? ""
                                        : fmt::format(" ({} of it without tiles)", percent(cell.vector_share.median)));
}

std::string roofline(const BenchResult& result) {
  if (result.models.empty()) return "";
  double left = 1e300, right = 0, low = 1e300;
  for (const BenchedModel& model : result.models) {
    for (const BenchCell& cell : model.cells) {
      if (cell.ms.rounds == 0) continue;
      left = std::min(left, cell.intensity());
      right = std::max(right, cell.intensity());
      low = std::min(low, cell.operations_per_s() / 1e9);
    }
  }
  const std::vector<Roof> tops = roofs(result.limits);
  const double bandwidth = result.limits.read_bytes_per_s.median;
  if (right == 0 || tops.empty() || bandwidth <= 0) return "";
  double top = 0;
  for (const Roof& roof : tops) top = std::max(top, roof.per_s / 1e9);
  left /= 2;
  right = std::max(right * 2, 2 * top * 1e9 / bandwidth);
  Plot plot("Roofline: operations per byte read against operations per second; the numbers are in the tables",
            log_axis("operations per byte of weights, keys and values", left, right),
            log_axis("Gop/s", std::min(low, left * bandwidth / 1e9) / 1.6, top * 1.9));
  plot.line({{left, left * bandwidth / 1e9}, {top * 1e9 / bandwidth, top}}, "var(--muted)", false);
  for (const Roof& roof : tops) {
    plot.line({{roof.per_s / bandwidth, roof.per_s / 1e9}, {right, roof.per_s / 1e9}}, "var(--muted)", true);
    plot.text(roof.per_s / bandwidth, roof.per_s / 1e9,
              fmt::format("{} {} Gop/s", roof.name, rounded(roof.per_s / 1e9)));
  }
  std::string legend;
  for (size_t m = 0; m < result.models.size(); ++m) {
    const BenchedModel& model = result.models[m];
    legend += fmt::format("<span><b style=\"color:{}\">●</b> {}</span>", colour(m), escape_html(model.name));
    for (const BenchCell& cell : model.cells)
      if (cell.ms.rounds > 0)
        plot.point(cell.intensity(), cell.operations_per_s() / 1e9, colour(m),
                   cell.is_decode ? Plot::Mark::kCircle : Plot::Mark::kSquare, cell_tip(model, cell));
  }
  return page_figure(
      "Gop/s against operations per byte", plot.svg(),
      "<div class=\"legend\">" + legend + "<span>● decode</span><span>■ prefill</span></div>" +
          fmt::format("<p class=\"d\">Slope: {} GB/s. Dashed: what the instructions multiply with operands in "
                      "registers. A point on the slope waits for memory, one on a dashed line for "
                      "arithmetic.</p>",
                      rounded(bandwidth / 1e9)));
}

// Decoding by batch, a line for each model and prompt length.
std::string batch_chart(const BenchResult& result) {
  double most = 0;
  int64_t widest = 1;
  for (const BenchedModel& model : result.models)
    for (const BenchCell& cell : model.cells)
      if (cell.is_decode && cell.ms.rounds > 0) {
        most = std::max(most, cell.tokens_per_s.high);
        widest = std::max(widest, cell.batch);
      }
  if (widest == 1) return "";
  Axis x = log_axis("sequences at once", 0.9, 1.12 * static_cast<double>(widest));
  x.ticks.clear();
  for (int64_t batch = 1; batch <= widest; batch *= 2)
    x.ticks.emplace_back(static_cast<double>(batch), fmt::format("{}", batch));
  Plot plot("Tokens per second of all sequences against their number", x, linear_axis("tokens/s", 0, 1.05 * most));
  for (size_t m = 0; m < result.models.size(); ++m) {
    const BenchedModel& model = result.models[m];
    std::set<int64_t> prompts;
    for (const BenchCell& cell : model.cells)
      if (cell.is_decode && cell.ms.rounds > 0) prompts.insert(cell.prompt);
    for (const int64_t prompt : prompts) {
      std::vector<std::pair<double, double>> points;
      for (const BenchCell& cell : model.cells)
        if (cell.is_decode && cell.ms.rounds > 0 && cell.prompt == prompt)
          points.emplace_back(static_cast<double>(cell.batch), cell.tokens_per_s.median);
      std::sort(points.begin(), points.end());
      plot.line(points, colour(m), prompt != *prompts.begin());
      for (const BenchCell& cell : model.cells)
        if (cell.is_decode && cell.ms.rounds > 0 && cell.prompt == prompt)
          plot.point(static_cast<double>(cell.batch), cell.tokens_per_s.median, colour(m),
                     prompt == *prompts.begin() ? Plot::Mark::kCircle : Plot::Mark::kRing, cell_tip(model, cell));
    }
  }
  return page_figure("Decoding: tokens/s of all sequences by batch", plot.svg(),
                     "<div class=\"legend\"><span>● shortest prompt</span><span>○ longer ones</span></div>");
}

std::string cell_table(const BenchResult& result, bool is_decode) {
  HtmlTable table(is_decode ? "Decode" : "Prefill",
                  {is_decode ? "Decode" : "Prefill", is_decode ? "Tokens before" : "Prompt", "Batch", "Tokens/s",
                   is_decode ? "ms per step" : "ms", is_decode ? "GB/s" : "Gop/s", "Share",
                   is_decode ? "Tokens/s by bytes alone" : "Rate"});
  bool has_rows = false;
  for (const BenchedModel& model : result.models) {
    for (const BenchCell& cell : model.cells) {
      if (cell.is_decode != is_decode) continue;
      has_rows = true;
      table.row(model.name);
      table.number(fmt::format("{}", cell.prompt));
      table.number(fmt::format("{}", cell.batch));
      if (!cell.left_out.empty()) {
        table.rest("left out: " + cell.left_out, 5);
      } else {
        table.number(rounded(cell.tokens_per_s.median), range(cell.tokens_per_s));
        table.number(rounded(cell.ms.median), range(cell.ms));
        table.number(rounded((is_decode ? cell.bytes_per_s() : cell.operations_per_s()) / 1e9));
        table.number(percent(cell.share.median), percent(cell.share.low) + "–" + percent(cell.share.high));
        table.number(is_decode ? rounded(cell.bound()) : model.multiply_unit);
      }
      table.end_row();
    }
  }
  return has_rows ? table.html() : "";
}

std::string cache_table(const BenchResult& result) {
  HtmlTable table("Keys and values", {"Model, policy", "Tokens", "Bytes per token", "Largest batch"});
  bool has_rows = false;
  for (const BenchedModel& model : result.models) {
    for (const CacheRow& row : model.cache_rows) {
      has_rows = true;
      table.row(model.name);
      table.number(fmt::format("{}", row.tokens));
      table.number(rounded(row.bytes_per_token));
      table.number(fmt::format("{}", row.largest_batch));
      table.end_row();
    }
  }
  return has_rows ? table.html() : "";
}

std::string model_table(const BenchResult& result) {
  if (result.models.empty()) return "";
  HtmlTable table("Models", {"Model", "Weights", "Packed", "Bits per weight", "On disk", "Bits per parameter", "Zeros",
                             "Loaded in", "First token after", "Peak memory", "Keys, values per token"});
  for (const BenchedModel& model : result.models) {
    table.row(model.name);
    table.number(fmt::format("{:.3f}e9", model.weights / 1e9), model.source);
    table.number(bytes_text(model.packed_bytes));
    table.number(rounded(model.bits_per_weight));
    table.number(model.disk_bytes > 0 ? bytes_text(static_cast<double>(model.disk_bytes)) : "–");
    table.number(model.disk_bytes > 0 ? rounded(model.disk_bits_per_weight) : "–");
    table.number(model.sparsity > 0 ? percent(model.sparsity) : "–");
    table.number(seconds_text(model.load_s));
    table.number(seconds_text(model.first_token_s), fmt::format("prompt of {}", model.first_token_prompt));
    table.number(bytes_text(static_cast<double>(model.peak_bytes)));
    table.number(bytes_text(model.cache_bytes_per_token));
    table.end_row();
  }
  return table.html();
}

std::string layouts_list(const BenchResult& result) {
  std::string html = "<ul class=\"plain\">";
  for (const BenchedModel& model : result.models) {
    std::vector<std::string> forms;
    double sum = 0;
    for (const auto& [name, weights] : model.layouts) sum += weights;
    for (const auto& [name, weights] : model.layouts) forms.push_back(percent(weights / sum) + " as " + name);
    html += fmt::format("<li><b>{}</b> ({}): {}</li>", escape_html(model.name), escape_html(model.layout),
                        escape_html(joined(forms)));
  }
  return result.models.empty() ? "" : html + "</ul>";
}

std::string sweep_tip(const SweepRow& row, const Spread& speedup) {
  return fmt::format(
      "{}\n{} as fast as {} ({})\n{} tokens/s, share of bandwidth {}\n{} bits per weight, dense {}\n"
      "{} of the weights kept dense",
      row.format, rounded(speedup.median) + "×", row.dense, range(speedup), rounded(row.tokens_per_s.median),
      percent(row.share.median), rounded(row.bits_per_weight), rounded(row.dense_bits_per_weight),
      percent(row.kept_dense));
}

std::string sweep_chart(const BenchResult& result, bool is_layer) {
  std::vector<std::string> types;
  double most = 1.2, least = 0.9, first = 1, last = 0;
  for (const SweepRow& row : result.sweep) {
    if (!row.left_out.empty()) continue;
    if (std::find(types.begin(), types.end(), row.dense) == types.end()) types.push_back(row.dense);
    const Spread& speedup = is_layer ? row.layer_speedup : row.speedup;
    most = std::max(most, speedup.median);
    least = std::min(least, speedup.median);
    first = std::min(first, row.sparsity);
    last = std::max(last, row.sparsity);
  }
  if (types.empty()) return "";
  Axis x = linear_axis("zeros, %", 100 * first - 4, 100 * last + 4);
  Plot plot("Speed-up against the share of zeros", x, linear_axis("speed-up", std::max(0.0, least - 0.1), most + 0.2));
  plot.line({{x.low, 1}, {x.high, 1}}, "var(--strong)", true);
  std::string legend;
  for (size_t t = 0; t < types.size(); ++t) {
    legend += fmt::format("<span><b style=\"color:{}\">●</b> {}</span>", colour(t), escape_html(types[t]));
    std::vector<std::pair<double, double>> points;
    for (const SweepRow& row : result.sweep) {
      if (!row.left_out.empty() || row.dense != types[t]) continue;
      const Spread& speedup = is_layer ? row.layer_speedup : row.speedup;
      const bool is_group = row.format.starts_with("gqsa");
      if (!is_group) points.emplace_back(100 * row.sparsity, speedup.median);
      plot.point(100 * row.sparsity, speedup.median, colour(t),
                 is_group                ? Plot::Mark::kSquare
                 : row.kept_dense > 0.99 ? Plot::Mark::kRing
                                         : Plot::Mark::kCircle,
                 sweep_tip(row, speedup));
    }
    plot.line(points, colour(t), false);
  }
  return page_figure(is_layer ? "The products of one block" : "A whole step, head and attention included", plot.svg(),
                     "<div class=\"legend\">" + legend +
                         "<span>○ kept dense: zeros would not pay</span><span>■ GQSA against int4</span></div>");
}

std::string sweep_table(const BenchResult& result) {
  HtmlTable table("Speed-up by zeros", {"Weights", "Against", "Bits per weight", "Tokens/s", "Step", "Layer, ms",
                                        "Layer", "Share of bandwidth", "Kept dense"});
  for (const SweepRow& row : result.sweep) {
    table.row(row.format);
    table.number(row.dense);
    if (!row.left_out.empty()) {
      table.rest("left out: " + row.left_out, 7);
    } else {
      table.number(rounded(row.bits_per_weight), "dense " + rounded(row.dense_bits_per_weight));
      table.number(rounded(row.tokens_per_s.median), "dense " + rounded(row.dense_tokens_per_s.median));
      table.number(rounded(row.speedup.median) + "×", range(row.speedup));
      table.number(rounded(row.layer_ms.median), "dense " + rounded(row.dense_layer_ms.median));
      table.number(rounded(row.layer_speedup.median) + "×", range(row.layer_speedup));
      table.number(percent(row.share.median));
      table.number(percent(row.kept_dense));
    }
    table.end_row();
  }
  return table.html();
}

std::string sweep_body(const BenchResult& result) {
  if (result.sweep.empty()) return "";
  return "<div class=\"charts\" style=\"grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr))\">" +
         sweep_chart(result, false) + sweep_chart(result, true) + "</div>" + sweep_table(result);
}

std::string quality_chart(const BenchResult& result) {
  double low = 1e300, high = 0, fastest = 0;
  for (const QualityRow& row : result.quality) {
    fastest = std::max(fastest, row.tokens_per_s);
    if (row.is_dense || row.divergence <= 0) continue;
    low = std::min(low, row.divergence);
    high = std::max(high, row.divergence);
  }
  if (high == 0) return "";
  Plot plot("Tokens per second against divergence from the dense model",
            linear_axis("tokens/s, one sequence", 0, 1.1 * fastest), log_axis("KL", low / 1.8, high * 1.8));
  for (const QualityRow& row : result.quality) {
    if (row.is_dense || row.divergence <= 0) continue;
    const bool is_sparse = row.sparsity > 0.01;
    plot.point(row.tokens_per_s, row.divergence, is_sparse ? "var(--s2)" : "var(--s1)",
               is_sparse ? Plot::Mark::kSquare : Plot::Mark::kCircle,
               fmt::format("{}\n{} packed, {} zeros\n{} tokens/s\nKL {:.4g} ± {:.2g} nats per token", row.name,
                           bytes_text(row.bytes), percent(row.sparsity), rounded(row.tokens_per_s), row.divergence,
                           row.divergence_error));
    plot.label(row.recipe.empty() ? row.name : row.recipe);
  }
  return page_figure("Nats per token (down is better) against tokens/s", plot.svg(),
                     "<div class=\"legend\"><span><b style=\"color:var(--s1)\">●</b> without zeros</span><span><b "
                     "style=\"color:var(--s2)\">■</b> with zeros</span></div>");
}

// For each version with zeros the one without that is nearest to it in bytes and not larger.
const QualityRow* equal_in_bytes(const BenchResult& result, const QualityRow& sparse) {
  const QualityRow* best = nullptr;
  for (const QualityRow& row : result.quality)
    if (!row.is_dense && row.sparsity <= 0.01 && row.bytes <= 1.01 * sparse.bytes &&
        (best == nullptr || row.bytes > best->bytes))
      best = &row;
  return best;
}

std::string quality_body(const BenchResult& result) {
  if (result.quality.empty()) return "";
  HtmlTable table("Speed beside divergence",
                  {"Version", "Packed", "On disk", "Zeros", "Tokens/s", "KL per token", "At equal bytes without zeros",
                   "Its tokens/s", "Its KL", "Dominated by"});
  for (const QualityRow& row : result.quality) {
    const QualityRow* equal = row.sparsity > 0.01 && !row.is_dense ? equal_in_bytes(result, row) : nullptr;
    table.row(row.is_dense ? row.name + " (dense)" : row.name);
    table.number(bytes_text(row.bytes));
    table.number(bytes_text(static_cast<double>(row.disk_bytes)));
    table.number(percent(row.sparsity));
    table.number(rounded(row.tokens_per_s));
    table.number(fmt::format("{:.4f}", row.divergence), fmt::format("± {:.4f}", row.divergence_error));
    table.number(equal == nullptr ? "–" : equal->name, equal == nullptr ? "" : bytes_text(equal->bytes));
    table.number(equal == nullptr ? "–" : rounded(equal->tokens_per_s));
    table.number(equal == nullptr ? "–" : fmt::format("{:.4f}", equal->divergence));
    table.number(row.dominated_by.empty() ? "–" : joined(row.dominated_by));
    table.end_row();
  }
  std::vector<std::string> dominated;
  for (const QualityRow& row : result.quality)
    if (!row.dominated_by.empty()) dominated.push_back(row.name);
  const std::string verdict =
      dominated.empty()
          ? "No version with zeros is dominated by one without."
          : "Dominated by fewer bits without zeros (no more bytes, no slower, less divergence): " + joined(dominated) +
                ".";
  const std::string chart = quality_chart(result);
  return "<div class=\"card hero\"><div class=\"a\" style=\"font-size:1.15rem\">" + escape_html(verdict) +
         "</div></div>" + (chart.empty() ? "" : "<div class=\"charts single\">" + chart + "</div>") + table.html();
}

// The shape that all models have, or the one model, or their number.
std::string title_of(const BenchResult& result) {
  if (result.models.empty()) return result.sweep_shape;
  const std::string& name = result.models[0].name;
  if (result.models.size() == 1) return name;
  const std::string shape = name.substr(0, name.find(' ') + 1);
  const bool is_one_shape =
      !shape.empty() && std::all_of(result.models.begin(), result.models.end(), [&](const BenchedModel& model) {
        return model.is_random && model.name.starts_with(shape);
      });
  return is_one_shape ? shape.substr(0, shape.size() - 1)
                      : counted(static_cast<long long>(result.models.size()), "model");
}

std::string header(const BenchResult& result) {
  std::string html = "<header class=\"head\">" + page_brand() + "<h1>How fast " + escape_html(title_of(result)) +
                     (title_of(result).ends_with(" models") ? " run here" : " runs here") + "</h1><ul class=\"facts\">";
  for (const std::string& fact :
       {result.machine, result.kernels + " kernels", counted(result.threads, "thread"), result.started.substr(0, 10)})
    html += "<li>" + escape_html(fact) + "</li>";
  html += "</ul>";
  if (result.has_random()) html += "<p class=\"notice\">" + escape_html(random_notice()) + "</p>";
  return html + "</header>";
}

std::string method_list(const BenchResult& result) {
  std::vector<std::string> lines = {
      fmt::format(
          "Medians of {} rounds, in which models and settings take turns; the small figures below are the least "
          "and the greatest. Shares compare with what was measured right before, in the same round.",
          result.rounds),
      "Warm-up: " + result.warm_up + ".",
      fmt::format("Decode: {} steps in each round, one token for each sequence, logits and the most likely token "
                  "included. The tokens before them are keys and values of random numbers, different for every "
                  "sequence; they are stored as {}.",
                  result.tokens, result.cache_type),
      fmt::format("Prefill: random tokens in passes of at most {}, until the logits of the last one.",
                  result.pass_tokens),
      std::string("Bytes of a step: packed weights that it multiplies with, keys and values. Operations: two for each "
                  "weight and token, and attention; zeros are not left out of them, so that a share of the multiply "
                  "rate can be compared between formats. Inputs of integer weights are rounded ") +
          (result.is_fast ? "to 8 bits (--fast)."
                          : "in two parts, which takes two products: half of the int8 rate is the most they can "
                            "reach."),
      fmt::format(
          "Read bandwidth: all threads read {} in order; the last cache is said to hold {}. Multiply rates: all "
          "threads, operands in registers.",
          bytes_text(static_cast<double>(result.limits.read_bytes)),
          bytes_text(static_cast<double>(result.limits.last_cache_bytes))),
      std::string(
          "Time to the first token: from opening the files (or making weights up), through packing, to the first "
          "choice behind the shortest prompt. Whether files were in the system's cache is not controlled. Peak "
          "memory: what loading and this first token added at most.")};
  if (!result.quality.empty())
    lines.push_back(fmt::format(
        "Divergence: KL(dense || version) in nats, mean over {} tokens that the dense model drew itself at temperature "
        "1, with the standard error over its texts.",
        result.quality_tokens));
  lines.insert(lines.end(), result.notes.begin(), result.notes.end());
  std::string html = "<ul class=\"plain\">";
  for (const std::string& line : lines) html += "<li>" + escape_html(line) + "</li>";
  return html + fmt::format("<li>Peak memory of the whole process: {}. Ockham {}, {}.</li></ul>",
                            bytes_text(static_cast<double>(result.peak_bytes)), escape_html(result.version),
                            escape_html(result.started));
}

}  // namespace

std::string bench_page(const BenchResult& result) {
  std::string html = page_begin(title_of(result) + ": speed") + header(result) + "<main>";
  html += page_section("limits", "What the machine can do", "Measured in the same run, by the same threads.",
                       limit_cards(result));
  const std::string roof = roofline(result), batches = batch_chart(result);
  if (!roof.empty() || !batches.empty())
    html += page_section("roofline", "Roofline", "How near each measurement is to what memory and arithmetic allow.",
                         fmt::format("<div class=\"charts{}\">{}{}</div>",
                                     batches.empty() || roof.empty() ? " single" : "", roof, batches));
  const std::string decode = cell_table(result, true), prefill = cell_table(result, false);
  html += page_section("decode", "Decode",
                       "Share: of the read bandwidth; by bytes alone: what the whole of it would allow.", decode);
  html += page_section("prefill", "Prefill", "Share: of the rate of the named unit.", prefill);
  html += page_section("cache", "Keys and values",
                       "What a sequence keeps, and how many such sequences " +
                           escape_html(bytes_text(static_cast<double>(result.kv_bytes))) + " hold.",
                       cache_table(result));
  html += page_section("sweep", "What zeros buy",
                       "One sequence of " + escape_html(result.sweep_shape) +
                           ", each type against itself without zeros, in turns with it.",
                       sweep_body(result));
  html += page_section(
      "study", "Speed beside what was lost",
      "Compressed versions of one model. Dominated: a version without zeros takes no more bytes, is no slower "
      "and diverges less.",
      quality_body(result));
  html += page_section("models", "Models", "Packed: as the kernels keep and read them.",
                       result.models.empty() ? "" : model_table(result) + layouts_list(result));
  html += page_section("method", "How it was measured", "", method_list(result));
  return html + page_end();
}

}  // namespace ockham
