// What an interrupted search leaves: OUT.search/state.json, replaced atomically, and what compress() keeps beside it.
#pragma once

#include <memory>
#include <string>

#include "ockham/io/file_lock.h"
#include "ockham/io/json.h"

namespace ockham {

class SearchState {
 public:
  // Opens OUT.search, or makes it; one process at a time may hold it. A state of another request (`conditions`) or a
  // damaged one is given up, which a log message says; with `restart` any.
  SearchState(const std::string& out, Json conditions, bool restart);
  // Of a rank beside the first one: what that one found, never written.
  explicit SearchState(const std::string& text);
  std::string text() const { return state_.dump(); }
  // Null where the phase left nothing.
  Json phase(const std::string& name) const;
  void store(const std::string& name, const Json& value);
  std::string path(const std::string& name) const { return directory_ + "/" + name; }
  void remove();  // of a search that is finished

 private:
  std::string directory_;
  Json state_;
  std::unique_ptr<FileLock> lock_;
};

}  // namespace ockham
