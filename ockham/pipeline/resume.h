// What `compress` keeps beside its output after every block, so that an interrupted run goes on where it was: the
// directory OUT.resume with state.json, replaced atomically, and the files that it names; nothing else there counts.
// Those are the output so far and hidden-N.safetensors, the inputs of block N: samples * tokens * H numbers in the type
// of the arithmetic, once per text, for a moment twice.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "ockham/io/file_lock.h"
#include "ockham/io/json.h"
#include "ockham/model/checkpoint.h"
#include "ockham/pipeline/block_run.h"

namespace ockham {

struct ResumePoint {
  bool has_gradients = false, has_allocated = false;  // measured on the dense model
  int64_t next = 0;                                   // the block to go on with
};

class ResumeState {
 public:
  // Makes the directory OUT.resume or opens the one that is there; one process at a time may hold it. Error(kInput)
  // where another one does, or where that directory is something else.
  explicit ResumeState(const std::string& out);
  // Removes it, unless a state was committed or found.
  ~ResumeState();
  ResumeState(const ResumeState&) = delete;
  ResumeState& operator=(const ResumeState&) = delete;
  std::string output() const { return path("output"); }  // write the output here
  const std::string& directory() const { return directory_; }
  // By name: what must be as it was when the state was written.
  void set_conditions(Json conditions);
  // Calls `restore` with the state of an earlier run with the same conditions. One that belongs to another run, is
  // damaged or is not accepted (Error(kInput), exceptions of JSON and of the file system) is removed, which a log
  // message says. False where `restore` was called and did not accept it.
  bool load(const std::function<void(const Json&)>& restore);
  // Removes the state and what was written so far; `reason` goes into the message, "" for none.
  void discard(const std::string& reason);
  // Gives `run`, after its calibrate(), what it had when the state was written. The writer's part is state["writer"].
  ResumePoint restore(const Json& state, BlockRun& run);
  // What `run` measured on the dense model, before any block.
  void commit(const BlockRun& run, bool has_allocated);
  // After block `next` - 1.
  void commit(const BlockRun& run, CheckpointWriter& writer, int64_t next);
  // The finished output takes the place of the empty directory `target`.
  void move_output(const std::string& target);
  void forget() { is_kept_ = false; }  // the destructor removes everything

 private:
  std::string path(const std::string& name) const { return directory_ + "/" + name; }
  void write(Json state);
  std::string directory_;
  Json conditions_;
  std::unique_ptr<FileLock> lock_;
  bool is_kept_ = false;
  bool has_gradients_ = false;  // on disk
};

}  // namespace ockham
