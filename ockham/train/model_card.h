// The README.md of a trained model: what it is, how and when it was made, from which data.
#pragma once

#include <string>

#include "ockham/train/trainer.h"

namespace ockham {

std::string model_card(const TrainConfig& config, const TrainResult& result, const std::string& data_sha256,
                       const std::string& output, const std::string& device);

}  // namespace ockham
