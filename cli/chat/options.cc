#include "cli/chat/options.h"

#include "cli/kv_option.h"

namespace ockham {
namespace {

void add_sampling_options(CLI::App& app, ChatOptions& options) {
  SamplerSettings& sampler = options.sampler;
  app.add_option("--max-tokens", options.max_tokens, "At most this many new tokens")->check(CLI::PositiveNumber);
  app.add_option("--temperature", sampler.temperature, "0: the most likely token")->check(CLI::Range(0.0, 10.0));
  app.add_option("--top-k", sampler.top_k, "Sample from this many of the most likely tokens; 0: all")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--top-p", sampler.top_p, "Sample from the most likely tokens that hold this share")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--min-p", sampler.min_p, "Leave out tokens with less than this share of the best one's")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--repetition-penalty", sampler.repetition_penalty, "Above 1: repeat less")
      ->check(CLI::Range(0.1, 10.0));
  app.add_option("--seed", options.seed, "Seed of sampling");
  app.add_option("--stop", options.stop, "A text that ends the answer; may be given again")->allow_extra_args(false);
}

void add_constraint_options(CLI::App& app, ChatOptions& options) {
  CLI::Option* schema =
      app.add_option("--json-schema", options.json_schema, "Answer in JSON of this schema: a file, or {...} itself");
  CLI::Option* grammar = app.add_option("--grammar", options.grammar, "Answer in the language of this file, in GBNF");
  CLI::Option* object = app.add_flag("--json-object", options.json_object, "Answer with any JSON object");
  schema->excludes(grammar)->excludes(object);
  grammar->excludes(object);
}

}  // namespace

void add_chat_options(CLI::App& app, ChatOptions& options) {
  app.add_option("MODEL", options.model, "Model directory, .gguf file, or Hub id in the local cache")->required();
  app.add_option("-p,--prompt", options.prompt,
                 "Answer this and end (default: a chat on a terminal, else what is piped in)");
  app.add_option("--system", options.system, "System text, where the model has a chat template");
  app.add_flag("--raw", options.raw, "Continue texts as they are, without the chat template");
  add_sampling_options(app, options);
  add_constraint_options(app, options);
  app.add_option("--cache-type", options.cache_type,
                 "Keys and values: float32, bfloat16 (half the memory) or int8 (a quarter)")
      ->check(CLI::IsMember({"float32", "bfloat16", "int8"}));
  app.add_option("--cache-mib", options.cache_mib, "Memory for keys and values, in MiB")->check(CLI::Range(1, 1 << 24));
  add_kv_option(app, options.kv);
  add_precision_flags(app, options.precision);
  app.add_flag("--copy-weights", options.copy_weights,
               "Copy dense weights to memory of their own, on huge pages, instead of using them where they are mapped");
  app.add_flag("--packed-cache", options.packed_cache,
               "Keep the packed weights in a file beside the model's, to start faster the next time");
  app.add_option("--packed-cache-dir", options.packed_cache_dir, "The same, in this directory");
  app.add_flag("--perf", options.perf, "Say what it took, on the standard error output");
}

}  // namespace ockham
