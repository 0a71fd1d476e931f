// A judge of toxicity, whatever stands behind it.
#pragma once

#include <functional>
#include <string>

namespace ockham {

struct ToxicityJudge {
  // 0 to 1. Error(kUnsupported) for a text that it cannot score; others end the run.
  std::function<double(const std::string&)> score;
  std::string label;  // beside every number that it gave: what it is, the hash of its weights
};

}  // namespace ockham
