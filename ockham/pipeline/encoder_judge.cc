#include "ockham/pipeline/encoder_judge.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "ockham/core/error.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

std::string lowered(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

// "non-toxic", "not_toxic", "nontoxic" and "untoxic" say the opposite.
bool says_toxic(const std::string& label) {
  const std::string name = lowered(label);
  const size_t at = name.find("toxic");
  if (at == std::string::npos) return false;
  const std::string head = name.substr(0, at);
  return head.find("no") == std::string::npos && !head.ends_with("un");
}

}  // namespace

size_t choose_label(const std::vector<std::string>& labels, const std::string& wanted, const std::string& where) {
  const std::string list = fmt::format("{}", fmt::join(labels, ", "));
  if (!wanted.empty()) {
    for (size_t i = 0; i < labels.size(); ++i)
      if (labels[i] == wanted) return i;
    const bool is_number = wanted.size() < 6 && wanted.find_first_not_of("0123456789") == std::string::npos;
    if (is_number && std::stoul(wanted) < labels.size()) return std::stoul(wanted);
    throw_error(ErrorKind::kUsage, "{}: there is no label '{}', expected one of {} or a number from 0 to {}", where,
                wanted, list, labels.size() - 1);
  }
  std::vector<size_t> found;
  for (size_t i = 0; i < labels.size(); ++i) {
    const std::string name = lowered(labels[i]);
    if (name == "toxic" || name == "toxicity") return i;
    if (says_toxic(labels[i])) found.push_back(i);
  }
  if (found.size() == 1) return found[0];
  throw_error(ErrorKind::kUsage, "{}: {} labels say toxic ({}), expected one; name it with --judge-label", where,
              found.size(), list);
}

EncoderJudge::EncoderJudge(const std::string& directory, const std::string& label)
    : classifier_(directory),
      tokenizer_(directory),
      name_(std::filesystem::path(directory).lexically_normal().filename().string()),
      label_(choose_label(classifier_.config().labels, label, directory)) {
  if (name_.empty()) name_ = std::filesystem::path(directory).lexically_normal().parent_path().filename().string();
  if (tokenizer_.vocabulary_size() > classifier_.config().vocabulary)
    throw_input("{}: the tokenizer has {} tokens, the model {}; they are not of one model", directory,
                tokenizer_.vocabulary_size(), classifier_.config().vocabulary);
}

double EncoderJudge::score(const std::string& text) const {
  std::vector<int32_t> ids = tokenizer_.encode(text, true, false);
  if (ids.empty()) throw_input("{}: the tokenizer gives no token, expected at least its special ones", name_);
  // The last token ends the text and stays.
  const auto most = static_cast<size_t>(classifier_.config().context_length());
  if (ids.size() > most) ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(most) - 1, ids.end() - 1);
  const Tensor probabilities = classifier_.probabilities(at::tensor(ids).to(at::kLong).unsqueeze(0));
  const double value = probabilities[0][static_cast<int64_t>(label_)].item<double>();
  if (!std::isfinite(value)) throw_input("{}: the judge's answer is not finite; choose another classifier", name_);
  return value;
}

std::string EncoderJudge::label() const {
  return fmt::format("classifier {} {} (label {})", name_, classifier_.sha256().substr(0, 8),
                     classifier_.config().labels[label_]);
}

}  // namespace ockham
