// `ockham report`: the report of one or more result directories, rebuilt from what is stored.
#include <fmt/format.h>

#include <memory>

#include "cli/commands.h"
#include "ockham/core/error.h"
#include "ockham/io/file.h"
#include "ockham/report/html.h"
#include "ockham/report/text_formats.h"
#include "ockham/study/store.h"

namespace ockham {
namespace {

struct ReportArguments {
  std::vector<std::string> directories, formats;
  std::string output;
  double margin = 0;
};

std::string ending_of(const std::string& path) {
  const size_t dot = path.rfind('.');
  return dot == std::string::npos || path.find('/', dot) != std::string::npos ? "" : path.substr(dot + 1);
}

void run(const ReportArguments& arguments) {
  std::vector<StudyResults> parts;
  for (const std::string& directory : arguments.directories) parts.push_back(read_results(directory));
  const StudyResults results = merge(std::move(parts));
  if (results.cells.empty()) throw_input("{}: no finished cell yet; run `ockham study` with it first", results.source);
  SummaryOptions options;
  options.margin = arguments.margin;
  const Comparison comparison = summarize(results, options);
  const auto render = [&](const std::string& format) -> std::string {
    if (format == "md") return markdown_report(comparison);
    if (format == "csv") return csv_report(comparison);
    if (format == "json") return json_report(comparison).dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
    return html_report(results, comparison);
  };
  std::vector<std::string> formats = arguments.formats;
  const std::string ending = ending_of(arguments.output);
  if (formats.empty())
    formats = {ending == "md" || ending == "csv" || ending == "json" ? ending
               : global_options().json && arguments.output.empty()   ? "json"
                                                                     : "html"};
  if (arguments.output.empty() || arguments.output == "-") {
    if (formats.size() > 1)
      throw_error(ErrorKind::kUsage, "--format: {} formats on standard output; name a file with -o", formats.size());
    fmt::print("{}", render(formats[0]));
    return;
  }
  for (const std::string& format : formats) {
    // Several formats stand beside each other under one name.
    const std::string stem =
        ending.empty() ? arguments.output : arguments.output.substr(0, arguments.output.size() - ending.size() - 1);
    const std::string path = formats.size() == 1 ? arguments.output : stem + "." + format;
    write_file_atomically(path, render(format));
    if (!global_options().quiet) fmt::print("{}\n", path);
  }
}

}  // namespace

void add_report_command(CLI::App& app) {
  auto arguments = std::make_shared<ReportArguments>();
  CLI::App* command = app.add_subcommand("report", "Rebuild the report of one or more result directories");
  command->add_option("DIR", arguments->directories, "Directories written by `ockham study` (the shards of one study)")
      ->required();
  command->add_option("-o,--output", arguments->output, "File to write; standard output without it");
  command->add_option("--format", arguments->formats, "html, md, csv, json; several separated by commas")
      ->delimiter(',')
      ->check(CLI::IsMember({"html", "md", "csv", "json"}));
  command->add_option("--margin", arguments->margin, "Equivalence margin in points; replaces the study's")
      ->check(CLI::PositiveNumber);
  command->footer(
      "Examples:\n"
      "  ockham report quickstart -o report.html\n"
      "  ockham report shard1 shard2 shard3 --format html,md,csv,json -o report.html");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace ockham
