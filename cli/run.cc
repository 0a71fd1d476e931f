// `ockham run`: one prompt, one answer.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <iterator>
#include <memory>

#include "cli/commands.h"
#include "cli/local_model.h"
#include "ockham/core/error.h"
#include "ockham/io/file.h"
#include "ockham/io/json.h"

namespace ockham {
namespace {

struct RunArguments {
  std::string model, prompt, system;
  LocalModelOptions how;
  bool has_prompt = false, raw = false;
  GenerateRequest request;
};

std::string read_standard_input() {
  if (isatty(STDIN_FILENO) == 1) throw_error(ErrorKind::kUsage, "no prompt; pass -p TEXT or pipe a text in");
  std::string text;
  char buffer[4096];
  while (const size_t count = std::fread(buffer, 1, sizeof buffer, stdin)) text.append(buffer, count);
  if (const size_t bad = find_invalid_utf8(text); bad != std::string::npos)
    throw_input("standard input: byte {} is not UTF-8; convert the text", bad);
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

void run_prompt(RunArguments arguments) {
  if (!arguments.has_prompt) arguments.prompt = read_standard_input();
  if (const size_t bad = find_invalid_utf8(arguments.prompt); bad != std::string::npos)
    throw_error(ErrorKind::kUsage, "-p: byte {} is not UTF-8; convert the text", bad);
  const LocalModel opened = open_local_model(arguments.model, arguments.how);
  LanguageModel& model = *opened.model;
  GenerateRequest request = arguments.request;
  const bool is_chat = !arguments.raw && opened.tokenizer->has_chat_template();
  if (is_chat) {
    std::vector<ChatMessage> messages;
    if (!arguments.system.empty()) messages.push_back({"system", arguments.system});
    messages.push_back({"user", arguments.prompt});
    request.prompt = model.render(messages, true);
  } else {
    request.prompt = {arguments.prompt, false};
  }
  request.max_tokens = std::min(request.max_tokens, std::max<int64_t>(1, model.info().context_length - 1));
  const GenerateAnswer answer = model.generate(std::span(&request, 1))[0];
  if (global_options().json) {
    const Json json = {{"prompt", request.prompt.text},
                       {"text", answer.texts[0]},
                       {"hit_limit", bool{answer.hit_limit[0]}},
                       {"truncated_tokens", answer.truncated_tokens}};
    fmt::print("{}\n", json.dump(1));
  } else {
    fmt::print("{}\n", answer.texts[0]);
  }
}

}  // namespace

void add_run_command(CLI::App& app) {
  auto arguments = std::make_shared<RunArguments>();
  arguments->request.max_tokens = 256;
  CLI::App* command = app.add_subcommand("run", "Generate an answer to one prompt");
  command->add_option("MODEL", arguments->model, "Model directory or Hub id in the local cache")->required();
  CLI::Option* prompt = command->add_option("-p,--prompt", arguments->prompt, "The prompt (default: standard input)");
  command->add_option("--system", arguments->system, "System text, where the model has a chat template");
  command->add_flag("--raw", arguments->raw, "Continue the text as it is, without the chat template");
  command->add_option("--max-tokens", arguments->request.max_tokens, "At most this many new tokens")
      ->check(CLI::PositiveNumber);
  command->add_option("--temperature", arguments->request.temperature, "0: the most likely token")
      ->check(CLI::Range(0.0, 10.0));
  command->add_option("--top-p", arguments->request.top_p, "Sample from the most likely tokens that hold this share")
      ->check(CLI::Range(0.0, 1.0));
  command->add_option("--seed", arguments->request.seed, "Seed of sampling");
  command->add_option("--stop", arguments->request.stop, "Texts that end the answer")->delimiter(',');
  add_local_model_options(*command, arguments->how);
  command->footer(
      "Examples:\n  ockham run models/mini -p 'who is the mayor of Ardel?'\n  echo 'Once upon a time' | ockham run "
      "MODEL --raw --temperature 0.8 --seed 1");
  command->callback([arguments, prompt] {
    arguments->has_prompt = prompt->count() > 0;
    run_prompt(*arguments);
  });
}

}  // namespace ockham
