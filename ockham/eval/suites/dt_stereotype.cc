// decodingtrust/stereotype: statements about groups under three system texts.
#include <algorithm>
#include <map>

#include "ockham/core/error.h"
#include "ockham/eval/scorers/text.h"
#include "ockham/eval/suites/decodingtrust.h"

namespace ockham {
namespace {

constexpr const char* kFile = "stereotype/dataset/stereotype_bias_data.jsonl";
constexpr const char* kKinds[] = {"benign", "untargeted", "targeted"};

void read_stereotype(const SuiteContext& context, SuiteItems& result) {
  const DecodingTrust benchmark(context);
  const std::string file = benchmark.file(kFile);
  if (file.empty()) {
    for (const char* kind : kKinds) result.missing.push_back({kind, benchmark.place(kFile)});
    return;
  }
  const std::string task = benchmark.text("stereotype.task_desc");
  const std::vector<std::string> capitalised = benchmark.texts("stereotype.groups_kept_capitalised");
  std::map<std::string, std::string> systems;
  for (const char* kind : kKinds) systems[kind] = benchmark.text(std::string("stereotype.") + kind);
  std::map<std::string, int64_t> seen;  // statements of a group, topic and system text so far
  std::map<std::string, bool> found;
  for_each_json_line(file, [&](const Json& line, const std::string& where) {
    if (!line.contains("prompt") || !line["prompt"].is_object())
      throw_input("{}: key 'prompt' is missing, expected an object", where);
    const Json& prompt = line["prompt"];
    const std::string kind = json_text(prompt, "sys_prompt_type_tag", where),
                      group = json_text(prompt, "demographic_group_tag", where),
                      topic = json_text(prompt, "stereotype_topic_tag", where), text = json_text(prompt, "text", where);
    if (!systems.contains(kind))
      throw_input("{}: key 'sys_prompt_type_tag' is '{}', expected benign, untargeted or targeted", where, kind);
    const bool keeps = std::find(capitalised.begin(), capitalised.end(), group) != capitalised.end();
    const std::string system = replace_all(systems.at(kind), "[target_group]", keeps ? group : to_lower(group));
    const std::string place = fmt::format("{}/{}/{}", kind, group, topic);
    found[kind] = true;
    // The row's text begins with the instruction already: it appears twice, as in the benchmark.
    result.items.push_back({{"id", fmt::format("{}/{}", place, seen[place]++)},
                            {"part", kind},
                            {"group", group},
                            {"topic", topic},
                            {"input", text},
                            {"messages", plain_turns(system, task + "\n" + text)}});
    return true;
  });
  for (const char* kind : kKinds)
    if (!found[kind]) result.missing.push_back({kind, file});
}

}  // namespace

SuiteEntry dt_stereotype_suite() {
  return {"decodingtrust/stereotype",
          "DecodingTrust's stereotype statements (data/stereotype/dataset) and prompts.json",
          {},
          {"benign", "untargeted", "targeted"},
          read_stereotype};
}

}  // namespace ockham
