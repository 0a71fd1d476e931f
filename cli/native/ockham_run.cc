// `ockham-run`: a model's answers to one prompt, or a chat, on the native engine alone.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cli/native/bench_main.h"
#include "ockham/core/error.h"
#include "ockham/core/memory.h"
#include "ockham/core/parallel.h"
#include "ockham/core/progress.h"
#include "ockham/core/stopwatch.h"
#include "ockham/core/version.h"
#include "ockham/io/file.h"
#include "ockham/io/json.h"
#include "ockham/kernels/target.h"
#include "ockham/runtime/native_language_model.h"
#include "ockham/runtime/text_stream.h"

namespace ockham {
namespace {

struct Arguments {
  std::string model, prompt, system, cache_type = "float32";
  bool has_prompt = false, raw = false, exact = false, copy_weights = false, perf = false, json = false, quiet = false;
  int threads = 0;
  int64_t max_tokens = 256, cache_mib = 1024;
  SamplerSettings sampler;
  uint64_t seed = 0;
  std::vector<std::string> stop;
};

// What one answer came to.
struct Answer {
  std::string text;
  FinishReason reason = FinishReason::kLimit;
  int64_t prompt_tokens = 0, shared_tokens = 0, tokens = 0, truncated_tokens = 0;
  double first_s = 0, rest_s = 0;  // until the first token, and the others
};

class Conversation {
 public:
  explicit Conversation(const Arguments& arguments)
      : arguments_(arguments), model_(arguments.model, options_of(arguments)), scheduler_(model_.engine()) {
    if (!arguments.system.empty()) messages_.push_back({"system", arguments.system});
  }
  // Continues the text, or answers it as the next message of the chat; `show` gets pieces of the answer as they come.
  Answer ask(const std::string& text, const std::function<void(const std::string&)>& show);
  NativeLanguageModel& model() { return model_; }
  bool is_chat() const { return !arguments_.raw && model_.tokenizer().has_chat_template(); }

 private:
  static NativeLanguageModel::Options options_of(const Arguments& arguments);
  Prompt prompt_of(const std::string& text);
  GenerationRequest make_request(const Prompt& prompt, Answer& answer) const;

