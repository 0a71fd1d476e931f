#include "ockham/search/latency.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <map>

#include "ockham/core/error.h"
#include "ockham/core/progress.h"
#include "ockham/io/file.h"
#include "ockham/io/json.h"
#include "ockham/model/packed.h"
#include "ockham/runtime/readers/packed_reader.h"
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

// The parts of a packed weight as a file would have them.
StoredTensor stored(const Tensor& tensor, const std::string& name) {
  OCKHAM_CHECK(tensor.is_contiguous() && tensor.is_cpu());
  return {name,
          "",
          to_dtype(tensor.scalar_type()),
          tensor.sizes().vec(),
          {static_cast<const std::byte*>(tensor.const_data_ptr()), static_cast<size_t>(tensor.nbytes())}};
}

// The median of several rounds, each long enough for the clock.
double seconds_of(const KernelMatrix& matrix) {
  constexpr int kRounds = 7;
  constexpr double kLeastSeconds = 2e-4;
  std::vector<float> x(static_cast<size_t>(matrix.columns()), 0.5F), y(static_cast<size_t>(matrix.rows()));
  KernelInput input;
  input.reserve(matrix, 1, InputRounding::kFine);
  const auto run = [&] {
    input.fill(matrix, x.data(), matrix.columns(), 0, 1);
    multiply(matrix, input, 0, matrix.units(), y.data(), matrix.rows());
  };
  run();
  std::vector<double> rounds;
  int64_t repeats = 1;
  while (rounds.size() < kRounds) {
    const auto begin = std::chrono::steady_clock::now();
    for (int64_t i = 0; i < repeats; ++i) run();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    if (seconds < kLeastSeconds) {
      repeats *= 2;
      continue;
    }
    rounds.push_back(seconds / static_cast<double>(repeats));
  }
  std::nth_element(rounds.begin(), rounds.begin() + kRounds / 2, rounds.end());
  return rounds[kRounds / 2];
}

std::string key_of(const Weight& weight) {
  const int64_t weights = weight_rows(weight) * weight_columns(weight);
  int64_t bits = 0;
  if (const auto* group = std::get_if<GroupIntWeight>(&weight)) bits = group->bits;
  return fmt::format("{}x{} {} {} bits {:.2f} zeros {} bytes", weight_rows(weight), weight_columns(weight),
                     weight_format(weight), bits,
                     static_cast<double>(weight_zeros(weight)) / static_cast<double>(weights),
                     weight_bytes(weight) * 100 / weights);
}

}  // namespace

KernelMatrix kernel_matrix(const Weight& weight) {
  if (const auto* dense = std::get_if<DenseWeight>(&weight)) return pack_rows(dense_rows(stored(dense->values, "")));
  PackedWeight packed = pack_weight(weight);
  std::map<std::string, Tensor> parts;
  for (const auto& [suffix, tensor] : packed.parts) parts[suffix] = tensor.contiguous();
  const PackedRecord record = parse_packed_record(packed.record, "level", weight_rows(weight), weight_columns(weight));
  const FindPart find = [&](const PackedPart& part) { return stored(parts.at(part.suffix), part.suffix); };
  return pack_rows(packed_rows(record, find, DType::kBF16));
}

LatencyTable measure_latency(const LevelDatabase& database, const std::string& path) {
  std::map<std::string, double> known;
  if (std::filesystem::exists(path)) {
    const Json stored = read_json_file(path);
    for (const auto& [key, value] : stored.items()) known[key] = json_real(stored, key, path);
  }
  LatencyTable table(database.units().size());
  for (size_t u = 0; u < table.size(); ++u) {
    check_interrupt();
    for (size_t l = 0; l < database.levels(u).size(); ++l) {
      double seconds = 0;
      for (size_t place = 0; place < database.units()[u].places.size(); ++place) {
        const Weight weight = database.read(u, l, place);
        const auto [entry, is_new] = known.emplace(key_of(weight), 0);
        if (is_new) entry->second = seconds_of(kernel_matrix(weight));
        seconds += entry->second;
      }
      table[u].push_back(seconds);
    }
    report_progress({"latency", static_cast<int64_t>(u) + 1, static_cast<int64_t>(table.size()), "units"});
  }
  Json json = Json::object();
  for (const auto& [key, value] : known) json[key] = value;
  write_file_atomically(path, json.dump(1) + "\n");
  return table;
}

}  // namespace ockham
