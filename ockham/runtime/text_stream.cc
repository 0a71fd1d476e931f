#include "ockham/runtime/text_stream.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace ockham {
namespace {

constexpr size_t kContext = 4, kWindow = 24;              // tokens
constexpr std::string_view kIncomplete = "\xEF\xBF\xBD";  // what stands for bytes that are no character yet

// Bytes at the end of `text` that may become a stop string.
size_t possible_stop(const std::string& text, const std::vector<std::string>& stops) {
  size_t most = 0;
  for (const std::string& stop : stops) {
    for (size_t count = std::min(stop.size(), text.size()); count > most; --count)
      if (text.compare(text.size() - count, count, stop, 0, count) == 0) most = count;
  }
  return most;
}

}  // namespace

TextStream::TextStream(const Tokenizer& tokenizer, std::span<const int32_t> prompt, std::vector<std::string> stops)
    : tokenizer_(tokenizer), stops_(std::move(stops)) {
  std::erase(stops_, std::string());
  const auto last = prompt.last(std::min(kContext, prompt.size()));
  window_.assign(last.begin(), last.end());
  seen_ = tokenizer_.decode(window_, true);
}

// Moves what the window's text has gained to pending_.
void TextStream::read_window(bool is_last) {
  std::string text = tokenizer_.decode(window_, true);
  if (!is_last && text.ends_with(kIncomplete)) return;
  if (text.size() <= seen_.size()) return;
  pending_ += text.substr(seen_.size());
  seen_ = std::move(text);
  if (window_.size() < kWindow) return;
  window_.erase(window_.begin(), window_.end() - kContext);
  seen_ = tokenizer_.decode(window_, true);
}

std::string TextStream::take(bool is_last) {
  size_t stop = std::string::npos;
  for (const std::string& text : stops_) stop = std::min(stop, pending_.find(text));
  if (stop != std::string::npos) {
    has_stopped_ = true;
    pending_.resize(stop);
    return std::exchange(pending_, "");
  }
  const size_t held = is_last ? 0 : possible_stop(pending_, stops_);
  std::string result = pending_.substr(0, pending_.size() - held);
  pending_.erase(0, result.size());
  return result;
}

std::string TextStream::push(int32_t id) {
  if (has_stopped_) return "";
  window_.push_back(id);
  read_window(false);
  return take(false);
}

std::string TextStream::finish() {
  if (has_stopped_) return "";
  read_window(true);
  return take(true);
}

}  // namespace ockham
