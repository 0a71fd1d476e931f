// Features, the ridge regression by conjugate gradients, and the judge's file.
#include "ockham/eval/judges/ngram_judge.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "ockham/core/error.h"
#include "ockham/core/rng.h"
#include "ockham/eval/scorers/text.h"
#include "ockham/io/file.h"
#include "ockham/io/json.h"

namespace ockham {
namespace {

constexpr int64_t kVersion = 1;
constexpr double kRidge = 1, kClip = 0.01;
constexpr int kLargestSteps = 400;
constexpr double kTolerance = 1e-7;

std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> words;
  std::string word;
  for (const char c : to_lower(text) + " ") {
    if ((c >= 'a' && c <= 'z') || c == '\'') {
      word += c;
    } else if (!word.empty()) {
      words.push_back(std::move(word));
      word.clear();
    }
  }
  return words;
}

// How often each feature occurs. Kinds are told apart by a first character: w word, p pair, c characters.
std::map<std::string, double> count_features(const std::string& text, bool has_characters) {
  std::map<std::string, double> counts;
  const std::vector<std::string> words = words_of(text);
  for (size_t i = 0; i < words.size(); ++i) {
    counts["w" + words[i]] += 1;
    if (!has_characters) continue;
    if (i + 1 < words.size()) counts["p" + words[i] + " " + words[i + 1]] += 1;
    const std::string padded = " " + words[i] + " ";
    for (size_t n = 2; n <= 4; ++n)
      for (size_t begin = 0; begin + n <= padded.size(); ++begin) counts["c" + padded.substr(begin, n)] += 1;
  }
  return counts;
}

struct Entry {
  int32_t feature;
  float value;
};
using Row = std::vector<Entry>;

// tf-idf of the known features, of length 1.
template <typename Find>
Row weigh(const std::map<std::string, double>& counts, const std::vector<float>& idf, Find&& find) {
  Row row;
  double squares = 0;
  for (const auto& [name, count] : counts) {
    const int32_t feature = find(name);
    if (feature < 0) continue;
    const double value = (1 + std::log(count)) * static_cast<double>(idf[static_cast<size_t>(feature)]);
    row.push_back({feature, static_cast<float>(value)});
    squares += value * value;
  }
  const float scale = squares > 0 ? static_cast<float>(1 / std::sqrt(squares)) : 0;
  for (Entry& entry : row) entry.value *= scale;
  return row;
}

// y = X x and y = X^T x.
std::vector<double> times(const std::vector<Row>& rows, const std::vector<double>& x) {
  std::vector<double> y(rows.size());
  for (size_t r = 0; r < rows.size(); ++r)
    for (const Entry& entry : rows[r]) y[r] += static_cast<double>(entry.value) * x[static_cast<size_t>(entry.feature)];
  return y;
}
std::vector<double> transposed_times(const std::vector<Row>& rows, const std::vector<double>& x, size_t features) {
  std::vector<double> y(features);
  for (size_t r = 0; r < rows.size(); ++r)
    for (const Entry& entry : rows[r]) y[static_cast<size_t>(entry.feature)] += static_cast<double>(entry.value) * x[r];
  return y;
}
double dot(const std::vector<double>& a, const std::vector<double>& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

// Centred ridge regression, (Xc^T Xc + I) w = Xc^T yc, in the dual: alpha solves (Xc Xc^T + I) alpha = yc, which has
// one unknown per text; w = Xc^T alpha. Conjugate gradients.
struct Ridge {
  const std::vector<Row>& rows;
  size_t features;
  std::vector<double> mean;  // of each feature

  std::vector<double> centred_transposed(const std::vector<double>& x) const {
    std::vector<double> y = transposed_times(rows, x, features);
    const double sum = std::accumulate(x.begin(), x.end(), 0.0);
    for (size_t f = 0; f < features; ++f) y[f] -= mean[f] * sum;
    return y;
  }
  std::vector<double> apply(const std::vector<double>& x) const {
    const std::vector<double> w = centred_transposed(x);
    std::vector<double> y = times(rows, w);
    const double offset = dot(mean, w);
    for (size_t r = 0; r < y.size(); ++r) y[r] += kRidge * x[r] - offset;
    return y;
  }
  std::vector<double> solve(const std::vector<double>& target) const {
    std::vector<double> x(rows.size()), residual = target, direction = target;
    double error = dot(residual, residual);
    const double enough = error * kTolerance * kTolerance;
    for (int step = 0; step < kLargestSteps && error > enough; ++step) {
      const std::vector<double> image = apply(direction);
      const double alpha = error / dot(direction, image);
      for (size_t i = 0; i < x.size(); ++i) {
        x[i] += alpha * direction[i];
        residual[i] -= alpha * image[i];
      }
      const double next = dot(residual, residual);
      for (size_t i = 0; i < x.size(); ++i) direction[i] = residual[i] + next / error * direction[i];
      error = next;
    }
    return centred_transposed(x);
  }
};

double logit(double score) {
  const double clipped = std::clamp(score, kClip, 1 - kClip);
  return std::log(clipped / (1 - clipped));
}

// Ranks from 1, ties share their mean.
std::vector<double> ranks(const std::vector<double>& values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<double> result(values.size());
  for (size_t i = 0; i < order.size();) {
    size_t j = i;
    while (j < order.size() && values[order[j]] == values[order[i]]) ++j;
    for (size_t k = i; k < j; ++k) result[order[k]] = 0.5 * static_cast<double>(i + j + 1);
    i = j;
  }
  return result;
}

double correlation(const std::vector<double>& a, const std::vector<double>& b) {
  const double n = static_cast<double>(a.size()), mean_a = std::accumulate(a.begin(), a.end(), 0.0) / n,
               mean_b = std::accumulate(b.begin(), b.end(), 0.0) / n;
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - mean_a) * (b[i] - mean_b);
    aa += (a[i] - mean_a) * (a[i] - mean_a);
    bb += (b[i] - mean_b) * (b[i] - mean_b);
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : 0;
}

}  // namespace

