// One run of a recipe over the blocks of a model: statistics from the still dense block fed by compressed predecessors,
// then the block's compression, then its forward again to make the inputs of the next block, written over those of this
// one. Who gives the blocks and takes the results is compress.cc's matter.
#pragma once

#include <cstdint>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "ockham/pipeline/calibration.h"
#include "ockham/pipeline/compress.h"
#include "ockham/pipeline/layer_statistics.h"
#include "ockham/pipeline/recipe.h"

namespace ockham {

// Over the linears of all blocks.
struct CompressionTotals {
  int64_t weights = 0, zeros = 0, bytes = 0;
};

// Tokens that go through a block at once: bounds its activations; small enough for the allocator to use the same pages
// again.
constexpr int64_t kTokensPerForward = 2048;

class BlockRun {
 public:
  BlockRun(const Recipe& recipe, const ModelConfig& config, const CompressOptions& options);

  bool needs_calibration() const { return (plan_.needs | plan_.allocation_needs) != kNeedsNothing; }
  bool needs_contrast() const { return (plan_.needs & kNeedsContrast) != 0; }
  bool has_allocation() const { return plan_.has_allocation; }
  // Reads and embeds the calibration sequences; `frame` is a decoder without blocks or with all of them.
  void calibrate(const Decoder& frame, const std::string& tokenizer_directory);
  // Passes over the dense model that let the allocation steps choose; `read` gives each block once per pass, in order.
  void allocate(const Decoder& frame, const std::function<Block(int64_t)>& read);
  // For estimates, in place of calibrate(): made-up sequences, enough for the largest working set of a block. Block
  // `trial` is then the only one that is differentiated, looked at and processed.
  void rehearse(const Decoder& frame, int64_t trial);
  // For estimates, in place of allocate(): looks at the block once; the steps choose their defaults, and of what they
  // remove only the number is right.
  void rehearse_allocation(const Block& block);
  bool needs_gradients() const { return (plan_.needs & kNeedsGradients) != 0; }
  // Passes forwards and backwards over the dense model; `frame` must still have its head. `scratch`: a directory for
  // the hidden states between the blocks, or "" to keep them in memory.
  void differentiate(const Decoder& frame, const std::function<Block(int64_t)>& read, const std::string& scratch);
  // False where an allocation step removed the whole block.
  bool keeps(int64_t index) const { return !removed_.contains(index); }
  // Where a block stands in the model that comes out.
  int64_t output_index(int64_t index) const {
    return index - std::distance(removed_.begin(), removed_.lower_bound(index));
  }
  // What config.json says of the model that comes out, once the allocation steps have chosen.
  const ModelConfig& shape() const { return shape_; }
  // Error(kUnsupported) where config.json cannot say it.
  void check_shape() const;
  // Compresses block `index` of the source; afterwards it is a block of the output, in number, names and config.
  void process(Block& block, int64_t index);
  // Going on in another process: what was chosen and reported so far, the inputs of the next block and the gradients.
  Json record() const;
  std::vector<Tensor> inputs() const {
    return needs_contrast() ? std::vector<Tensor>{text_.hidden, contrast_.hidden} : std::vector<Tensor>{text_.hidden};
  }
  bool needs_inputs(int64_t index) const { return needs_calibration() && index < config_.blocks; }
  const std::map<std::string, GradientStats>& gradients() const { return gradients_; }
  const Calibration& calibration() const { return text_.drawn; }
  const Calibration& contrast() const { return contrast_.drawn; }
  // After calibrate(). No inputs: those of the first block. Error(kInput) for a record of another model.
  void restore(const Json& record, const std::vector<Tensor>& inputs, std::map<std::string, GradientStats> gradients);
  Json report(const std::string& source_sha256) const;
  void summarize(CompressionResult& result) const;

 private:
  // A text on its way through the blocks.
  struct Stream {
    Calibration drawn;
    BlockContext context;
    Tensor hidden;  // [samples, tokens, H]
  };
  Stream start(const CalibrationSpec& spec, const Decoder& frame, const std::string& tokenizer_directory) const;
  // Hidden states of every sample through the block; `store` keeps them as the next block's inputs.
  void forward(Stream& stream, const Block& whole, LinearObserver* observer, bool store);
  void compress_linear(Linear& linear, const StatisticsCollector& statistics, const StatisticsCollector& contrast);
  // The name in the output of a linear of the block at hand.
  std::string renamed(const std::string& linear) const;
  // One block of an allocation pass.
  void look_at(const Block& block, const std::map<size_t, std::unique_ptr<Allocation>>& allocations, int64_t pass);
  // The steps that take a value from an allocation, on a block, with the values so far.
  void compress_as_allocated(Block& block);
  BlockChange change_of(const Block& block) const;
  // What allocation steps remove, once they have chosen.
  void drop_chosen();
  void drop(const std::map<std::string, double>& values);
  // The inputs of the next block are those of the dense model.
  bool has_dense_inputs() const { return recipe_.calibration.inputs == "dense"; }
  bool is_changed(const Linear& linear) const;
  LayerStats stats_of(const Linear& linear, const StatisticsCollector& statistics, bool is_needed) const;
  // The step's method for this linear, with what the allocation steps chose for it.
  std::shared_ptr<const Method> method_for(const PlannedStep& step, const Linear& linear) const;
  // Linears that are calibrated together: all of a block, or, where a step is true-sequential, those that read the same
  // inputs, each group after the ones before it are compressed.
  std::vector<std::vector<size_t>> phases(const Block& block) const;

  const Recipe& recipe_;
  const ModelConfig& config_;
  RecipePlan plan_;
  const CompressOptions& options_;
  int64_t index_ = 0;                                          // of the block at hand
  int64_t trial_ = -1;                                         // the only block of a rehearsal
  Stream text_, contrast_;                                     // the second is empty where no method needs it
  std::map<size_t, std::map<std::string, double>> allocated_;  // by step
  std::map<std::string, GradientStats> gradients_;             // by linear
  ModelConfig shape_, block_config_;
  std::set<int64_t> removed_;      // blocks
  std::set<std::string> dropped_;  // linears of removed halves of blocks
  Json tensors_ = Json::object();
  std::vector<std::string> notes_;
  CompressionTotals totals_;
  double forward_seconds_ = 0, method_seconds_ = 0;
};

}  // namespace ockham
