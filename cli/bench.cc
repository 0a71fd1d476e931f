// `ockham bench`: speed of the native engine against the machine's limits. Shared by both programs, hence free of what
// only one of them has.
#include "cli/bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <optional>

#include "ockham/bench/bench.h"
#include "ockham/bench/shapes.h"
#include "ockham/core/error.h"
#include "ockham/io/file.h"
#include "ockham/kernels/target.h"

namespace ockham {
namespace {
namespace fs = std::filesystem;

[[noreturn]] void refuse(const std::string& text) {
  throw Error(ErrorKind::kUsage, text);
}

// A path that ends in .json gets the JSON, every other one becomes a directory with page and JSON. Refused before
// anything is measured where it cannot be written; nothing is there before all is.
class Destination {
 public:
  Destination(const std::string& path, bool overwrite) : path_(path) {
    if (path.empty()) return;
    if (!path.ends_with(".json")) {
      directory_.emplace(path, overwrite);
      return;
    }
    const fs::path parent = fs::path(path).parent_path();
    if (fs::is_directory(path)) throw_input("-o: {} is a directory; name a file or another directory", path);
    if (!parent.empty() && !fs::is_directory(parent))
      throw_input("-o: {} is no directory; make it, or name a file elsewhere", parent.string());
  }
  // What was written.
  std::string write(const BenchResult& result) {
    if (path_.empty()) return "";
    const std::string json = bench_json(result).dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
    if (!directory_) {
      write_file_atomically(path_, json);
      return path_;
    }
    write_file_atomically(directory_->path() + "/bench.json", json);
    write_file_atomically(directory_->path() + "/bench.html", bench_page(result));
    directory_->commit();
    return (fs::path(path_) / "bench.html").string();
  }

