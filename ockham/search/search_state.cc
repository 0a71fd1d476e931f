#include "ockham/search/search_state.h"

#include <filesystem>

#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/io/file.h"

namespace ockham {

namespace fs = std::filesystem;

SearchState::SearchState(const std::string& out, Json conditions, bool restart) : directory_(out + ".search") {
  fs::create_directories(directory_);
  lock_ = std::make_unique<FileLock>(path("lock"), ErrorKind::kInput,
                                     "another process searches for this output; wait for it, or name another one");
  const std::string file = path("state.json");
  if (!restart && fs::exists(file)) {
    try {
      Json found = read_json_file(file);
      if (found.is_object() && found.contains("conditions") && found.at("conditions") == conditions) {
        state_ = std::move(found);
        log_info(fmt::format("{}: going on with an interrupted search", out));
        return;
      }
      for (const auto& [key, value] : conditions.items())
        if (!found.is_object() || !found.contains("conditions") || found.at("conditions").value(key, Json()) != value) {
          log_warning(fmt::format("{}: key '{}' is another than in the search that left it; starting over", file, key));
          break;
        }
    } catch (const Error& error) {
      log_warning(fmt::format("{}; starting over", error.what()));
    }
  }
  for (const auto& entry : fs::directory_iterator(directory_))
    if (entry.path().filename() != "lock") fs::remove_all(entry.path());
  state_ = {{"conditions", std::move(conditions)}, {"phases", Json::object()}};
}

SearchState::SearchState(const std::string& text) : state_(parse_json(text, "the first rank's state")) {}

Json SearchState::phase(const std::string& name) const {
  return state_.at("phases").contains(name) ? state_.at("phases").at(name) : Json();
}

void SearchState::store(const std::string& name, const Json& value) {
  state_["phases"][name] = value;
  if (lock_ != nullptr) write_file_atomically(path("state.json"), state_.dump() + "\n");
}

void SearchState::remove() {
  lock_.reset();
  fs::remove_all(directory_);
}

}  // namespace ockham
