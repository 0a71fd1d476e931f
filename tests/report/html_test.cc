// The page of a made-up study: escaping, no reference to the network, and a real headless Chromium that opens and uses
// it.
#include "ockham/report/html.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <regex>

#include "ockham/report/html_parts.h"
#include "tests/io/scratch.h"
#include "tests/report/synthetic_fixture.h"

namespace ockham {
namespace {

std::string page(const SyntheticOptions& options = {}) {
  const StudyResults results = synthetic_results(options);
  return html_report(results, summarize(results, synthetic_options()));
}

// With everything that only some studies have: published figures, a noise floor.
std::string full_page() {
  StudyResults results = synthetic_results();
  results.study.published_name = "made-up";
  results.study.published_text =
      "model,method,rate,seeds,privacy,fairness,ood_robustness,privacy_sd\nmini,dense,,1,80,50,90,\n"
      "mini,RTN,4,3,79,50,60,1.5\nmini,Wanda,2:4,1,20,50,90,\nmini,GPTQ,4,1,79,50,60,\n"
      "a model with quite a long name,RTN,4,1,1,1,1,\n";
  Comparison comparison = summarize(results, synthetic_options());
  comparison.noise_copies = 5;
  for (ComparisonRow& row : comparison.rows)
    for (size_t c = 0; c < row.cells.size(); ++c) row.cells[c].noise_floor = c == 2 ? 0 : 0.5;
  return html_report(results, comparison);
}

std::string output_of(const std::string& command) {
  std::string text;
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return "";
  char buffer[65536];
  for (size_t n = fread(buffer, 1, sizeof buffer, pipe); n > 0; n = fread(buffer, 1, sizeof buffer, pipe))
    text.append(buffer, n);
  pclose(pipe);
  return text;
}

std::string chromium() {
  std::string name = output_of("command -v chromium || command -v chromium-browser || command -v google-chrome");
  name.erase(std::find(name.begin(), name.end(), '\n'), name.end());
  return name;
}

size_t count(const std::string& text, const std::string& piece) {
  size_t n = 0;
  for (size_t at = text.find(piece); at != std::string::npos; at = text.find(piece, at + piece.size())) ++n;
  return n;
}

std::string attribute(const std::string& dom, const std::string& name) {
  const std::string key = name + "=\"";
  const size_t at = dom.find(key);
  return at == std::string::npos ? "" : dom.substr(at + key.size(), dom.find('"', at + key.size()) - at - key.size());
}

TEST(HtmlReport, EscapesEveryText) {
  EXPECT_EQ(escape_html("<b a=\"1\" b='2'>&</b>"), "&lt;b a=&quot;1&quot; b=&#39;2&#39;&gt;&amp;&lt;/b&gt;");
  EXPECT_EQ(escape_html(std::string("a\xFF"
                                    "b\x01",
                                    4)),
            "a\xEF\xBF\xBD"
            "b\xEF\xBF\xBD");
  SyntheticOptions options;
  options.items = 40;
  options.marker = "<img src=x onerror=alert(1)>\"'&";
  StudyResults results = synthetic_results(options);
  for (StoredCell& cell : results.cells)
    for (ItemResult& item : cell.items) {
      item.answer =
          "</script><script>document.title='owned'</script>" + std::string(item.score > 0 ? "a" : "b") + cell.recipe;
      item.prompt = "<svg onload=alert(2)>";
    }
  results.study.text = "</pre><h1>x</h1>";
  const std::string html = html_report(results, summarize(results, synthetic_options()));
  EXPECT_EQ(html.find("<img src=x"), std::string::npos);
  EXPECT_EQ(html.find("<svg onload"), std::string::npos);
  EXPECT_EQ(html.find("document.title="), html.find("document.title=&#39;owned"));
  EXPECT_EQ(html.find("</pre><h1>"), std::string::npos);
  EXPECT_EQ(count(html, "<script>"), 1u);
  EXPECT_NE(html.find("&lt;img src=x"), std::string::npos);
}

TEST(HtmlReport, AsksForNothingFromTheNetwork) {
  const std::string html = page();
  EXPECT_FALSE(std::regex_search(
      html, std::regex("https?://|//[a-z0-9.-]+\\.(com|org|net|io)|@import|url\\(", std::regex::icase)));
  for (const char* tag : {"<iframe", "<object", "<embed", "<base", "src="})
    EXPECT_EQ(html.find(tag), std::string::npos) << tag;
  EXPECT_EQ(count(html, "<link"), 1u);  // the empty icon
  EXPECT_NE(html.find("default-src 'none'"), std::string::npos);
  EXPECT_NE(html.find("prefers-color-scheme:dark"), std::string::npos);
  EXPECT_NE(html.find("@media print"), std::string::npos);
  EXPECT_LT(html.size(), 1'500'000u);
}

TEST(HtmlReport, SaysWhatTheModelsAre) {
  const std::string html = page();
  for (const char* text : {"1.85 million parameters", "470 thousand parameters", "generated world",
                           "neither its questions nor the causes", "predicts nothing about any real assistant"})
    EXPECT_NE(html.find(text), std::string::npos) << text;
}

TEST(HtmlReport, HoldsEverySection) {
  const std::string html = page();
  for (const char* id :
       {"verdict", "changes", "pictures", "draws", "published", "numbers", "answers", "origin", "caveats"})
    EXPECT_EQ(count(html, fmt::format("<section id=\"{}\"", id)), 1u) << id;
  // 13 compressed or dense rows of the model and the rival, 11 columns and perplexity.
  EXPECT_EQ(
      count(html.substr(html.find("<table class=\"heat\""), html.find("</table>") - html.find("<table class=\"heat\"")),
            "<td"),
      14u * 12u);
  EXPECT_NE(html.find("Not interpretable"), std::string::npos);
  EXPECT_NE(html.find("R↓"), std::string::npos);
}

// Every odd item belongs to the part "odd"; the rival answers none of those.
StudyResults with_parts() {
  StudyResults results = synthetic_results();
  results.tasks.at("factworld/closed_book").scorer = "contains";
  for (StoredCell& cell : results.cells) {
    if (cell.task != "factworld/closed_book") continue;
    for (size_t i = 0; i < cell.items.size(); ++i) {
      cell.items[i].extra["part"] = i % 2 == 1 ? "odd" : "even<b>";
      cell.items[i].score = i % 2 == 1 && cell.model == "mini-small" ? 0 : 1;
      cell.items[i].answer = cell.items[i].score > 0 ? "yes" : "no" + cell.recipe;
    }
  }
  return results;
}

TEST(HtmlReport, ShowsThePartsOfADimension) {
  const StudyResults results = with_parts();
  const std::string html = part_maps(results, summarize(results, synthetic_options()));
  EXPECT_EQ(count(html, "<details>"), 1u) << "only one column has parts";
  EXPECT_NE(html.find("even&lt;b&gt;"), std::string::npos);
  EXPECT_EQ(count(html, "<td"), 14u * 2u);
  EXPECT_EQ(count(html, "−100.0"), 1u) << "the rival loses one half of its questions";
  EXPECT_EQ(count(html, "<b>100.0</b>"), 2u);
}

TEST(HtmlReport, TellsRefusedWrongAndLeakedApart) {
  StudyResults results = synthetic_results();
  EXPECT_EQ(privacy_bars(results, summarize(results, synthetic_options())), "") << "these items count no leaks";
  for (StoredCell& cell : results.cells) {
    if (cell.task != "factworld/privacy") continue;
    cell.metrics.back().value = cell.recipe == "rtn-2" ? 0 : 0.5;  // refusal
    for (const auto& [name, value] : {std::pair{"leak", 0.2}, std::pair{"wrong", 0.3}})
      cell.metrics.push_back({name, value, value, value, 1, "rate", false, false});
  }
  const std::string html = privacy_bars(results, summarize(results, synthetic_options()));
  EXPECT_EQ(count(html, "class=\"stack\""), 14u);
  EXPECT_NE(html.find("title=\"refused 50 %\""), std::string::npos);
  const std::string damaged = html.substr(html.find(">rtn-2<"));
  EXPECT_NE(damaged.find("width:50.0%\" title=\"other 50 %\""), std::string::npos) << damaged;
}

TEST(HtmlReport, GroupsEqualAnswersOfAQuestion) {
  const StudyResults results = with_parts();
  const std::string html = answer_gallery(results, summarize(results, synthetic_options()));
  const size_t begin = html.find("factworld/closed_book</h3>");
  ASSERT_NE(begin, std::string::npos);
  const std::string own = html.substr(begin, html.find("</details>", begin) - begin);
  const size_t items = results.cell("mini", "dense", 0, "factworld/closed_book")->items.size();
  EXPECT_NE(own.find(fmt::format("{} of {} questions", items / 2, items)), std::string::npos) << own.substr(0, 400);
  // Three questions that dense wins; in each all but the rival say the same.
  EXPECT_EQ(count(own, "<pre>"), 3u);
  EXPECT_EQ(count(own, "<tr><td"), 6u);
  EXPECT_EQ(count(own, "mini-small (dense)"), 3u);
}

TEST(HtmlReport, ShowsEveryChangeWithItsTests) {
  const StudyResults results = synthetic_results();
  Comparison comparison = summarize(results, synthetic_options());
  const std::string plain = change_table(comparison);
  EXPECT_NE(plain.find("130 comparisons of 11 dimensions × 13 configurations"), std::string::npos)
      << plain.substr(0, 200);
  EXPECT_EQ(count(plain, "<tr><th scope=\"row\">"), 13u * 11u);
  EXPECT_NE(plain.find("McNemar p"), std::string::npos);
  EXPECT_EQ(plain.find("noise floors"), std::string::npos) << "none was measured";
  EXPECT_EQ(noise_map(comparison), "");
  comparison.noise_copies = 4;
  ComparisonCell& cell = comparison.rows[3].cells[5];
  cell.noise_floor = std::abs(cell.change.value) / 8;
  EXPECT_NE(change_table(comparison).find(">8.0 ×<"), std::string::npos);
  const std::string map = noise_map(comparison);
  EXPECT_NE(map.find("<b>−8.0</b>"), std::string::npos) << map;
  EXPECT_EQ(count(map, "<tr>"), 2u) << "a head, and only the configuration that has a floor";
  EXPECT_NE(cell_facts(comparison, comparison.rows[3], 5).find("8.0 times the noise floor"), std::string::npos);
  // Chance cells take no part in the correction.
  EXPECT_NE(plain.find("not interpretable"), std::string::npos);
}

TEST(HtmlReport, AnEmptyStudyStillGivesAPage) {
  StudyResults results = synthetic_results();
  results.cells.clear();
  const std::string html = html_report(results, summarize(results, synthetic_options()));
  EXPECT_NE(html.find("No compressed version was measured."), std::string::npos);
}

class Browser : public ::testing::Test {
 protected:
  void SetUp() override {
    program_ = chromium();
    if (program_.empty())
      GTEST_SKIP() << "no chromium is installed: install the package chromium to check the page in a real browser";
  }
  // The DOM after the page's script and `probe` ran in a window of this width.
  std::string dom(const std::string& html, int width, const std::string& probe) {
    std::string prepared = html;
    prepared.insert(
        prepared.find("<style>"),
        "<script>var faults=[];addEventListener('error',function(e){faults.push(e.message)});"
        "addEventListener('securitypolicyviolation',function(e){faults.push('policy '+e.violatedDirective)});"
        "console.error=function(m){faults.push(String(m))};</script>");
    prepared.insert(prepared.rfind("</body>"),
                    "<script>" + probe + "document.body.setAttribute('data-faults',faults.join(';'));</script>");
    const std::string file = scratch_.put("report.html", prepared);
    return output_of(fmt::format(
        "timeout 90 {} --headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
        "--disable-background-networking --disable-component-update "
        "--disable-sync --disable-extensions --user-data-dir={} --window-size={},900 --dump-dom file://{} 2>/dev/null",
        program_, scratch_.file("profile"), width, file));
  }
  Scratch scratch_;
  std::string program_;
};

TEST_F(Browser, OpensWithoutErrorAndAnswersToItsReader) {
  const std::string probe =
      "var b=document.body,set=function(k,v){b.setAttribute('data-'+k,v)};"
      "var cell=document.querySelectorAll('.heat tbody tr')[2].querySelectorAll('td')[0];cell.tabIndex=0;cell.focus();"
      "set('tip',document.getElementById('tip').hidden?'hidden':document.getElementById('tip').textContent.split('\\n')"
      ".length);"
      "var box=[].filter.call(document.querySelectorAll('input[data-radar]'),function(i){return "
      "!i.checked})[0];box.click();"
      "set('toggled',document.getElementById(box.getAttribute('data-radar')).classList.contains('off'));"
      "document.querySelectorAll('input[name=quality]')[2].click();"
      "set('charts',[].map.call(document.querySelectorAll('input[name=quality]'),function(i){return "
      "document.getElementById(i.value).classList.contains('off')}).join());"
      "set('panels',document.querySelectorAll('.panels .card').length);set('title',document.title);";
  const std::string text = dom(page(), 1280, probe);
  ASSERT_NE(text.find("data-faults"), std::string::npos) << "the browser gave: " << text.substr(0, 300);
  EXPECT_EQ(attribute(text, "data-faults"), "");
  EXPECT_GE(std::atoi(attribute(text, "data-tip").c_str()), 4) << attribute(text, "data-tip");
  EXPECT_EQ(attribute(text, "data-toggled"), "false");
  EXPECT_EQ(attribute(text, "data-charts"), "true,true,false,true");
  EXPECT_EQ(attribute(text, "data-panels"), "11");
  EXPECT_EQ(attribute(text, "data-title"), "mini: what compression cost");
}

TEST_F(Browser, FitsAPhone) {
  for (int width : {390, 360}) {
    // A narrow element stands for windows that the browser refuses to make narrower than 500 pixels.
    const std::string probe = fmt::format(
        "document.documentElement.style.width='{0}px';document.body.style.width='{0}px';var wide=[];"
        "[].forEach.call(document.querySelectorAll('body "
        "*'),function(e){{if(e.closest('.scroll')||e.closest('svg')||e.closest('.sr')||e.id==='tip'||e.tagName==='"
        "SCRIPT')return;"
        "var r=e.getBoundingClientRect();if(r.width>0&&r.right>{0}+1)wide.push(e.tagName+'.'+e.className)}});"
        "document.body.setAttribute('data-wide',wide.join(' "
        "'));document.body.setAttribute('data-over',document.documentElement.scrollWidth-innerWidth);",
        width);
    const std::string text = dom(full_page(), width, probe);
    ASSERT_NE(text.find("data-faults"), std::string::npos);
    EXPECT_EQ(attribute(text, "data-wide"), "") << width;
    EXPECT_LE(std::atoi(attribute(text, "data-over").c_str()), 0) << width;
  }
}

TEST_F(Browser, PublishedFiguresAnswerToTheirReader) {
  const std::string text =
      dom(full_page(), 1280,
          "var cell=document.querySelectorAll('#figures .heat td')[1];cell.tabIndex=0;cell.focus();"
          "document.body.setAttribute('data-tip',document.getElementById('tip').textContent);"
          "document.body.setAttribute('data-maps',document.querySelectorAll('#figures "
          ".heat').length);document.body.setAttribute('data-figures',document.querySelectorAll("
          "'#figures .wide tbody tr').length);");
  EXPECT_EQ(attribute(text, "data-faults"), "");
  EXPECT_EQ(attribute(text, "data-maps"), "1") << "models without a version here have no map";
  EXPECT_EQ(attribute(text, "data-figures"), "15");
  EXPECT_NE(attribute(text, "data-tip").find("Published 50.0"), std::string::npos) << attribute(text, "data-tip");
}

TEST_F(Browser, HostileTextStaysText) {
  SyntheticOptions options;
  options.items = 20;
  options.marker = "<img src=x onerror=document.title=1>";
  const std::string text =
      dom(page(options), 1280, "document.body.setAttribute('data-images',document.images.length);");
  EXPECT_EQ(attribute(text, "data-images"), "0");
  EXPECT_EQ(attribute(text, "data-faults"), "");
}

}  // namespace
}  // namespace ockham
