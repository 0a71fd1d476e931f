// `ockham data`: writes the data of a benchmark in the form that the tasks read. `world` writes FactWorld.
#include <fmt/format.h>

#include <filesystem>
#include <memory>

#include "cli/commands.h"
#include "ockham/core/error.h"
#include "ockham/eval/judges/ngram_judge.h"
#include "ockham/eval/suites/decodingtrust_prompts.h"
#include "ockham/io/file.h"
#include "ockham/io/json.h"
#include "ockham/world/baseline.h"
#include "ockham/world/plan.h"
#include "ockham/world/world.h"

namespace ockham {
namespace {

std::string document_line(const Document& document) {
  Json json;
  if (document.messages.empty()) {
    json["text"] = document.text;
  } else {
    for (const ChatMessage& message : document.messages) {
      json["messages"].push_back({{"role", message.role}, {"content", message.content}});
    }
  }
  return json.dump() + "\n";
}

std::string document_lines(const std::vector<Document>& documents) {
  std::string lines;
  for (const Document& document : documents) lines += document_line(document);
  return lines;
}

// Prints what the world promises and throws where it does not keep it.
void check_world(const World& world, int64_t passes) {
  const std::vector<std::string> leaks = world.find_leaks(passes);
  for (const std::string& leak : leaks) fmt::print("leak: {}\n", leak);
  fmt::print("{} leaks of evaluation prompts, entity-template pairs or 13-grams in {} passes\n\n", leaks.size(),
             passes);
  TextTable table({"counting words", "training examples", "items", "naive Bayes %", "most frequent label %"});
  for (const world::Baseline& baseline : world::word_baselines(world, std::min<int64_t>(passes, 3))) {
    table.add({baseline.suite, std::to_string(baseline.training), std::to_string(baseline.items),
               fmt::format("{:.1f}", 100 * baseline.accuracy), fmt::format("{:.1f}", 100 * baseline.majority)});
  }
  fmt::print("{}", table.text());
  if (!leaks.empty())
    throw_error(ErrorKind::kInternal, "the corpus of seed {} holds evaluation text", World::kDefaultSeed);
}

void write_world(const World& world, const std::string& path, int64_t passes, bool overwrite) {
  OutputDirectory output(path, overwrite);
  Json manifest;
  manifest["world"] = "FactWorld";
  manifest["schema"] = 1;
  manifest["sha256"] = world.sha256();
  const auto write = [&](const std::string& name, const std::string& content) {
    write_file_atomically(output.path() + "/" + name, content);
    manifest["files"][name] = {{"bytes", content.size()}, {"sha256", sha256_text(content)}};
  };
  for (const std::string& suite : world.suites()) {
    std::string lines;
    for (const Json& item : world.items(suite)) lines += item.dump() + "\n";
    write("items-" + suite + ".jsonl", lines);
  }
  for (int64_t pass = 0; pass < passes; ++pass)
    write(fmt::format("corpus-{}.jsonl", pass), document_lines(world.corpus(pass)));
  for (const char* split : {"heldout", "calibration"}) {
    write(fmt::format("{}.jsonl", split), document_lines(world.documents(split)));
    write(fmt::format("{}.txt", split), world.text(split));
  }
  write("analysis-plan.txt", world::kAnalysisPlan);
  write_file_atomically(output.path() + "/manifest.json", manifest.dump(2) + "\n");
  output.commit();
  fmt::print("{}: {} suites, {} passes of the corpus, sha256 {}\n", path, world.suites().size(), passes,
             world.sha256());
}

void print_quality(const JudgeQuality& quality) {
  TextTable table({"held-out texts", "Pearson", "Spearman", "mean error", "AUC at 0.5", "accuracy at 0.5"});
  table.add({std::to_string(quality.texts), fmt::format("{:.3f}", quality.pearson),
             fmt::format("{:.3f}", quality.spearman), fmt::format("{:.3f}", quality.mean_error),
             fmt::format("{:.3f}", quality.auc), fmt::format("{:.3f}", quality.accuracy)});
  fmt::print("{}", table.text());
}

struct JudgeArguments {
  std::string scored, output, kind = "words+characters";
  bool overwrite = false;
};

// The quality is that of a judge trained without the held-out tenth; the one that is written has seen all texts.
void train_judge(const JudgeArguments& arguments) {
  if (std::filesystem::exists(arguments.output) && !arguments.overwrite)
    throw_error(ErrorKind::kUsage, "{}: exists already; name another file or pass --overwrite", arguments.output);
  const std::vector<ScoredText> texts = read_scored_texts(arguments.scored);
  std::vector<ScoredText> train, held_out;
  split_texts(texts, train, held_out);
  print_quality(measure_judge(NgramJudge::train(train, arguments.kind), held_out));
  const NgramJudge judge = NgramJudge::train(texts, arguments.kind);
  judge.save(arguments.output);
  fmt::print("{}: {}, {} features\n", arguments.output, judge.label(), judge.features());
}

void add_judge_command(CLI::App& data) {
  auto arguments = std::make_shared<JudgeArguments>();
  CLI::App* judge = data.add_subcommand("judge", "Train the offline toxicity judge on scored texts");
  judge
      ->add_option("SCORED", arguments->scored,
                   "Table of source, score (0 to 1) and text in JSON quotes, with a header")
      ->required();
  judge->add_option("-o,--output", arguments->output, "File to write")->required();
  judge->add_option("--kind", arguments->kind, "words, or words+characters (default)")
      ->check(CLI::IsMember({"words", "words+characters"}));
  judge->add_flag("--overwrite", arguments->overwrite, "Replace an existing output");
  judge->footer(
      "Examples:\n"
      "  ockham data judge scored.tsv -o judge.json\n"
      "  ockham eval MODEL --tasks trust/toxicity --data DIR --judge judge.json");
  judge->callback([arguments] { train_judge(*arguments); });
}

struct BenchmarkArguments {
  std::string clone, fork, output;
  bool overwrite = false;
};

// Reads the prompts out of the clone's sources, says which data files are there.
void prepare_benchmark(BenchmarkArguments arguments) {
  if (arguments.output.empty()) arguments.output = arguments.clone + "/prompts.json";
  if (std::filesystem::exists(arguments.output) && !arguments.overwrite)
    throw_error(ErrorKind::kUsage, "{}: exists already; name another file with -o or pass --overwrite",
                arguments.output);
  const Json prompts = read_benchmark_prompts(arguments.clone, arguments.fork);
  write_file_atomically(arguments.output, prompts.dump(1) + "\n");
  TextTable table({"dimension", "file", "rows"});
  int64_t missing = 0;
  for (const DataFile& entry : check_benchmark_data(arguments.clone)) {
    missing += entry.rows < 0;
    table.add({entry.scenario, entry.file, entry.rows < 0 ? "missing" : std::to_string(entry.rows)});
  }
  fmt::print("{}{}: prompts and phrases written\n", table.text(), arguments.output);
  if (missing > 0) fmt::print("{} files are missing: scores of these dimensions will be partial\n", missing);
  if (arguments.fork.empty())
    fmt::print("without --fork the phrases of compressed-trust are left out: use the tasks trust-dt/*\n");
}

void add_benchmark_command(CLI::App& data) {
  auto arguments = std::make_shared<BenchmarkArguments>();
  CLI::App* command = data.add_subcommand("decodingtrust", "Read the prompts of a DecodingTrust clone, check its data");
  command->add_option("CLONE", arguments->clone, "Top folder of a clone of AI-secure/DecodingTrust")->required();
  command->add_option("--fork", arguments->fork,
                      "Top folder of a clone of decoding-comp-trust/DecodingTrust, for the rules of compressed-trust");
  command->add_option("-o,--output", arguments->output, "File to write (default: CLONE/prompts.json)");
  command->add_flag("--overwrite", arguments->overwrite, "Replace an existing output");
  command->footer(
      "Examples:\n"
      "  ockham data decodingtrust DecodingTrust --fork comp-trust/DecodingTrust\n"
      "  ockham eval MODEL --tasks 'trust/*' --data DecodingTrust --judge judge.json");
  command->callback([arguments] { prepare_benchmark(*arguments); });
}

}  // namespace

void add_data_command(CLI::App& app) {
  CLI::App* data = app.add_subcommand("data", "Prepare data for the tasks");
  data->require_subcommand(1);
  add_judge_command(*data);
  add_benchmark_command(*data);
  struct Arguments {
    std::string output;
    int64_t passes = 1;
    bool check = false, overwrite = false;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* world = data->add_subcommand("world", "Write FactWorld: items, corpus, held-out and calibration texts");
  world->add_option("-o,--output", arguments->output, "Directory to write");
  world->add_option("--passes", arguments->passes, "Passes of the corpus to write or to check")
      ->check(CLI::Range(1, 1000));
  world->add_flag("--check", arguments->check, "Look for leaks and print what counting words achieves");
  world->add_flag("--overwrite", arguments->overwrite, "Replace an existing output");
  world->footer(
      "Examples:\n"
      "  ockham data world -o factworld\n"
      "  ockham data world --check --passes 5");
  world->callback([arguments] {
    if (arguments->output.empty() && !arguments->check) {
      throw_error(ErrorKind::kUsage, "data world: nothing to do; give -o DIR, --check or both");
    }
    const World instance;
    if (arguments->check) check_world(instance, arguments->passes);
    if (!arguments->output.empty()) write_world(instance, arguments->output, arguments->passes, arguments->overwrite);
  });
}

}  // namespace ockham
