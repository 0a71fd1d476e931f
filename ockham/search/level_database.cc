#include "ockham/search/level_database.h"

#include <algorithm>
#include <filesystem>

#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/core/stopwatch.h"
#include "ockham/io/file.h"
#include "ockham/model/packed.h"
#include "ockham/search/level_builder.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

namespace fs = std::filesystem;

constexpr int kDatabaseVersion = 1;

std::string database_path(const std::string& directory) {
  return directory + "/database.json";
}

Json conditions_of(const Checkpoint& checkpoint, const std::vector<LevelUnit>& units, const LevelSet& levels,
                   const Calibration& calibration) {
  const Tensor ids = calibration.ids.contiguous();
  std::string names;
  for (const LevelUnit& unit : units) names += unit.name + "\n";
  return {{"version", kDatabaseVersion},
          {"model", checkpoint.sha256()},
          {"calibration", sha256_text({static_cast<const char*>(ids.const_data_ptr()), ids.nbytes()})},
          {"units", sha256_text(names)},
          {"levels", levels.text()}};
}

std::string remedy(const std::string& directory) {
  return fmt::format("name another directory with --database, or delete {} to have it made again", directory);
}

}  // namespace

std::string LevelDatabase::unit_path(size_t unit) const {
  return fmt::format("{}/units/{}.safetensors", directory_, units_[unit].name);
}

void LevelDatabase::check_conditions() const {
  const std::string path = database_path(directory_);
  const Json found = read_json_file(path);
  if (!found.is_object()) throw_input("{}: found no object, expected a level database; {}", path, remedy(directory_));
  for (const auto& [key, expected] : conditions_.items()) {
    const Json value = found.contains(key) ? found.at(key) : Json();
    if (value == expected) continue;
    throw_input("{}: key '{}' is {}, expected {}: the database was made of another {}; {}", path, key, value.dump(),
                expected.dump(),
                key == "model"         ? "model"
                : key == "calibration" ? "calibration text"
                                       : key,
                remedy(directory_));
  }
}

std::map<std::string, std::string> LevelDatabase::read_journal() const {
  std::map<std::string, std::string> done;
  for (const auto& entry : fs::directory_iterator(directory_)) {
    const std::string path = entry.path().string();
    if (!entry.path().filename().string().starts_with("journal") || entry.path().extension() != ".jsonl") continue;
    const std::string text = read_file(path);
    size_t begin = 0, number = 0;
    // What a kill cut off has no line end.
    for (size_t end = text.find('\n'); end != std::string::npos; end = text.find('\n', begin)) {
      const std::string where = fmt::format("{}: line {}", path, ++number);
      const Json line = parse_json(text.substr(begin, end - begin), where);
      done[json_text(line, "unit", where)] = json_text(line, "sha256", where);
      begin = end + 1;
    }
  }
  return done;
}

LevelDatabase::LevelDatabase(const Checkpoint& checkpoint, std::vector<LevelUnit> units, const LevelSet& levels,
                             const Options& options)
    : directory_(options.directory), units_(std::move(units)), set_(levels) {
  const Calibration calibration =
      draw_calibration(options.calibration, checkpoint.config(), checkpoint.directory(), options.text_source);
  for (const std::string& warning : calibration.warnings) log_warning(warning);
  conditions_ = conditions_of(checkpoint, units_, levels, calibration);
  fs::create_directories(directory_ + "/units");
  if (fs::exists(database_path(directory_)))
    check_conditions();
  else  // of several ranks all write the same
    write_file_atomically(database_path(directory_), conditions_.dump(1) + "\n");
  std::map<std::string, std::string> done = read_journal();
  const bool is_complete =
      std::all_of(units_.begin(), units_.end(), [&](const LevelUnit& unit) { return done.contains(unit.name); });
  if (!is_complete) {
    const Stopwatch watch;
    build_levels({checkpoint, units_, set_, calibration.ids, directory_, done, options.share, options.shares});
    seconds_ = watch.seconds();
    done = read_journal();
  }
  if (options.shares > 1) return;  // the others are still at work
  open();
}

void LevelDatabase::open() {
  const std::map<std::string, std::string> done = read_journal();
  for (size_t u = 0; u < units_.size(); ++u) {
    const std::string path = unit_path(u);
    const auto found = done.find(units_[u].name);
    if (found == done.end() || !fs::exists(path))
      throw_input("{}: is missing, expected one file for each of {} units; {}", path, units_.size(),
                  remedy(directory_));
    if (const std::string hash = sha256_file(path); hash != found->second)
      throw_input("{}: has SHA-256 {}, expected {} as journal.jsonl says: the file is damaged; {}", path, hash,
                  found->second, remedy(directory_));
    files_.push_back(std::make_unique<SafetensorsFile>(path));
    bytes_ += static_cast<int64_t>(fs::file_size(path));
    const auto entry = files_.back()->metadata().find("levels");
    if (entry == files_.back()->metadata().end())
      throw_input("{}: key 'levels' is missing, expected the facts of every level; {}", path, remedy(directory_));
    const Json stored = parse_json(entry->second, path);
    const std::vector<Level> levels = set_.of(units_[u]);
    if (stored.size() != levels.size())
      throw_input("{}: holds {} levels, expected {}; {}", path, stored.size(), levels.size(), remedy(directory_));
    facts_.emplace_back();
    records_.emplace_back();
    for (size_t l = 0; l < levels.size(); ++l) {
      LevelFacts facts;
      facts.level = levels[l];
      facts.bytes = json_integer(stored[l], "bytes", path);
      facts.code_bits = json_integer(stored[l], "code_bits", path);
      facts.kept = json_integer(stored[l], "kept", path);
      facts.error = json_real(stored[l], "error", path);
      facts_.back().push_back(std::move(facts));
      records_.back().push_back(stored[l].at("records"));
    }
  }
}

Weight LevelDatabase::read(size_t unit, size_t level, size_t place) const {
  const SafetensorsFile& file = *files_[unit];
  const std::string prefix = level_prefix(level, place);
  const auto tensor_of = [&](const std::string& name) {
    const TensorInfo* info = file.find(name);
    if (info == nullptr) throw_input("{}: tensor '{}' is missing; {}", file.path(), name, remedy(directory_));
    Tensor tensor = at::empty(info->shape, to_scalar_type(info->dtype));
    file.copy(*info, tensor.mutable_data_ptr());
    return tensor;
  };
  const Json& record = records_[unit][level].at(place);
  if (record.is_null()) return DenseWeight{tensor_of(prefix + ".weight")};
  return unpack_weight(record, file.path(), [&](const PackedPart& part) {
    Tensor tensor = tensor_of(prefix + part.suffix);
    bool is_alike = tensor.dim() == static_cast<int64_t>(part.shape.size());
    for (size_t i = 0; is_alike && i < part.shape.size(); ++i)
      is_alike = part.shape[i] < 0 || part.shape[i] == tensor.size(static_cast<int64_t>(i));
    if (!is_alike || (tensor.scalar_type() == at::kByte) != part.is_bytes)
      throw_input("{}: tensor '{}' has another shape or type than its record says; {}", file.path(),
                  prefix + part.suffix, remedy(directory_));
    return tensor;
  });
}

}  // namespace ockham
