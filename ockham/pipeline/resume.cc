// The state of an interrupted run on disk.
#include "ockham/pipeline/resume.h"

#include <filesystem>
#include <map>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/io/file.h"
#include "ockham/io/safetensors.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kStateVersion = 2;
constexpr const char *kStateName = "state.json", *kLockName = "lock", *kGradientsName = "gradients.safetensors";

void write_tensors(const std::string& path, const std::vector<std::pair<std::string, Tensor>>& tensors) {
  std::vector<TensorInfo> infos;
  for (const auto& [name, tensor] : tensors)
    infos.push_back({name, to_dtype(tensor.scalar_type()), tensor.sizes().vec(), 0, 0});
  SafetensorsWriter writer(path, infos, {});
  for (const auto& [name, tensor] : tensors) {
    const Tensor flat = tensor.to(at::kCPU).contiguous();
    writer.append(name, {static_cast<const std::byte*>(flat.const_data_ptr()), flat.nbytes()});
  }
  writer.finish();
}

Tensor read_tensor(const SafetensorsFile& file, const TensorInfo& info) {
  Tensor result = at::empty(info.shape, to_scalar_type(info.dtype));
  file.copy(info, result.mutable_data_ptr());
  return result;
}

std::map<std::string, GradientStats> read_gradients(const std::string& path) {
  const SafetensorsFile file(path);
  std::map<std::string, GradientStats> result;
  for (const TensorInfo& info : file.tensors()) {
    const size_t dot = info.name.rfind('.');
    GradientStats& stats = result[info.name.substr(0, dot)];
    const std::string part = info.name.substr(dot + 1);
    (part == "rows"      ? stats.rows
     : part == "columns" ? stats.columns
     : part == "place"   ? stats.place
                         : stats.fisher) = read_tensor(file, info);
  }
  return result;
}

}  // namespace

ResumeState::ResumeState(const std::string& out) : directory_(out) {
  while (directory_.ends_with('/')) directory_.pop_back();
  directory_ += ".resume";
  std::error_code failure;
  const bool is_new = fs::create_directory(directory_, failure);
  const bool is_ours = is_new || fs::exists(path(kLockName), failure) || fs::is_empty(directory_, failure);
  if (!is_ours || !fs::is_directory(directory_, failure))
    throw_input("{}: is not what an interrupted run leaves, expected that or nothing; move it away", directory_);
  lock_ =
      std::make_unique<FileLock>(path(kLockName), ErrorKind::kInput,
                                 "another process is writing this output; wait for it, or choose another directory");
  is_kept_ = fs::exists(path(kStateName), failure);
  fs::create_directory(output(), failure);
}

ResumeState::~ResumeState() {
  std::error_code ignored;
  if (!is_kept_) fs::remove_all(directory_, ignored);
}

void ResumeState::set_conditions(Json conditions) {
  conditions_ = std::move(conditions);
  conditions_["version of the state"] = kStateVersion;
}

void ResumeState::move_output(const std::string& target) {
  std::error_code failure;
  fs::rename(output(), target, failure);
  if (failure)
    throw_error(ErrorKind::kResource, "{}: cannot be moved to {}: {}; check the permissions", output(), target,
                failure.message());
}

bool ResumeState::load(const std::function<void(const Json&)>& restore) {
  if (!fs::exists(path(kStateName))) {
    discard("");  // of a run that finished nothing
    return true;
  }
  bool is_called = false;
  const auto refuse = [&](const std::string& why) {
    discard("cannot be used (" + why + ")");
    return !is_called;
  };
  try {
    const Json file = read_json_file(path(kStateName));
    const Json& state = file.at("run");
    if (file.at("sha256") != sha256_text(state.dump()))
      throw_input("{}: the text has another hash than it says", path(kStateName));
    for (const auto& [name, value] : conditions_.items()) {
      if (state.at("conditions").value(name, Json()) == value) continue;
      discard("belongs to a run with another " + name);
      return true;
    }
    is_called = true;
    restore(state);
    return true;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kInput) throw;
    return refuse(error.what());
  } catch (const Json::exception& error) {
    return refuse(error.what());
  } catch (const fs::filesystem_error& error) {
    return refuse(error.what());
  }
}

void ResumeState::discard(const std::string& reason) {
  if (!reason.empty()) log_warning(fmt::format("{}: {}; starting over", directory_, reason));
  std::vector<fs::path> found;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory_))
    if (entry.path().filename() != kLockName) found.push_back(entry.path());
  for (const fs::path& entry : found) fs::remove_all(entry);
  fs::create_directory(output());
  is_kept_ = false;
  has_gradients_ = false;
}

ResumePoint ResumeState::restore(const Json& state, BlockRun& run) {
  const ResumePoint point{run.needs_gradients(), state.at("allocated").get<bool>(), state.at("next").get<int64_t>()};
  std::vector<Tensor> inputs;
  if (point.next > 0 && run.needs_inputs(point.next)) {
    const SafetensorsFile file(path(state.at("hidden").get<std::string>()));
    if (file.tensors().empty()) throw_input("{}: holds no tensors, expected 1 or more", file.path());
    for (const TensorInfo& info : file.tensors()) inputs.push_back(read_tensor(file, info));
  }
  std::map<std::string, GradientStats> gradients;
  if (point.has_gradients) gradients = read_gradients(path(kGradientsName));
  run.restore(state.at("run"), inputs, std::move(gradients));
  has_gradients_ = point.has_gradients;
  return point;
}

void ResumeState::commit(const BlockRun& run, bool has_allocated) {
  if (run.needs_gradients() && !has_gradients_) {
    std::vector<std::pair<std::string, Tensor>> tensors;
    for (const auto& [name, stats] : run.gradients()) {
      tensors.emplace_back(name + ".rows", stats.rows);
      tensors.emplace_back(name + ".columns", stats.columns);
      tensors.emplace_back(name + ".fisher", stats.fisher);
      tensors.emplace_back(name + ".place", stats.place);
    }
    write_tensors(path(kGradientsName), tensors);
    has_gradients_ = true;
  }
  write({{"run", run.record()}, {"allocated", has_allocated}, {"next", 0}});
}

void ResumeState::commit(const BlockRun& run, CheckpointWriter& writer, int64_t next) {
  Json state = {{"run", run.record()}, {"allocated", true}, {"next", next}};
  const std::string name = fmt::format("hidden-{}.safetensors", next);
  if (run.needs_inputs(next)) {
    std::vector<std::pair<std::string, Tensor>> inputs;
    for (const Tensor& hidden : run.inputs()) inputs.emplace_back(fmt::format("text-{}", inputs.size()), hidden);
    write_tensors(path(name), inputs);
    state["hidden"] = name;
  }
  state["writer"] = writer.record();
  write(std::move(state));
  writer.release();
  std::vector<fs::path> old;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory_)) {
    const std::string found = entry.path().filename().string();
    const bool is_named = found == name && run.needs_inputs(next);
    if ((found.starts_with("hidden-") && !is_named) || found.find(".tmp-") != std::string::npos)
      old.push_back(entry.path());
  }
  for (const fs::path& file : old) fs::remove(file);
}

void ResumeState::write(Json state) {
  state["conditions"] = conditions_;
  const std::string sha256 = sha256_text(state.dump());
  const Json file = {{"sha256", sha256}, {"run", std::move(state)}};
  write_file_atomically(path(kStateName), file.dump());
  is_kept_ = true;
}

}  // namespace ockham
