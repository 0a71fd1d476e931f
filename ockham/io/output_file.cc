#include "ockham/io/output_file.h"

#include <cstdio>
#include <utility>

namespace ockham {

OutputFile::OutputFile(std::string path)
    : path_(std::move(path)), temporary_(temporary_name(path_)), file_(open_for_writing(temporary_)) {}

OutputFile::~OutputFile() {
  if (!is_committed_) std::remove(temporary_.c_str());
}

void OutputFile::write(const void* data, size_t bytes) {
  write_all(file_.get(), data, bytes, path_);
  written_ += static_cast<int64_t>(bytes);
}

void OutputFile::commit() {
  sync_descriptor(file_.get(), path_);
  if (!file_.close_now()) throw_system(path_, "write");
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) throw_system(path_, "write");
  is_committed_ = true;
  sync_directory(parent_directory(path_));
}

}  // namespace ockham
