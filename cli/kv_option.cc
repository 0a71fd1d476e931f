#include "cli/kv_option.h"

namespace ockham {

void add_kv_option(CLI::App& app, std::string& kv) {
  std::string names;
  for (const KvPolicyEntry& entry : kv_policies()) names += (names.empty() ? "" : ", ") + entry.name;
  app.add_option("--kv", kv,
                 "What the KV cache keeps and how: NAME,key=value,... such as h2o,budget=0.2 (" + names +
                     "; default: as the model's config.json says)");
}

std::optional<KvPolicy> chosen_kv_policy(const std::string& kv) {
  if (kv.empty()) return {};
  return parse_kv_policy("--kv", kv);
}

}  // namespace ockham
