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
#include "ockham/tensor/ops.h"

namespace ockham {
namespace {

KernelMatrix float_matrix(const Weight& weight, bool is_sparse) {
  const Tensor values = weight_to_dense(weight, at::kFloat).contiguous();
  const int64_t columns = values.size(1);
  const float* from = values.const_data_ptr<float>();
  const ReadFloats read = [from, columns](int64_t row, float* to) { std::copy_n(from + row * columns, columns, to); };
  return is_sparse ? pack_sparse(read, DType::kBF16, values.size(0), columns)
                   : pack_dense(read, DType::kBF16, values.size(0), columns);
}

KernelMatrix integer_matrix(const GroupIntWeight& weight) {
  const Tensor codes = weight.codes.contiguous(), scales = weight.scales.to(at::kFloat).contiguous();
  const Tensor zeros = weight.is_symmetric ? Tensor() : weight.zeros.contiguous();
  const Tensor mask = weight.mask.defined() ? weight.mask.logical_not().to(at::kByte).contiguous() : Tensor();
  std::vector<int32_t> index;
  if (weight.group_index.defined()) {
    const Tensor groups = weight.group_index.to(at::kInt).contiguous();
    index.assign(groups.const_data_ptr<int32_t>(), groups.const_data_ptr<int32_t>() + groups.numel());
  }
  IntegerSource source;
  source.rows = codes.size(0);
  source.columns = codes.size(1);
  source.bits = weight.bits;
  source.group_size = weight.group_size;
  source.has_mask = mask.defined();
  source.group_index = index;
  const int64_t columns = source.columns, groups = scales.size(1);
  source.read = [=](int64_t row, IntegerRow& to) {
    std::copy_n(codes.const_data_ptr<uint8_t>() + row * columns, columns, to.codes);
    std::copy_n(scales.const_data_ptr<float>() + row * groups, groups, to.scales);
    if (zeros.defined()) std::copy_n(zeros.const_data_ptr<uint8_t>() + row * groups, groups, to.zeros);
    if (mask.defined()) std::copy_n(mask.const_data_ptr<uint8_t>() + row * columns, columns, to.is_kept);
  };
  return pack_integers(source);
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
  if (const auto* group = std::get_if<GroupIntWeight>(&weight)) return integer_matrix(*group);
  return float_matrix(weight, std::holds_alternative<SparseWeight>(weight));
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
