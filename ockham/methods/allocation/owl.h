// The outlier distribution that OWL allocates by, also shown by `ockham inspect`.
#pragma once

#include <vector>

#include "ockham/methods/method.h"

namespace ockham {

// Share of a block's weights, in percent, whose score |w| * sqrt(mean x^2) exceeds `m` times the block's mean score
// (Yin et al. 2024, equation 1). stats[i].mean_square belongs to linears[i].
double outlier_share(const std::vector<const Linear*>& linears, const std::vector<LayerStats>& stats, double m);
// One sparsity per block from the blocks' shares; their mean is `mean` unless one had to be clipped to [0.01, 1].
std::vector<double> owl_sparsities(const std::vector<double>& shares, double mean, double lambda);

}  // namespace ockham
