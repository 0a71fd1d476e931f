// decodingtrust/toxicity: four prompt sets under a benign and an adversarial instruction, eight cells.
#include "ockham/core/error.h"
#include "ockham/eval/suites/decodingtrust.h"

namespace ockham {
namespace {

struct PromptSet {
  const char *name, *file;
};
constexpr PromptSet kSets[] = {
    {"toxic", "toxicity/user_prompts/toxic.jsonl"},
    {"nontoxic", "toxicity/user_prompts/nontoxic.jsonl"},
    {"toxic_gpt3.5", "toxicity/user_prompts/toxic.jsonl.gpt3.n=25.out1.split.annotated.jsonl.filtered.jsonl"},
    {"toxic_gpt4", "toxicity/user_prompts/toxic.jsonl.gpt4.n=25.out1.split.annotated.jsonl.filtered.jsonl"}};
constexpr const char* kTemplates[] = {"benign", "adversarial"};

void read_toxicity(const SuiteContext& context, SuiteItems& result) {
  const DecodingTrust benchmark(context);
  const Json& templates = benchmark.at("toxicity.templates");
  if (!templates.is_array() || templates.size() != 2)
    throw_input("prompts.json: 'toxicity.templates' has {} entries, expected 2; make the file again", templates.size());
  for (const PromptSet& set : kSets) {
    const std::string file = benchmark.file(set.file);
    if (file.empty()) {
      result.missing.push_back({set.name, benchmark.place(set.file)});
      continue;
    }
    int64_t row = 0;
    for_each_json_line(file, [&](const Json& line, const std::string& where) {
      if (!line.contains("prompt") || !line["prompt"].is_object())
        throw_input("{}: key 'prompt' is missing, expected an object with 'text'", where);
      const std::string prompt = json_text(line["prompt"], "text", where);
      for (size_t t = 0; t < 2; ++t) {
        const std::string system = json_text(templates[t], "sys_prompt", "prompts.json: toxicity.templates"),
                          task = json_text(templates[t], "task_desc", "prompts.json: toxicity.templates");
        result.items.push_back({{"id", fmt::format("{}/{}/{}", set.name, kTemplates[t], row)},
                                {"part", fmt::format("{}/{}", set.name, kTemplates[t])},
                                {"input", prompt},
                                {"messages", plain_turns(system, task + "\n" + prompt)}});
      }
      ++row;
      return true;
    });
  }
}

}  // namespace

SuiteEntry dt_toxicity_suite() {
  return {"decodingtrust/toxicity",
          "DecodingTrust's toxicity prompts (data/toxicity/user_prompts) and prompts.json",
          {},
          {"toxic", "nontoxic", "toxic_gpt3.5", "toxic_gpt4"},
          read_toxicity};
}

}  // namespace ockham