 private:
  std::string path_;
  std::optional<OutputDirectory> directory_;
};

WeightFormat head_of(const BenchArguments& arguments, const WeightFormat& linears) {
  if (arguments.head == "same")
    return linears.kind == WeightFormat::Kind::kGroupSparse ? parse_weight_format("int4", arguments.group, 0) : linears;
  if (!arguments.head.empty()) return parse_weight_format(arguments.head, arguments.group, 0);
  WeightFormat head;
  if (linears.kind == WeightFormat::Kind::kFloat) head.type = linears.type;
  return head;
}

// Formats by sparsities, in the order of the command line.
std::vector<BenchSource> random_sources(const BenchArguments& arguments) {
  const ModelConfig config = find_shape(arguments.shape);
  std::vector<BenchSource> sources;
  const std::vector<std::string> formats =
      arguments.formats.empty() ? std::vector<std::string>{"bf16"} : arguments.formats;
  const std::vector<double> sparsities = arguments.sparsities.empty() ? std::vector<double>{0} : arguments.sparsities;
  for (const std::string& format : formats) {
    for (const double sparsity : sparsities) {
      const WeightFormat linears = parse_weight_format(format, arguments.group, sparsity);
      BenchSource& source = sources.emplace_back();
      source.random = RandomModelSpec{arguments.shape, config, linears, head_of(arguments, linears)};
    }
  }
  return sources;
}

void check_together(const BenchArguments& arguments) {
  const bool is_random = !arguments.shape.empty();
  if (!is_random && arguments.models.empty()) refuse("no model; name one, or a shape with --random");
  if (!is_random && (!arguments.formats.empty() || !arguments.sparsities.empty() || !arguments.head.empty()))
    refuse("--format, --sparsity and --head are of random weights; add --random SHAPE, or leave them out");
  if (arguments.sweeps_sparsity && !is_random) refuse("--sweep-sparsity makes its weights up; add --random SHAPE");
  if (arguments.sweeps_sparsity && !arguments.models.empty())
    refuse("--sweep-sparsity compares a shape with itself; leave " + arguments.models[0] + " out");
  if (arguments.sweeps_sparsity && !arguments.batches.empty())
    refuse("--batch: --sweep-sparsity measures one sequence; leave --batch out");
  if (arguments.sweeps_sparsity && arguments.prompts.size() > 1)
    refuse("--prompt: --sweep-sparsity takes one length; name one");
  if (arguments.sweeps_sparsity && !arguments.head.empty())
    refuse("--head: --sweep-sparsity keeps the head dense; leave --head out");
  if (!arguments.policies.empty() && (arguments.sweeps_sparsity || !arguments.study.empty()))
    refuse("--kv compares caches; leave --sweep-sparsity and --study out");
  if (!arguments.study.empty() && (is_random || arguments.models.size() != 1))
    refuse("--study compares with one dense model in files; name that one, without --random");
}

BenchSettings settings_of(const BenchArguments& arguments, int threads) {
  BenchSettings settings;
  if (!arguments.prompts.empty()) {
    settings.prompts = arguments.prompts;
    settings.are_prompts_chosen = true;
  }
  if (!arguments.batches.empty()) settings.batches = arguments.batches;
  // A block of codes is finished in every 64 steps.
  settings.tokens = arguments.tokens != 0 ? arguments.tokens : arguments.policies.empty() ? 32 : 64;
  if (!arguments.policies.empty() && arguments.prompts.empty()) settings.prompts = {512, 2048, 8192, 32768};
  settings.kv_bytes = static_cast<int64_t>(arguments.kv_gib * (1 << 30));
  settings.rounds = arguments.rounds;
  settings.threads = threads;
  settings.precision = arguments.precision.precision();
  settings.cache_type = arguments.cache_type == "int8" ? DType::kI8 : *dtype_from_config(arguments.cache_type);
  return settings;
}

BenchResult sweep(const BenchArguments& arguments, const BenchSettings& settings) {
  SweepSettings wanted;
  if (!arguments.formats.empty()) wanted.formats = arguments.formats;
  if (!arguments.sparsities.empty()) wanted.sparsities = arguments.sparsities;
  wanted.group_size = arguments.group;
  if (!arguments.prompts.empty()) wanted.context = arguments.prompts[0];
  return run_sweep(arguments.shape, find_shape(arguments.shape), settings, wanted);
}

BenchSource in_files(const std::string& path) {
  BenchSource source;
  source.path = path;
  return source;
}

BenchResult study(const BenchArguments& arguments, BenchSettings settings) {
  const BenchSource dense = in_files(arguments.models[0]);
  if (arguments.batches.empty()) settings.batches = {1};
  if (arguments.prompts.empty()) settings.prompts = {128};
  const std::vector<BenchSource> versions = study_versions(arguments.study, ModelFiles(dense.path).sha256());
  BenchResult result = run_quality(dense, versions, settings, {});
  result.study = arguments.study;
  return result;
}

// Every model with every policy. Made-up models have room for the longest text.
std::vector<BenchSource> with_policies(const BenchArguments& arguments, const std::vector<BenchSource>& models,
                                       const BenchSettings& settings) {
  const int64_t longest = *std::max_element(settings.prompts.begin(), settings.prompts.end());
  std::vector<BenchSource> sources;
  for (const BenchSource& model : models) {
    for (const std::string& policy : arguments.policies) {
      BenchSource& source = sources.emplace_back(model);
      source.kv = parse_kv_policy("--kv", policy);
      if (!source.random) continue;
      int64_t& context = source.random->config.context_length;
      context = std::max(context, longest + tokens_behind(source.kv, settings));
    }
  }
  return sources;
}

BenchResult measure(const BenchArguments& arguments, const BenchSettings& settings) {
  if (arguments.sweeps_sparsity) return sweep(arguments, settings);
  if (!arguments.study.empty()) return study(arguments, settings);
  std::vector<BenchSource> sources;
  for (const std::string& path : arguments.models) sources.push_back(in_files(path));
  if (!arguments.shape.empty())
    for (BenchSource& source : random_sources(arguments)) sources.push_back(std::move(source));
  if (!arguments.policies.empty()) sources = with_policies(arguments, sources, settings);
  return run_bench(sources, settings);
}

BenchResult measure_or_say(const BenchArguments& arguments, const BenchSettings& settings) {
  try {
    return measure(arguments, settings);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kInterrupted) throw;
    throw Error(ErrorKind::kInterrupted, "interrupted; a measurement is whole or not at all, nothing was written");
  }
}

}  // namespace