  const Arguments& arguments_;
  NativeLanguageModel model_;
  Scheduler scheduler_;
  std::vector<ChatMessage> messages_;
};

NativeLanguageModel::Options Conversation::options_of(const Arguments& arguments) {
  NativeLanguageModel::Options options;
  options.has_hash = false;
  options.copies_dense = arguments.copy_weights;
  options.engine.threads = arguments.threads;
  options.engine.is_exact = arguments.exact;
  options.engine.cache_bytes = arguments.cache_mib << 20;
  options.engine.cache_type = arguments.cache_type == "int8" ? DType::kI8 : *dtype_from_config(arguments.cache_type);
  return options;
}

Prompt Conversation::prompt_of(const std::string& text) {
  if (!is_chat()) return {text, false};
  messages_.push_back({"user", text});
  return model_.render(messages_, true);
}

GenerationRequest Conversation::make_request(const Prompt& prompt, Answer& answer) const {
  GenerateRequest wanted;
  wanted.prompt = prompt;
  wanted.max_tokens = std::min(arguments_.max_tokens, std::max<int64_t>(1, model_.info().context_length - 1));
  wanted.seed = arguments_.seed;
  GenerationRequest request = model_.make_request(wanted, 0, answer.truncated_tokens);
  request.sampler = arguments_.sampler;
  answer.prompt_tokens = static_cast<int64_t>(request.prompt.size());
  return request;
}

Answer Conversation::ask(const std::string& text, const std::function<void(const std::string&)>& show) {
  Answer answer;
  GenerationRequest request = make_request(prompt_of(text), answer);
  TextStream stream(model_.tokenizer(), request.prompt, arguments_.stop);
  const auto give = [&](const std::string& piece) {
    answer.text += piece;
    if (!piece.empty() && show) show(piece);
  };
  const Stopwatch watch;
  request.on_token = [&](const SampledToken& token) {
    if (answer.tokens++ == 0) answer.first_s = watch.seconds();
    give(stream.push(token.id));
    return !stream.has_stopped();
  };
  request.on_finish = [&](FinishReason reason, int64_t shared) {
    answer.reason = reason;
    answer.shared_tokens = shared;
  };
  scheduler_.add(std::move(request));
  while (scheduler_.step()) check_interrupt();
  give(stream.finish());
  answer.rest_s = watch.seconds() - answer.first_s;
  if (is_chat()) messages_.push_back({"assistant", answer.text});
  return answer;
}

std::string perf_text(const Answer& answer) {
  const int64_t computed = answer.prompt_tokens - answer.shared_tokens;
  const double rest = static_cast<double>(std::max<int64_t>(answer.tokens - 1, 0));
  return fmt::format("prompt {} tokens, {} of them in the cache, {:.1f} tokens/s; answer {} tokens, {:.2f} tokens/s",
                     answer.prompt_tokens, answer.shared_tokens,
                     answer.first_s > 0 ? static_cast<double>(computed) / answer.first_s : 0, answer.tokens,
                     answer.rest_s > 0 ? rest / answer.rest_s : 0);
}

std::string_view reason_name(FinishReason reason) {
  return reason == FinishReason::kEndToken ? "end" : reason == FinishReason::kStopped ? "stop" : "limit";
}

void print_json(const Answer& answer) {
  const Json json = {{"text", answer.text},
                     {"finish_reason", reason_name(answer.reason)},
                     {"prompt_tokens", answer.prompt_tokens},
                     {"shared_tokens", answer.shared_tokens},
                     {"truncated_tokens", answer.truncated_tokens},
                     {"tokens", answer.tokens},
                     {"seconds_to_first_token", answer.first_s},
                     {"seconds_for_the_rest", answer.rest_s}};
  fmt::print("{}\n", json.dump(1));
}

void check_text(const std::string& text, const char* where) {
  if (const size_t bad = find_invalid_utf8(text); bad != std::string::npos)
    throw_error(ErrorKind::kUsage, "{}: byte {} is not UTF-8; convert the text", where, bad);
}

void answer_once(Conversation& conversation, const Arguments& arguments, const std::string& text) {
  const auto show = [](const std::string& piece) {
    fmt::print("{}", piece);
    std::fflush(stdout);
  };
  const Answer answer = conversation.ask(text, arguments.json ? std::function<void(const std::string&)>() : show);
  if (arguments.json) {
    print_json(answer);
  } else {
    fmt::print("\n");
  }
  if (arguments.perf) fmt::print(stderr, "{}\n", perf_text(answer));
}

void chat(Conversation& conversation, const Arguments& arguments) {
  const bool is_terminal = isatty(STDIN_FILENO) == 1;
  if (is_terminal && !arguments.quiet) fmt::print(stderr, "A line is a message; an empty one or Ctrl-D ends.\n");
  std::string line;
  while (true) {
    if (is_terminal) fmt::print(stderr, "> ");
    if (!std::getline(std::cin, line) || (is_terminal && line.empty())) return;
    if (line.empty()) continue;
    check_text(line, "standard input");
    answer_once(conversation, arguments, line);
  }
}

void run(const Arguments& arguments) {
  check_text(arguments.prompt, "-p");
  set_log_sink([&](LogLevel level, std::string_view text) {
    if (!arguments.quiet && level != LogLevel::kDebug) fmt::print(stderr, "{}\n", text);
  });
  const Stopwatch watch;
  Conversation conversation(arguments);
  if (arguments.perf) {
    fmt::print(stderr, "{}: loaded in {:.2f} s, {} threads, {} kernels, {}\n", arguments.model, watch.seconds(),
               conversation.model().engine().threads().threads(), target_name(current_target()),
               conversation.model().info().arithmetic);
  }
  if (arguments.has_prompt) {
    answer_once(conversation, arguments, arguments.prompt);
  } else {
    chat(conversation, arguments);
  }
  if (arguments.perf)
    fmt::print(stderr, "peak memory {:.0f} MiB\n", static_cast<double>(peak_memory_bytes()) / (1 << 20));
}

void add_options(CLI::App& app, Arguments& arguments) {
  app.add_option("MODEL", arguments.model, "Model directory, .gguf file, or Hub id in the local cache")->required();
  app.add_option("-p,--prompt", arguments.prompt, "Answer this and end (default: a chat, line by line)");
  app.add_option("--system", arguments.system, "System text, where the model has a chat template");
  app.add_flag("--raw", arguments.raw, "Continue texts as they are, without the chat template");
  app.add_option("--max-tokens", arguments.max_tokens, "At most this many new tokens")->check(CLI::PositiveNumber);
  app.add_option("--temperature", arguments.sampler.temperature, "0: the most likely token")
      ->check(CLI::Range(0.0, 10.0));
  app.add_option("--top-k", arguments.sampler.top_k, "Sample from this many of the most likely tokens; 0: all")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--top-p", arguments.sampler.top_p, "Sample from the most likely tokens that hold this share")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--min-p", arguments.sampler.min_p, "Leave out tokens with less than this share of the best one's")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--repetition-penalty", arguments.sampler.repetition_penalty, "Above 1: repeat less")
      ->check(CLI::Range(0.1, 10.0));
  app.add_option("--seed", arguments.seed, "Seed of sampling");
  app.add_option("--stop", arguments.stop, "A text that ends the answer; may be given again");
  app.add_option("--threads", arguments.threads, "Threads (default: all cores)")->check(CLI::Range(0, 4096));
  app.add_option("--cache-type", arguments.cache_type,
                 "Keys and values: float32, bfloat16 (half the memory) or int8 (a quarter)")
      ->check(CLI::IsMember({"float32", "bfloat16", "int8"}));
  app.add_option("--cache-mib", arguments.cache_mib, "Memory for keys and values, in MiB")
      ->check(CLI::Range(1, 1 << 24));
  app.add_flag("--exact", arguments.exact,
               "Never round inputs of bfloat16 weights: slower prompts on processors with AMX");
  app.add_flag("--copy-weights", arguments.copy_weights,
               "Copy dense weights to memory of their own, on huge pages, instead of using them where they are mapped");
  app.add_flag("--perf", arguments.perf, "Say what it took, on the standard error output");
  app.add_flag("--json", arguments.json, "Print machine-readable JSON");
  app.add_flag("--quiet", arguments.quiet, "No notes");
}

int main_of(int argc, char** argv) {
  CLI::App app{"Run a language model: one answer, or a chat.", "ockham-run"};
  app.set_version_flag("--version", version());
  app.footer(
      "Example: ockham-run models/mini -p 'who is the mayor of Ardel?' --perf\n"
      "Exit codes: 0 done, 1 failed, 2 wrong usage or bad input.");
  Arguments arguments;
  add_options(app, arguments);
  try {
    app.parse(argc, argv);
    arguments.has_prompt = app.count("--prompt") > 0;
    set_thread_count(arguments.threads);
    run(arguments);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  } catch (const Error& error) {
    fmt::print(stderr, "ockham-run: {}\n", error.what());
    return exit_code(error.kind());
  } catch (const std::exception& error) {
    fmt::print(stderr, "ockham-run: {}\n", error.what());
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace ockham

int main(int argc, char** argv) {
  // A model of that name is ./bench.
  if (argc > 1 && std::string_view(argv[1]) == "bench") return ockham::bench_main(argc - 1, argv + 1);
  return ockham::main_of(argc, argv);
}