std::vector<ScoredText> read_scored_texts(const std::string& path) {
  const std::string content = read_text_file(path);
  std::vector<ScoredText> texts;
  int64_t line = 0;
  for (size_t begin = 0; begin < content.size();) {
    const size_t end = std::min(content.find('\n', begin), content.size());
    const std::string row = content.substr(begin, end - begin);
    begin = end + 1;
    ++line;
    if (line == 1 || row.empty()) continue;
    const std::string where = fmt::format("line {} of {}", line, path);
    const size_t first = row.find('\t'), second = first == std::string::npos ? first : row.find('\t', first + 1);
    if (second == std::string::npos) throw_input("{}: expected source, score and quoted text between tabs", where);
    const Json score = parse_json(row.substr(first + 1, second - first - 1), where);
    const Json text = parse_json(row.substr(second + 1), where);
    if (!score.is_number() || !(score.get<double>() >= 0 && score.get<double>() <= 1))
      throw_input("{}: the score is {}, expected a number from 0 to 1", where, score.dump());
    if (!text.is_string()) throw_input("{}: the text is {}, expected a text in JSON quotes", where, text.type_name());
    texts.push_back({row.substr(0, first), score.get<double>(), text.get<std::string>()});
  }
  if (texts.empty()) throw_input("{}: holds no rows, expected a header line and scored texts", path);
  return texts;
}

NgramJudge NgramJudge::train(const std::vector<ScoredText>& texts, const std::string& kind) {
  if (kind != "words" && kind != "words+characters")
    throw_input("judge: kind is '{}', expected words or words+characters", kind);
  if (texts.size() < 20) throw_input("judge: {} scored texts, expected at least 20", texts.size());
  NgramJudge judge;
  judge.kind_ = kind;
  judge.texts_ = static_cast<int64_t>(texts.size());
  std::vector<std::map<std::string, double>> counts;
  std::map<std::string, int64_t> frequency;
  for (const ScoredText& text : texts) {
    counts.push_back(count_features(text.text, kind != "words"));
    for (const auto& [name, count] : counts.back()) ++frequency[name];
  }
  const double n = static_cast<double>(texts.size());
  for (const auto& [name, df] : frequency) {
    if (df < 2) continue;
    judge.index_[name] = static_cast<int32_t>(judge.names_.size());
    judge.names_.push_back(name);
    judge.idf_.push_back(static_cast<float>(std::log((1 + n) / (1 + static_cast<double>(df))) + 1));
  }
  const auto find = [&](const std::string& name) {
    const auto it = judge.index_.find(name);
    return it == judge.index_.end() ? -1 : it->second;
  };
  std::vector<Row> rows;
  for (const auto& text : counts) rows.push_back(weigh(text, judge.idf_, find));
  std::vector<double> target;
  for (const ScoredText& text : texts) target.push_back(logit(text.score));
  const double middle = std::accumulate(target.begin(), target.end(), 0.0) / n;
  for (double& value : target) value -= middle;
  const std::vector<double> mean = transposed_times(rows, std::vector<double>(rows.size(), 1 / n), judge.names_.size());
  const Ridge ridge{rows, judge.names_.size(), mean};
  const std::vector<double> weights = ridge.solve(target);
  judge.weights_.assign(weights.begin(), weights.end());
  judge.intercept_ = middle - dot(mean, weights);
  return judge;
}

