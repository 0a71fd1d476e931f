// Cutting of texts into windows.
#include "ockham/eval/protocols.h"

#include <algorithm>

#include "ockham/core/error.h"
#include "ockham/eval/scorers/text.h"
#include "ockham/text/template.h"

namespace ockham {
namespace {

bool is_white(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

int64_t window_length(const LanguageModel& model, const ProtocolWish& wish) {
  int64_t length = wish.window;
  if (length <= 0 && wish.name == "gptq") length = 2048;
  if (length <= 0 && wish.name == "llama.cpp") length = 512;
  const int64_t context = model.info().context_length;
  if (context <= 0 && length <= 0)
    throw_error(ErrorKind::kUnsupported,
                "{}: the server does not say how long its context is, which decides the windows of perplexity; pass "
                "--api-context, or a --protocol with windows of its own",
                model.info().name);
  if (context <= 0) return length;
  return length <= 0 || length > context ? context : length;
}

void cut_apart(const std::vector<int32_t>& ids, int64_t length, TextWindows& result) {
  const int64_t count = static_cast<int64_t>(ids.size()) / length;
  for (int64_t w = 0; w < count; ++w)
    result.windows.push_back({{ids.begin() + w * length, ids.begin() + (w + 1) * length}, 1, 0});
  result.note = fmt::format("{} tokens in {} windows of {}, not overlapping; the last {} tokens are left out",
                            ids.size(), count, length, static_cast<int64_t>(ids.size()) - count * length);
}

void cut_strided(const std::vector<int32_t>& ids, int64_t length, int64_t stride, TextWindows& result) {
  const auto total = static_cast<int64_t>(ids.size());
  int64_t scored_to = 0;
  for (int64_t begin = 0; scored_to < total; begin += stride) {
    const int64_t end = std::min(begin + length, total), fresh = end - scored_to;
    result.windows.push_back({{ids.begin() + begin, ids.begin() + end}, std::max<int64_t>(1, end - begin - fresh), 0});
    scored_to = end;
  }
  // A last window of one fresh token that is also its first has nothing to predict.
  if (result.windows.back().ids.size() < 2) result.windows.pop_back();
  result.note =
      fmt::format("{} tokens in {} windows of {} with stride {}", total, result.windows.size(), length, stride);
}

}  // namespace

TextWindows cut_windows(const LanguageModel& model, const std::string& text, const ProtocolWish& wish,
                        const std::string& source) {
  if (wish.name == "lm-eval") return roll_windows(model, {{text, text}}, wish, source);
  TextWindows result;
  result.protocol = wish.name;
  const std::vector<int32_t> ids = model.tokenize(text, true);
  const auto total = static_cast<int64_t>(ids.size());
  if (total < 2) throw_input("{}: {} tokens, expected at least 2 to predict one", source, ids.size());
  const int64_t length = std::max<int64_t>(2, window_length(model, wish));
  if (wish.name == "strided") {
    const int64_t stride = wish.stride > 0 ? wish.stride : std::max<int64_t>(1, length / 2);
    if (stride > length) throw_input("{}: stride {} exceeds the window of {}; lower it", source, stride, length);
    cut_strided(ids, std::min(length, total), stride, result);
    return result;
  }
  if (wish.name != "llama.cpp") {
    cut_apart(ids, std::min(length, total), result);
    return result;
  }
  if (total < length)
    throw_input("{}: {} tokens, expected at least {} for one window of protocol llama.cpp", source, total, length);
  cut_apart(ids, length, result);
  const std::optional<int32_t> bos = model.bos_id();
  const bool adds_bos = bos && ids[0] == *bos;
  for (Window& window : result.windows) {
    if (adds_bos) window.ids[0] = *bos;
    window.first_scored = length / 2 + 1;
  }
  result.note += fmt::format("; the second half of each is scored{}", adds_bos ? ", each begins with BOS" : "");
  return result;
}

TextWindows roll_windows(const LanguageModel& model, const std::vector<RollingDocument>& documents,
                         const ProtocolWish& wish, const std::string& source) {
  TextWindows result;
  result.protocol = wish.name;
  const int64_t length = window_length(model, wish);
  int64_t tokens = 0;
  for (const RollingDocument& document : documents) {
    const std::vector<int32_t> ids = model.tokenize(document.scored, true);
    const auto total = static_cast<int64_t>(ids.size());
    result.documents.push_back({count_words(document.original), static_cast<int64_t>(document.original.size())});
    if (total == 0) continue;
    const size_t index = result.documents.size() - 1;
    tokens += total;
    int64_t scored_to = std::min(length, total);
    Window first{{model.bos_id().value_or(ids[0])}, 1, index};
    first.ids.insert(first.ids.end(), ids.begin(), ids.begin() + scored_to);
    result.windows.push_back(std::move(first));
    while (scored_to < total) {
      const int64_t fresh = std::min(length, total - scored_to), end = scored_to + fresh;
      const int64_t begin = std::max<int64_t>(0, end - length - 1);
      result.windows.push_back({{ids.begin() + begin, ids.begin() + end}, end - begin - fresh, index});
      scored_to = end;
    }
  }
  if (result.windows.empty()) throw_input("{}: no tokens, expected text", source);
  result.note = fmt::format("{} tokens of {} documents in {} rolling windows of {}", tokens, documents.size(),
                            result.windows.size(), length);
  return result;
}

int64_t count_words(const std::string& text) {
  int64_t words = 1;
  for (size_t i = 0; i < text.size(); ++i) words += is_white(text[i]) && (i == 0 || !is_white(text[i - 1]));
  return words;
}

std::string join_wikitext(const std::string& raw) {
  std::string joined;
  for (size_t begin = 0; begin < raw.size();) {
    const size_t end = std::min(raw.find('\n', begin), raw.size());
    const std::string line = raw.substr(begin, end - begin);
    if (begin > 0) joined += "\n\n";
    if (line != " " && !line.empty()) joined += line + "\n";
    begin = end + 1;
  }
  return joined;
}

namespace {

std::string take_out_marks(std::string text) {
  text = replace_all(std::move(text), "s '", "s'");
  text = replace_matches("/' [0-9]/", "/'[0-9]/", text);
  for (const auto& [from, to] : std::vector<std::pair<const char*, const char*>>{{" @-@ ", "-"},
                                                                                 {" @,@ ", ","},
                                                                                 {" @.@ ", "."},
                                                                                 {" : ", ": "},
                                                                                 {" ; ", "; "},
                                                                                 {" . ", ". "},
                                                                                 {" ! ", "! "},
                                                                                 {" ? ", "? "},
                                                                                 {" , ", ", "}})
    text = replace_all(std::move(text), from, to);
  for (const auto& [pattern, to] :
       std::vector<std::pair<const char*, const char*>>{{R"(\(\s*([^\)]*?)\s*\))", R"((\1))"},
                                                        {R"(\[\s*([^\]]*?)\s*\])", R"([\1])"},
                                                        {R"(\{\s*([^}]*?)\s*\})", R"({\1})"},
                                                        {"\"\\s*([^\"]*?)\\s*\"", "\"\\1\""},
                                                        {R"('\s*([^']*?)\s*')", R"('\1')"}})
    text = replace_matches(pattern, to, text);
  for (const auto& [from, to] : std::vector<std::pair<const char*, const char*>>{{"= = = =", "===="},
                                                                                 {"= = =", "==="},
                                                                                 {"= =", "=="},
                                                                                 {" ° ", "°"},
                                                                                 {" \n", "\n"},
                                                                                 {"\n ", "\n"},
                                                                                 {" N ", " 1 "},
                                                                                 {" 's", "'s"}})
    text = replace_all(std::move(text), from, to);
  return text;
}

}  // namespace

std::vector<RollingDocument> wikitext_pages(const std::string& raw) {
  std::vector<RollingDocument> pages;
  std::string page;
  const auto finish = [&] {
    if (!is_blank(page)) pages.push_back({take_out_marks(page), page});
    page.clear();
  };
  for (size_t begin = 0; begin < raw.size();) {
    const size_t end = std::min(raw.find('\n', begin), raw.size());
    const std::string line = raw.substr(begin, end - begin);
    const bool is_title = line.starts_with(" = ") && !line.starts_with(" = = ") && strip(line).ends_with(" =");
    if (is_title) finish();
    page += line + "\n";
    begin = end + 1;
  }
  finish();
  return pages;
}

}  // namespace ockham
