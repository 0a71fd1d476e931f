// The table of claims.
#include <algorithm>

#include "ockham/core/error.h"
#include "ockham/core/params.h"
#include "ockham/study/recheck/claim.h"

namespace ockham {

std::string ruling_text(Ruling ruling) {
  return ruling == Ruling::kHolds ? "holds" : ruling == Ruling::kFails ? "fails" : "cannot tell";
}

int ruling_exit_code(Ruling ruling) {
  return ruling == Ruling::kHolds ? 0 : ruling == Ruling::kFails ? 3 : 4;
}

const std::vector<Claim>& claims() {
  static const std::vector<Claim> kTable = [] {
    std::vector<Claim> all;
    for (const auto& family : {bit_claims, draw_claims, knowledge_claims, structure_claims, trust_claims})
      for (Claim& claim : family()) all.push_back(std::move(claim));
    std::sort(all.begin(), all.end(), [](const Claim& a, const Claim& b) { return std::string(a.name) < b.name; });
    return all;
  }();
  return kTable;
}

const Claim& find_claim(const std::string& name) {
  std::vector<std::string> names;
  for (const Claim& claim : claims()) {
    if (claim.name == name) return claim;
    names.emplace_back(claim.name);
  }
  const std::string near = closest_name(name, names);
  throw_error(ErrorKind::kUsage, "recheck: claim '{}' does not exist, expected all or one of {}{}", name,
              fmt::join(names, ", "), near.empty() ? "" : "; did you mean '" + near + "'?");
}

}  // namespace ockham
