// The subcommands of `ockham`, one source file each. A command parses its arguments, calls the library and prints.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <string>

namespace ockham {

// Flags that every command takes, filled in before a command runs.
struct GlobalOptions {
  bool json = false;   // machine-readable output on stdout
  bool quiet = false;  // no progress, no notes
  int threads = 0;     // 0: all cores
  std::string device = "cpu";
};
const GlobalOptions& global_options();

// Root of the installed data (tasks/, recipes/, models/, examples/): $OCKHAM_HOME, or found upwards from the program.
std::string data_home();

void add_inspect_command(CLI::App& app);
void add_compress_command(CLI::App& app);
void add_search_command(CLI::App& app);
void add_attack_command(CLI::App& app);
void add_eval_command(CLI::App& app);
void add_study_command(CLI::App& app);
void add_report_command(CLI::App& app);
void add_recommend_command(CLI::App& app);
void add_recheck_command(CLI::App& app);
void add_run_command(CLI::App& app);
void add_serve_command(CLI::App& app);
void add_train_command(CLI::App& app);
void add_data_command(CLI::App& app);
void add_methods_command(CLI::App& app);
void add_tasks_command(CLI::App& app);
void add_recipes_command(CLI::App& app);
void add_convert_command(CLI::App& app);
void add_bench_command(CLI::App& app);

// Sets the code the process ends with when a command succeeds as a command but not in its answer (5: limits not met).
void set_exit_code(int code);

// A table of left-aligned text columns and right-aligned number columns, fitted to its contents.
class TextTable {
 public:
  explicit TextTable(std::vector<std::string> header) : header_(std::move(header)) {}
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  std::string text() const;

 private:
  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace ockham
