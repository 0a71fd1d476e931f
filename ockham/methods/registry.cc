// The one list of methods. Adding a method: its .cc file and its line here.
#include "ockham/core/error.h"
#include "ockham/methods/method.h"

#define OCKHAM_METHODS(X) \
  X(asvd)                 \
  X(awq)                  \
  X(drop)                 \
  X(dsnot)                \
  X(eora)                 \
  X(error_dp)             \
  X(fp8)                  \
  X(fwsvd)                \
  X(gptq)                 \
  X(gqsa)                 \
  X(llm_int8)             \
  X(llm_pruner)           \
  X(magnitude)            \
  X(matryoshka)           \
  X(mixllm)               \
  X(obd)                  \
  X(obs)                  \
  X(owl)                  \
  X(plant_outliers)       \
  X(random)               \
  X(rtn)                  \
  X(smoothquant)          \
  X(sparsegpt)            \
  X(svd)                  \
  X(ternary)              \
  X(uniform)              \
  X(wanda)                \
  X(wanda_difference)

namespace ockham {

#define OCKHAM_DECLARE(name) const MethodEntry& name##_entry();
OCKHAM_METHODS(OCKHAM_DECLARE)
#undef OCKHAM_DECLARE

const std::vector<const MethodEntry*>& methods() {
#define OCKHAM_LIST(name) &name##_entry(),
  static const std::vector<const MethodEntry*> list = {OCKHAM_METHODS(OCKHAM_LIST)};
#undef OCKHAM_LIST
  return list;
}

const MethodEntry& find_method(const std::string& name, const std::string& where) {
  std::vector<std::string> known;
  for (const MethodEntry* entry : methods()) {
    if (entry->name == name) return *entry;
    known.push_back(entry->name);
  }
  const std::string nearest = closest_name(name, known);
  std::string list;
  for (const std::string& each : known) list += (list.empty() ? "" : ", ") + each;
  throw_input("{}: method '{}' does not exist, expected one of {}{}", where, name, list,
              nearest.empty() ? "" : "; did you mean '" + nearest + "'?");
}

void Method::check(const std::string&, int64_t, int64_t) const {}

}  // namespace ockham