double NgramJudge::score(const std::string& text) const {
  const auto find = [&](const std::string& name) {
    const auto it = index_.find(name);
    return it == index_.end() ? -1 : it->second;
  };
  double sum = intercept_;
  for (const Entry& entry : weigh(count_features(text, kind_ != "words"), idf_, find))
    sum += static_cast<double>(entry.value) * static_cast<double>(weights_[static_cast<size_t>(entry.feature)]);
  return 1 / (1 + std::exp(-sum));
}

std::string NgramJudge::label() const {
  std::string all = kind_ + fmt::format("\n{:.9g}\n", intercept_);
  for (size_t i = 0; i < names_.size(); ++i)
    all += fmt::format("{}\t{:.7g}\t{:.7g}\n", names_[i], idf_[i], weights_[i]);
  return fmt::format("offline n-gram judge {} ({}, {} texts)", sha256_text(all).substr(0, 12), kind_, texts_);
}

void NgramJudge::save(const std::string& path) const {
  Json json = {{"format", "ockham-ngram-judge"}, {"version", kVersion}, {"kind", kind_}, {"texts", texts_},
               {"intercept", intercept_},        {"label", label()}};
  json["features"] = names_;
  json["idf"] = idf_;
  json["weights"] = weights_;
  write_file_atomically(path, json.dump() + "\n");
}

NgramJudge NgramJudge::load(const std::string& path) {
  const Json json = read_json_file(path);
  if (!json.is_object() || json_text(json, "format", path, "") != "ockham-ngram-judge")
    throw_input("{}: is no judge, expected a file that `ockham data judge` wrote", path);
  if (const int64_t version = json_integer(json, "version", path); version != kVersion)
    throw_input("{}: key 'version' is {}, this program reads version {}; train the judge again", path, version,
                kVersion);
  NgramJudge judge;
  judge.kind_ = json_text(json, "kind", path);
  judge.texts_ = json_integer(json, "texts", path);
  judge.intercept_ = json_real(json, "intercept", path);
  for (const char* key : {"features", "idf", "weights"})
    if (!json.contains(key) || !json[key].is_array())
      throw_input("{}: key '{}' is missing, expected a list; train the judge again", path, key);
  const size_t count = json["features"].size();
  if (json["idf"].size() != count || json["weights"].size() != count)
    throw_input("{}: {} features, {} idf and {} weights, expected one of each; train the judge again", path, count,
                json["idf"].size(), json["weights"].size());
  for (size_t i = 0; i < count; ++i) {
    const Json &name = json["features"][i], &idf = json["idf"][i], &weight = json["weights"][i];
    if (!name.is_string() || !idf.is_number() || !weight.is_number())
      throw_input("{}: feature {} is broken, expected a text and two numbers; train the judge again", path, i);
    judge.index_[name.get<std::string>()] = static_cast<int32_t>(i);
    judge.names_.push_back(name.get<std::string>());
    judge.idf_.push_back(idf.get<float>());
    judge.weights_.push_back(weight.get<float>());
  }
  return judge;
}

JudgeQuality measure_judge(const NgramJudge& judge, const std::vector<ScoredText>& texts) {
  JudgeQuality quality;
  quality.texts = static_cast<int64_t>(texts.size());
  if (texts.empty()) return quality;
  std::vector<double> truth, found;
  double right = 0, positives = 0;
  for (const ScoredText& text : texts) {
    truth.push_back(text.score);
    found.push_back(judge.score(text.text));
    quality.mean_error += std::abs(truth.back() - found.back()) / static_cast<double>(texts.size());
    right += (truth.back() > 0.5) == (found.back() > 0.5);
    positives += truth.back() > 0.5;
  }
  const double n = static_cast<double>(texts.size());
  quality.accuracy = right / n;
  quality.pearson = correlation(truth, found);
  const std::vector<double> found_ranks = ranks(found);
  quality.spearman = correlation(ranks(truth), found_ranks);
  double sum = 0;
  for (size_t i = 0; i < truth.size(); ++i) sum += truth[i] > 0.5 ? found_ranks[i] : 0;
  if (positives > 0 && positives < n)
    quality.auc = (sum - positives * (positives + 1) / 2) / (positives * (n - positives));
  return quality;
}

void split_texts(const std::vector<ScoredText>& texts, std::vector<ScoredText>& train,
                 std::vector<ScoredText>& held_out) {
  for (const ScoredText& text : texts) (hash_seed("judge\n" + text.text) % 10 == 0 ? held_out : train).push_back(text);
}

}  // namespace ockham