void add_bench_options(CLI::App& command, BenchArguments& arguments) {
  command.add_option("MODEL", arguments.models,
                     "Model directories, .gguf files, or Hub ids in the local cache; several take turns");
  command.add_option("--random", arguments.shape,
                     "Make weights of this shape up, in memory (tinyllama-1.1b, llama-7b)");
  command
      .add_option("--format", arguments.formats, "Of random weights: f32, f16, bf16, int2 to int8, gqsa; several, too")
      ->delimiter(',');
  command.add_option("--group", arguments.group, "Columns of one scale of random integers; 0: a row (default: 128)");
  command.add_option("--sparsity", arguments.sparsities, "Share of zeros of random weights, as 0.5; several, too")
      ->delimiter(',');
  command.add_option("--head", arguments.head,
                     "Format of the random head, or 'same' (default: bf16, beside floats their type)");
  command.add_option("--prompt", arguments.prompts, "Prompt lengths in tokens (default: 128,512,2048)")->delimiter(',');
  command.add_option("--batch", arguments.batches, "Sequences decoded at once (default: 1,2,4,8,16)")->delimiter(',');
  command.add_option("--tokens", arguments.tokens,
                     "Tokens of each sequence that are decoded in a round (default: 32, with --kv 64)");
  command.add_option("--rounds", arguments.rounds, "Rounds, of which medians are taken (default: 5)");
  command
      .add_option("--cache-type", arguments.cache_type, "Keys and values: float32, bfloat16 or int8 (default: float32)")
      ->check(CLI::IsMember({"float32", "bfloat16", "int8"}));
  add_precision_flags(command, arguments.precision);
  command
      .add_option("--kv", arguments.policies,
                  "Policy of the KV cache, NAME or NAME,key=value,...; several take turns: decoding, bytes, batches")
      ->allow_extra_args(false);
  command.add_option("--kernels", arguments.kernels,
                     "Instruction set: portable, avx2, avx512 or amx (default: the best that there is)");
  command.add_option("--kv-memory", arguments.kv_gib, "GiB of keys and values for the largest batches (default: 4)");
  command.add_flag("--sweep-sparsity", arguments.sweeps_sparsity,
                   "Speed-up by 40 to 90 % zeros for f32, bf16, int8 and int4, and of GQSA, on random weights");
  command.add_option("--study", arguments.study,
                     "A study's directory (with --keep-models): its versions of MODEL, speed beside divergence");
  command.add_option("-o,--output", arguments.output,
                     "FILE.json, or a directory for page (bench.html) and JSON (bench.json)");
  command.add_flag("--overwrite", arguments.overwrite, "Replace the directory that -o names");
  command.footer(
      "Examples:\n  ockham bench models/mini\n  ockham bench --random tinyllama-1.1b --format bf16,int8,int4 -o "
      "bench\n  "
      "ockham bench --random tinyllama-1.1b --format int4 --cache-type bfloat16 --kv full --kv gear --batch 1,16\n  "
      "ockham bench --random llama-7b --sweep-sparsity --format int8,int4 --rounds 3");
}

void run_bench_command(const BenchArguments& arguments, const BenchSurroundings& surroundings) {
  check_together(arguments);
  if (!arguments.kernels.empty()) set_target(find_target(arguments.kernels));
  const BenchSettings settings = settings_of(arguments, surroundings.threads);
  check_settings(settings);
  Destination destination(arguments.output, arguments.overwrite);
  const BenchResult result = measure_or_say(arguments, settings);
  const std::string written = destination.write(result);
  if (surroundings.json) {
    fmt::print("{}\n", bench_json(result).dump(1, ' ', false, Json::error_handler_t::replace));
  } else {
    fmt::print("{}", bench_text(result));
    if (!written.empty() && !surroundings.quiet) fmt::print("{}\n", written);
  }
}

}  // namespace ockham
