// From a claim to a study, its results, and a ruling.
#include "ockham/study/recheck/run_recheck.h"

#include <filesystem>

#include "ockham/core/error.h"
#include "ockham/io/file.h"
#include "ockham/report/format.h"
#include "ockham/study/store.h"

namespace ockham {
namespace {

// Both sides of calib-count differ in the amount of calibration text only; brittleness weighs two texts of its own.
std::string calibration_of(const VersionSpec& version, const RecheckRequest& request) {
  const std::string& data = request.calibration;
  if (version.name.starts_with("difference-"))
    return fmt::format(
        ", calibration: {{data: \"{}\", samples: 32, tokens: 512}}, contrast: {{data: \"{}\", samples: 32, tokens: "
        "512}}",
        request.refusal_text, request.utility_text);
  const bool is_few = version.name.ends_with("-few"), is_many = version.name.ends_with("-many");
  if (!is_few && !is_many) return "";
  return fmt::format(", calibration: {{data: \"{}\", samples: {}, tokens: 512}}", data, is_few ? 4 : 64);
}

}  // namespace

std::string recheck_study(const Claim& claim, const RecheckRequest& request) {
  std::string text =
      fmt::format("title: \"recheck {}\"\nmodels:\n  - {{name: model, path: \"{}\"}}\n", claim.name, request.model);
  if (!request.rival.empty())
    text += fmt::format("  - {{name: rival, path: \"{}\", recipes: [dense]}}\n", request.rival);
  text += "recipes:\n  - dense\n";
  for (const VersionSpec& version : claim.versions(request.settings)) {
    text += fmt::format("  - {{name: {}, use: {}{}{}}}\n", version.name, version.use,
                        version.params.empty() ? "" : ", params: " + version.params, calibration_of(version, request));
  }
  text += fmt::format("calibration: {{data: \"{}\", samples: 32, tokens: 512}}\nseeds: [", request.calibration);
  const int64_t draws = request.draws > 0 ? request.draws : claim.draws;
  for (int64_t draw = 0; draw < draws; ++draw) text += (draw > 0 ? ", " : "") + std::to_string(draw);
  text += "]\ntasks:\n";
  for (const std::string& task : request.tasks.empty() ? claim.tasks : request.tasks) text += "  - \"" + task + "\"\n";
  return text + "baseline: dense\ntier: quick\n";
}

Comparison measure_claim(const Claim& claim, const RecheckRequest& request, const StudyOptions& options,
                         StudyBackend& backend) {
  if (claim.needs_rival && request.rival.empty())
    throw_error(ErrorKind::kUsage, "recheck {}: the claim is about two models; name the smaller one with --rival",
                claim.name);
  std::filesystem::create_directories(options.directory);
  const std::string file = options.directory + "/" + claim.name + ".yaml";
  write_file_atomically(file, recheck_study(claim, request));
  const Study study = read_study(file, options, backend);
  run_study(study, options, backend);
  return summarize(read_results(options.directory));
}

Recheck run_recheck(const Claim& claim, const RecheckRequest& request, const StudyOptions& options,
                    StudyBackend& backend) {
  Recheck result = claim.judge(measure_claim(claim, request, options, backend), request.settings);
  if (result.evidence.empty())
    result.evidence =
        "The measured versions do not hold what the rule needs (a dimension without data, or dense at chance).";
  return result;
}

}  // namespace ockham
