// Speed beside divergence, for compressed versions of a real model.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "ockham/bench/bench.h"
#include "ockham/bench/rounds.h"
#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/io/file.h"
#include "ockham/runtime/sampler.h"

namespace ockham {
namespace {
namespace fs = std::filesystem;

using Texts = std::vector<std::vector<int32_t>>;

std::unique_ptr<Engine> open_engine(const BenchSource& source, const BenchSettings& settings,
                                    const QualitySettings& quality) {
  const auto files = std::make_shared<const ModelFiles>(source.path);
  const ModelConfig& config = files->config();
  EngineOptions options;
  options.threads = settings.threads;
  options.precision = settings.precision;
  options.longest_context = quality.tokens + 1;
  options.cache_bytes = quality.sequences * (PagedCache::pages_of(quality.tokens + 1) + 1) *
                        PagedCache::page_bytes({config.blocks, config.kv_heads, config.head_dim, options.cache_type});
  return std::make_unique<Engine>(read_engine_model(files), options);
}

// Texts of one random token and `tokens` drawn behind it.
Texts draw_texts(Engine& engine, const QualitySettings& quality) {
  const int64_t vocabulary = engine.config().vocabulary;
  Rng rng(11);
  Sampler sampler(vocabulary);
  SamplerSettings settings;
  settings.temperature = 1;
  Texts texts;
  for (int64_t s = 0; s < quality.sequences; ++s) {
    report_progress({"draw a text", s, quality.sequences, "sequences"});
    const int32_t sequence = engine.cache().open();
    std::vector<int32_t>& text = texts.emplace_back();
    text.push_back(static_cast<int32_t>(rng.below(static_cast<uint64_t>(vocabulary))));
    for (int64_t i = 0; i < quality.tokens; ++i) {
      check_interrupt();
      const TokenSpan span{sequence, {&text.back(), 1}, 0, true};
      engine.forward({&span, 1});
      const float* hidden = engine.hidden(0);
      text.push_back(sampler.sample(engine.logits({&hidden, 1}, true), settings, text, rng, false).id);
    }
    engine.cache().close(sequence);
  }
  return texts;
}

// Log-probabilities of every next token, in place of the logits [vocabulary].
void to_log_probabilities(float* logits, int64_t vocabulary) {
  const double most = *std::max_element(logits, logits + vocabulary);
  double sum = 0;
  for (int64_t i = 0; i < vocabulary; ++i) sum += std::exp(logits[i] - most);
  const auto shift = static_cast<float>(most + std::log(sum));
  for (int64_t i = 0; i < vocabulary; ++i) logits[i] -= shift;
}

// body(text, position, log-probabilities [vocabulary]) for every position but the last of every text; the body may be
// called from several threads.
template <typename Body>
void for_predictions(Engine& engine, const Texts& texts, const Body& body) {
  const int64_t vocabulary = engine.config().vocabulary;
  for (size_t t = 0; t < texts.size(); ++t) {
    check_interrupt();
    const int32_t sequence = engine.cache().open();
    const auto length = static_cast<int64_t>(texts[t].size()) - 1;
    for (int64_t done = 0; done < length;) {
      const int64_t rows = std::min({length - done, engine.pass_tokens(), engine.logit_rows()});
      const TokenSpan span{sequence, {texts[t].data() + done, static_cast<size_t>(rows)}, length, false};
      engine.forward({&span, 1});
      std::vector<const float*> hidden;
      for (int64_t row = 0; row < rows; ++row) hidden.push_back(engine.hidden(row));
      float* logits = engine.logits(hidden, false);
      engine.threads().run(rows, [&](int64_t row, int) {
        to_log_probabilities(logits + row * vocabulary, vocabulary);
        body(t, done + row, logits + row * vocabulary);
      });
      done += rows;
    }
    engine.cache().close(sequence);
  }
}

struct Divergence {
  double mean = 0, error = 0;
};

// Means over the texts, and the standard error of their mean.
Divergence divergence_of(const std::vector<double>& sums, int64_t tokens) {
  const auto count = static_cast<double>(sums.size());
  Divergence result;
  for (const double sum : sums) result.mean += sum / static_cast<double>(tokens) / count;
  double squares = 0;
  for (const double sum : sums) squares += std::pow(sum / static_cast<double>(tokens) - result.mean, 2);
  if (count > 1) result.error = std::sqrt(squares / (count - 1) / count);
  return result;
}

// KL(dense || version) summed over the tokens of each text.
std::vector<double> text_divergences(Engine& engine, const Texts& texts, const std::vector<float>& dense) {
  const int64_t vocabulary = engine.config().vocabulary, length = static_cast<int64_t>(texts[0].size()) - 1;
  std::vector<double> of_token(texts.size() * static_cast<size_t>(length));
  for_predictions(engine, texts, [&](size_t text, int64_t position, const float* q) {
    const size_t place = text * static_cast<size_t>(length) + static_cast<size_t>(position);
    const float* p = dense.data() + place * static_cast<size_t>(vocabulary);
    double sum = 0;
    for (int64_t i = 0; i < vocabulary; ++i) sum += std::exp(double{p[i]}) * (double{p[i]} - double{q[i]});
    of_token[place] = sum;
  });
  std::vector<double> sums(texts.size());
  for (size_t i = 0; i < of_token.size(); ++i) sums[i / static_cast<size_t>(length)] += of_token[i];
  return sums;
}

// Whether weights were removed. The zeros of compression.json do not tell: rounding makes some, too.
bool removes_weights(const Json& report) {
  for (const Json& step : report.value("steps", Json::array())) {
    const Json params = step.is_object() ? step.value("params", Json::object()) : Json::object();
    if (params.is_object() && (params.contains("sparsity") || params.contains("pattern"))) return true;
  }
  for (const Json& tensor : report.value("tensors", Json::object())) {
    const Json format = tensor.is_object() ? tensor.value("format", Json()) : Json();
    if (format == Json("bitmap-sparse") || format == Json("group-sparse")) return true;
  }
  return false;
}

BenchSource version_in(const fs::path& folder, const Json& report) {
  BenchSource source;
  source.path = folder.string();
  source.name = folder.filename().string();
  const Json recipe = report.value("recipe", Json()), totals = report.value("totals", Json());
  if (recipe.is_object() && recipe.contains("name") && recipe["name"].is_string()) source.recipe = recipe["name"];
  if (removes_weights(report) && totals.is_object() && totals.contains("sparsity") && totals["sparsity"].is_number())
    source.sparsity = totals["sparsity"];
  return source;
}

}  // namespace

std::vector<BenchSource> study_versions(const std::string& directory, const std::string& dense_sha256) {
  const fs::path models =
      fs::is_directory(fs::path(directory) / "models") ? fs::path(directory) / "models" : fs::path(directory);
  if (!fs::is_directory(models))
    throw_input("{}: no such directory; expected one that `ockham study` wrote", directory);
  std::vector<fs::path> folders;
  for (const auto& entry : fs::directory_iterator(models))
    if (fs::is_regular_file(entry.path() / "compression.json")) folders.push_back(entry.path());
  std::sort(folders.begin(), folders.end());
  std::vector<BenchSource> found;
  std::string other;
  for (const fs::path& folder : folders) {
    const Json report = read_json_file((folder / "compression.json").string());
    if (report.is_object() && report.value("source_sha256", Json()) == Json(dense_sha256)) {
      found.push_back(version_in(folder, report));
    } else {
      other = folder.filename().string();
    }
  }
  if (!found.empty()) return found;
  if (!other.empty())
    throw_input("{}: '{}' and the others there were not made of MODEL; name the dense model that the study compressed",
                models.string(), other);
  throw_input("{}: no compressed model there (a folder with compression.json); run the study with --keep-models",
              models.string());
}

void find_dominated(std::vector<QualityRow>& rows) {
  constexpr double kZeros = 0.01;  // beyond this share of zeros a version counts as sparse
  for (QualityRow& row : rows) {
    row.dominated_by.clear();
    if (row.is_dense || row.sparsity <= kZeros) continue;
    for (const QualityRow& other : rows)
      if (!other.is_dense && other.sparsity <= kZeros && other.bytes <= row.bytes &&
          other.tokens_per_s >= row.tokens_per_s && other.divergence < row.divergence)
        row.dominated_by.push_back(other.name);
  }
}

BenchResult run_quality(const BenchSource& dense, const std::vector<BenchSource>& versions,
                        const BenchSettings& settings, const QualitySettings& quality) {
  OCKHAM_CHECK(!dense.random);
  std::vector<BenchSource> sources = {dense};
  sources.insert(sources.end(), versions.begin(), versions.end());
  BenchResult result = run_bench(sources, settings);
  QualitySettings used = quality;
  std::vector<float> predictions;
  Texts texts;
  {
    const std::unique_ptr<Engine> engine = open_engine(dense, settings, quality);
    used.tokens = std::min(quality.tokens, engine->config().context_length - 1);
    const auto vocabulary = static_cast<size_t>(engine->config().vocabulary);
    texts = draw_texts(*engine, used);
    predictions.resize(texts.size() * static_cast<size_t>(used.tokens) * vocabulary);
    for_predictions(*engine, texts, [&](size_t text, int64_t position, const float* p) {
      const size_t place = text * static_cast<size_t>(used.tokens) + static_cast<size_t>(position);
      std::copy_n(p, vocabulary, predictions.data() + place * vocabulary);
    });
  }
  for (size_t i = 0; i < sources.size(); ++i) {
    report_progress({"divergence", static_cast<int64_t>(i), static_cast<int64_t>(sources.size()), "models"});
    const std::unique_ptr<Engine> engine = open_engine(sources[i], settings, used);
    if (static_cast<size_t>(engine->config().vocabulary) * texts.size() * static_cast<size_t>(used.tokens) !=
        predictions.size())
      throw_input(
          "{}: its vocabulary has {} tokens, another number than the dense model's; name the model that it "
          "was made of",
          sources[i].path, engine->config().vocabulary);
    const Divergence divergence = divergence_of(text_divergences(*engine, texts, predictions), used.tokens);
    const BenchedModel& model = result.models[i];
    QualityRow row;
    row.name = model.name;
    row.recipe = sources[i].recipe;
    row.is_dense = i == 0;
    row.bytes = model.packed_bytes;
    row.disk_bytes = model.disk_bytes;
    row.sparsity = sources[i].sparsity;
    row.divergence = divergence.mean;
    row.divergence_error = divergence.error;
    for (const BenchCell& cell : model.cells) {
      if (!cell.is_decode || !cell.left_out.empty()) continue;
      row.tokens_per_s = cell.tokens_per_s.median;
      break;
    }
    result.quality.push_back(std::move(row));
  }
  result.quality_tokens = used.sequences * used.tokens;
  find_dominated(result.quality);
  return result;
}

}  // namespace ockham
