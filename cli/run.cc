// `ockham run`: one prompt and its answer, or a chat, on the native engine where it can.
#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "cli/chat/chat.h"
#include "cli/commands.h"
#include "cli/local_model.h"
#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/io/json.h"

namespace ockham {
namespace {

struct RunArguments {
  ChatOptions chat;
  LocalModelOptions how;
};

// What libtorch cannot do, or "".
std::string native_only(const ChatOptions& options) {
  if (options.is_constrained()) return "--json-schema, --json-object and --grammar";
  if (options.sampler.top_k > 0 || options.sampler.min_p > 0 || options.sampler.repetition_penalty != 1)
    return "--top-k, --min-p and --repetition-penalty";
  return is_interactive(options) ? "a chat" : "";
}

// Why libtorch is asked for without being named, or "".
std::string libtorch_only(const LocalModelOptions& how) {
  if (global_options().device != "cpu") return "--device " + global_options().device;
  return how.dtype.empty() ? "" : "--dtype";
}

void run_libtorch(const RunArguments& arguments) {
  const ChatOptions& chat = arguments.chat;
  if (const std::string what = native_only(chat); !what.empty())
    throw_error(ErrorKind::kUsage, "libtorch cannot do this: {}; use --engine native without --device and --dtype",
                what);
  const std::string text = chat.has_prompt ? chat.prompt : read_standard_input();
  LocalModelOptions how = arguments.how;
  how.engine = "libtorch";
  how.kv = chat.kv;
  const LocalModel opened = open_local_model(chat.model, how);
  LanguageModel& model = *opened.model;
  GenerateRequest request;
  request.temperature = chat.sampler.temperature;
  request.top_p = chat.sampler.top_p;
  request.seed = chat.seed;
  request.stop = chat.stop;
  request.max_tokens = std::min(chat.max_tokens, std::max<int64_t>(1, model.info().context_length - 1));
  if (!chat.raw && opened.tokenizer->has_chat_template()) {
    std::vector<ChatMessage> messages;
    if (!chat.system.empty()) messages.push_back({"system", chat.system});
    messages.push_back({"user", text});
    request.prompt = model.render(messages, true);
  } else {
    request.prompt = {text, false};
  }
  const GenerateAnswer answer = model.generate(std::span(&request, 1))[0];
  if (!chat.json) {
    fmt::print("{}\n", answer.texts[0]);
    return;
  }
  const Json json = {{"prompt", request.prompt.text},
                     {"text", answer.texts[0]},
                     {"hit_limit", bool{answer.hit_limit[0]}},
                     {"truncated_tokens", answer.truncated_tokens}};
  fmt::print("{}\n", json.dump(1));
}

// The model where the native engine can open it; null, with a note, where only libtorch can.
std::unique_ptr<Conversation> open_native(const RunArguments& arguments) {
  const bool must = arguments.how.engine == "native";
  const std::string reason = libtorch_only(arguments.how);
  if (must && !reason.empty())
    throw_error(ErrorKind::kUsage, "{} is for libtorch; with --engine native leave it out", reason);
  if (!reason.empty()) {
    log_info(reason + " is for libtorch, which answers");
    return nullptr;
  }
  try {
    return std::make_unique<Conversation>(arguments.chat);
  } catch (const Error& error) {
    if (must || error.kind() != ErrorKind::kUnsupported || !native_only(arguments.chat).empty()) throw;
    log_info(fmt::format("the native engine cannot read this model: {}; libtorch answers", error.what()));
    return nullptr;
  }
}

void run(RunArguments& arguments) {
  ChatOptions& chat = arguments.chat;
  chat.threads = global_options().threads;
  chat.json = global_options().json;
  chat.quiet = global_options().quiet;
  check_utf8(chat.prompt, "-p");
  check_utf8(chat.system, "--system");
  if (arguments.how.engine != "libtorch") {
    if (const std::unique_ptr<Conversation> conversation = open_native(arguments)) return run_chat(*conversation, chat);
  }
  run_libtorch(arguments);
}

}  // namespace

void add_run_command(CLI::App& app) {
  auto arguments = std::make_shared<RunArguments>();
  CLI::App* command = app.add_subcommand("run", "Answer one prompt, or chat");
  add_chat_options(*command, arguments->chat);
  add_local_model_options(*command, arguments->how);
  arguments->how.engine.clear();
  command->get_option("--engine")->default_str("native where it can");
  command->footer(
      "Examples:\n  ockham run models/mini\n  ockham run models/mini -p 'who is the mayor of Ardel?' --perf\n  echo "
      "'Once "
      "upon a time' | ockham run MODEL --raw --temperature 0.8 --seed 1");
  command->callback([arguments, command] {
    arguments->chat.has_prompt = command->count("--prompt") > 0;
    run(*arguments);
  });
}

}  // namespace ockham
