// Several processes that search together, started by `torchrun` or `mpirun`: all of them run the same search, share out
// the evaluation of candidates and the levels of the database, and see the same values, so that the result does not
// depend on their number. They talk through c10d's store (TCPStore) at MASTER_ADDR:MASTER_PORT. (Gloo's collectives are
// in libtorch too, but its headers are not in the wheel; what is exchanged here is a few numbers for each candidate.)
// Each writes a sign of life into the store twice a second and looks at those of the others.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace ockham {

class Ranks {
 public:
  // From RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT, or OMPI_COMM_WORLD_RANK and _SIZE in place of the first two;
  // one process where they are not set. Error(kUsage) for values that are not understood, Error(kResource) where the
  // others cannot be reached.
  Ranks();
  // Says whether this rank is finished or failed (an exception is under way). The first one stays until the others have
  // left, for a few seconds at most: the store is in its process.
  ~Ranks();
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;
  int64_t rank() const { return rank_; }
  int64_t size() const { return size_; }
  bool is_first() const { return rank_ == 0; }

  // Sums over the ranks, the same bits on each; every rank gives as many values. Error(kResource) where a rank is lost:
  // it names the rank, and that the same command goes on.
  void add_up(std::vector<double>& values);
  // The first rank's text.
  std::string broadcast(const std::string& text);
  void wait_for_all();
  // A rank that is found lost, in whatever the others do, ends that by request_interrupt(); this throws the
  // Error(kResource) behind it, if there is one, and takes the request back.
  void check_all_alive() const;

 private:
  struct Store;
  class Pulse;
  void send(const std::string& key, const std::string& value);
  std::string receive(const std::string& key, int64_t from);
  [[noreturn]] void end(const std::string& what) const;
  int64_t rank_ = 0, size_ = 1, step_ = 0;
  int exceptions_ = 0;  // under way when the ranks met
  std::unique_ptr<Store> store_;
  std::unique_ptr<Pulse> pulse_;
};

}  // namespace ockham
