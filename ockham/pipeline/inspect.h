// What a model is like before anything is done to it: weight statistics per block, outliers, and the sparsity found.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ockham/model/checkpoint.h"
#include "ockham/pipeline/calibration.h"

namespace ockham {

struct WeightStatistics {
  std::string name;  // of a linear, or "blocks.N"
  int64_t weights = 0;
  int64_t zeros = 0;
  int64_t bytes = 0;  // as stored
  double mean_abs = 0, max_abs = 0, deviation = 0;
  double kurtosis = 0;   // fourth moment over squared variance; 3 for a normal distribution
  int64_t outliers = 0;  // |w| above six standard deviations
  std::string pattern;   // "dense", "2:4", "4:8", "unstructured"
  std::string format;    // in memory and on disk: "dense", "group-int", "bitmap-sparse"
};

// Of one linear; the weight is unpacked to float32 for it.
WeightStatistics weight_statistics(const Linear& linear);
// Statistics of several linears as if they were one matrix; the pattern is the one that all share, or "mixed".
WeightStatistics merge_statistics(const std::string& name, const std::vector<WeightStatistics>& parts);

// The layerwise outlier distribution that `owl` allocates by (Yin et al. 2024, equation 1), of the dense model.
struct OutlierDistribution {
  std::vector<double> shares;  // by block: weights whose |w| * norm(x) exceeds m times the block's mean, in percent
  std::string data_sha256;     // of the calibration data
  int64_t samples = 0, tokens = 0;
};
// One block is resident at a time. Errors as of draw_calibration().
OutlierDistribution outlier_distribution(const Checkpoint& checkpoint, const CalibrationSpec& spec,
                                         const TextSource& text_source, DType dtype, double m);

// The N:M pattern that holds in every group of a matrix [R, C] ("2:4" before "4:8"), "unstructured" where there are
// other zeros (at least one weight in a hundred), otherwise "dense".
std::string find_pattern(const Tensor& weights);
// True where every `group` consecutive columns of every row hold at least `zeros` zeros.
bool satisfies_pattern(const Tensor& weights, int64_t zeros, int64_t group);

}  // namespace ockham
