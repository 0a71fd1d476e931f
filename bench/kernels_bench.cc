// Speed of the kernels beside the read bandwidth and the multiply rates of the same machine in the same run. Prints one
// table.
//   kernels_bench decode [FILTER]   one token; matrices too large for any cache, all formats whose name holds FILTER
//   kernels_bench cached [FILTER]   the same formats on one thread with 1 MB of weights: what arithmetic alone allows
//   kernels_bench layer KIND TOKENS SPARSITY   one layer beside others', see bench/sparse_layers.h
//   kernels_bench prefill [FILTER]  512 tokens, 4096 x 4096
// The environment variable OCKHAM_KERNELS names a target other than the best.
// Contenders take turns; what is printed are medians. FILTER "" is everything.
#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "bench/kernel_cases.h"
#include "bench/sparse_layers.h"
#include "ockham/bench/machine_limits.h"
#include "ockham/core/parallel.h"
#include "ockham/kernels/pack_sparse.h"
#include "ockham/kernels/target.h"

namespace ockham {
namespace {

constexpr int kRounds = 7;
constexpr int64_t kColumns = 11008, kCachedBytes = int64_t{1} << 20;
int64_t stream_bytes = int64_t{128} << 20;

double time_ms(const std::function<void()>& run) {
  const double begin = now_ms();
  run();
  return now_ms() - begin;
}
// Processor time of this thread.
double used_ms() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return 1e3 * static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_nsec);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct Contender {
  std::string name;
  KernelMatrix matrix;
  InputRounding rounding;
  std::vector<double> ms = {}, alone = {};
  KernelInput input = {};
  std::vector<float> y = {};
};

void run_product(Contender& c, const std::vector<float>& x, int64_t tokens) {
  c.input.reserve(c.matrix, tokens, c.rounding);
  const int64_t columns = c.matrix.columns(), rows = c.matrix.rows();
  parallel_for(tokens, 1, [&](int64_t begin, int64_t end) { c.input.fill(c.matrix, x.data(), columns, begin, end); });
  c.y.resize(static_cast<size_t>(tokens * rows));
  parallel_for(c.matrix.units(), 1,
               [&](int64_t begin, int64_t end) { multiply(c.matrix, c.input, begin, end, c.y.data(), rows); });
}

// Half of the groups of 16, by the largest magnitude of each.
GroupSparseSource read_groups(const Rows& rows, int64_t count) {
  GroupSparseSource source;
  source.rows = count;
  source.columns = rows.columns();
  source.read = [&rows](int64_t row, GroupSparseRow& out) {
    const float* from = rows.at(row);
    for (int64_t g = 0; g < rows.columns() / 16; ++g) {
      out.is_kept[g] = from[g * 16] > 0;
      out.scales[g] = 0.25F * static_cast<float>(1 + (row + g) % 7);
      out.zeros[g] = static_cast<uint8_t>(8 - (row + g) % 2);
    }
    for (int64_t i = 0; i < rows.columns(); ++i)
      out.codes[i] = static_cast<uint8_t>(std::clamp(std::nearbyint(from[i] * 2) + 8, 0.0F, 15.0F));
  };
  return source;
}

// Rows of a matrix that takes stream_bytes with so many bits a weight.
int64_t rows_for(double bits) {
  return static_cast<int64_t>(static_cast<double>(stream_bytes) * 8 / bits / kColumns) / 16 * 16;
}

void read_all(const Buffer& buffer) {
  parallel_for(buffer.bytes() / 4096, 1, [&](int64_t begin, int64_t end) {
    read_memory(available_targets().back(), buffer.data() + begin * 4096, (end - begin) * 4096);
  });
}

// Processor time of one thread for the whole matrix.
double time_alone(Contender& c) {
  const double begin = used_ms();
  multiply(c.matrix, c.input, 0, c.matrix.units(), c.y.data(), c.matrix.rows());
  return used_ms() - begin;
}

void print_decode(const std::vector<Contender>& contenders, double gb_per_s, double gb_per_s_alone) {
  fmt::print(
      "{} kernels; read bandwidth {:.1f} GB/s with {} threads, {:.1f} with one alone (processor time); medians of {}\n",
      target_name(current_target()), gb_per_s, thread_count(), gb_per_s_alone, kRounds);
  fmt::print("{:26} {:>9} {:>8} {:>8} {:>8} {:>9} {:>9}  {}\n", "format", "ms", "GB/s", "share", "bits", "Gweight/s",
             "alone", "as");
  for (const Contender& c : contenders) {
    const double ms = median(c.ms), bytes = static_cast<double>(c.matrix.bytes());
    const double weights = static_cast<double>(c.matrix.rows()) * static_cast<double>(c.matrix.columns());
    fmt::print("{:26} {:9.3f} {:8.2f} {:7.0f}% {:8.3f} {:9.2f} {:8.0f}%  {}\n", c.name, ms, bytes / ms / 1e6,
               100 * bytes / ms / 1e6 / gb_per_s, bytes * 8 / weights, weights / ms / 1e6,
               100 * bytes / median(c.alone) / 1e6 / gb_per_s_alone, c.matrix.description());
  }
}

void measure_decode(std::vector<Contender>& contenders) {
  Buffer buffer(stream_bytes);
  std::memset(buffer.data(), 1, static_cast<size_t>(stream_bytes));
  Rng rng(2);
  std::vector<float> x(static_cast<size_t>(kColumns));
  for (float& value : x) value = static_cast<float>(rng.normal());
  std::vector<double> reads, reads_alone;
  for (int round = 0; round < kRounds; ++round) {
    reads.push_back(time_ms([&] { read_all(buffer); }));
    const double begin = used_ms();
    read_memory(available_targets().back(), buffer.data(), stream_bytes);
    reads_alone.push_back(used_ms() - begin);
    for (Contender& c : contenders) {
      c.ms.push_back(time_ms([&] { run_product(c, x, 1); }));
      c.alone.push_back(time_alone(c));
    }
  }
  const double gb = static_cast<double>(stream_bytes) / 1e6;
  print_decode(contenders, gb / median(reads), gb / median(reads_alone));
}

void measure_cached(std::vector<Contender>& contenders) {
  constexpr int kRepeats = 40;
  Rng rng(2);
  std::vector<float> x(static_cast<size_t>(kColumns));
  for (float& value : x) value = static_cast<float>(rng.normal());
  fmt::print("{} kernels, one thread, weights in the second cache, fastest of {}\n", target_name(current_target()),
             kRepeats);
  for (Contender& c : contenders) {
    double best = 1e9;
    for (int i = 0; i < kRepeats; ++i) {
      run_product(c, x, 1);
      const double begin = used_ms();
      multiply(c.matrix, c.input, 0, c.matrix.units(), c.y.data(), c.matrix.rows());
      best = std::min(best, used_ms() - begin);
    }
    const double weights = static_cast<double>(c.matrix.rows()) * static_cast<double>(c.matrix.columns());
    fmt::print("{:26} {:8.2f} GB/s {:9.2f} Gweight/s  {}\n", c.name, static_cast<double>(c.matrix.bytes()) / best / 1e6,
               weights / best / 1e6, c.matrix.description());
  }
}

class Field {
 public:
  explicit Field(std::string filter) : filter_(std::move(filter)) {}
  template <typename Make>
  void add(const std::string& name, InputRounding rounding, const Make& make) {
    if (name.find(filter_) != std::string::npos) contenders_.push_back({name, make(), rounding});
  }
  std::vector<Contender>& contenders() { return contenders_; }

 private:
  std::string filter_;
  std::vector<Contender> contenders_;
};

void add_integers(Field& field, const Rows& rows, int64_t bits, int64_t group, double sparsity, int64_t count) {
  const std::string percent = sparsity > 0 ? fmt::format(" {:.0f} %", 100 * sparsity) : "";
  const std::string name = fmt::format("int{} {}{}", bits, group == 0 ? "row" : fmt::format("g{}", group), percent);
  for (const bool is_fine : {false, true}) {
    if (is_fine && sparsity > 0) continue;
    field.add(name + (is_fine ? " fine" : ""), is_fine ? InputRounding::kFine : InputRounding::kFast,
              [&] { return pack_integers(read_integers(rows, count, bits, group, sparsity), BitmapLimits()); });
  }
}

void add_decode(Field& field, const Rows& rows) {
  for (const DType type : {DType::kF32, DType::kF16, DType::kBF16}) {
    const std::string name(dtype_config_name(type));
    field.add(name, InputRounding::kFine, [&] {
      return pack_dense(read_floats(rows, 0), type, rows_for(8.0 * static_cast<double>(dtype_size(type))), kColumns);
    });
  }
  add_integers(field, rows, 8, 0, 0, rows_for(8));
  for (const int64_t bits : {6, 5, 4, 3, 2})
    add_integers(field, rows, bits, 128, 0, rows_for(static_cast<double>(bits)));
  add_integers(field, rows, 4, 32, 0, rows_for(4.5));
  add_integers(field, rows, 4, 16, 0, rows_for(5.5));
  field.add("int4 groups of 16 50 %", InputRounding::kFast,
            [&] { return pack_group_sparse(read_groups(rows, rows_for(4))); });
  for (const double sparsity : {0.5, 0.7, 0.9, 0.95}) {
    for (const DType type : {DType::kF32, DType::kBF16}) {
      const double bits = 8.0 * static_cast<double>(dtype_size(type));
      field.add(fmt::format("{} {:.0f} %", dtype_config_name(type), 100 * sparsity), InputRounding::kFine,
                [&] { return pack_sparse(read_floats(rows, sparsity), type, rows_for(bits), kColumns); });
    }
    add_integers(field, rows, 8, 0, sparsity, rows_for(8));
    add_integers(field, rows, 4, 128, sparsity, rows_for(4));
  }
}

// Gop/s of one thread, from products that need no memory.
double rate_alone(MultiplyUnit unit) {
  constexpr int64_t kTurns = 100000;
  double best = 0;
  for (int i = 0; i < 10; ++i) {
    const double begin = used_ms(), operations = multiply_in_registers(current_target(), unit, kTurns);
    best = std::max(best, operations / (used_ms() - begin) / 1e6);
  }
  return best;
}

void print_unit_rates() {
  fmt::print("one thread's instructions alone: {:.0f} Gop/s f32, {:.0f} int8", rate_alone(MultiplyUnit::kF32),
             rate_alone(MultiplyUnit::kInt8));
  if (current_target() == Target::kAmx) fmt::print(", {:.0f} bf16", rate_alone(MultiplyUnit::kBF16));
  fmt::print("\n");
}

void measure_prefill(const std::string& filter) {
  constexpr int64_t kSide = 4096, kTokens = 512, kFewUnits = 16;
  const Rows rows(kSide);
  Field field(filter);
  for (const DType type : {DType::kF32, DType::kBF16}) {
    field.add(std::string(dtype_config_name(type)), InputRounding::kFast,
              [&] { return pack_dense(read_floats(rows, 0), type, kSide, kSide); });
  }
  add_integers(field, rows, 8, 0, 0, kSide);
  add_integers(field, rows, 4, 128, 0, kSide);
  add_integers(field, rows, 3, 128, 0, kSide);
  add_integers(field, rows, 4, 128, 0.5, kSide);
  std::vector<float> x(static_cast<size_t>(kTokens * kSide));
  Rng rng(2);
  for (float& value : x) value = static_cast<float>(rng.normal());
  fmt::print("{} kernels, {} threads, {} tokens, {} x {}; alone: one thread's processor time for {} units\n",
             target_name(current_target()), thread_count(), kTokens, kSide, kSide, kFewUnits);
  print_unit_rates();
  std::vector<double> alone(field.contenders().size(), 1e9);
  for (int round = 0; round < 5; ++round) {
    for (size_t i = 0; i < alone.size(); ++i) {
      Contender& c = field.contenders()[i];
      c.ms.push_back(time_ms([&] { run_product(c, x, kTokens); }));
      const double begin = used_ms();
      multiply(c.matrix, c.input, 0, kFewUnits, c.y.data(), kSide);
      alone[i] = std::min(alone[i], used_ms() - begin);
    }
  }
  for (size_t i = 0; i < alone.size(); ++i) {
    const Contender& c = field.contenders()[i];
    const double operations = 2.0 * kTokens * kSide, ms = median(c.ms);
    fmt::print("{:26} {:9.2f} ms {:9.1f} Gop/s, alone {:9.1f} Gop/s  {}\n", c.name, ms, operations * kSide / ms / 1e6,
               operations * kFewUnits * 16 / alone[i] / 1e6, c.matrix.description());
  }
}

int run(int count, char** arguments) {
  const std::string mode = count > 1 ? arguments[1] : "decode", filter = count > 2 ? arguments[2] : "";
  set_thread_count(0);
  if (const char* name = std::getenv("OCKHAM_KERNELS")) set_target(find_target(name));
  if (mode == "cached") {
    set_thread_count(1);
    stream_bytes = kCachedBytes;
    const Rows rows(kColumns);
    Field field(filter);
    add_decode(field, rows);
    measure_cached(field.contenders());
  } else if (mode == "layer") {
    measure_layer(filter, count > 3 ? std::atoll(arguments[3]) : 1, count > 4 ? std::atof(arguments[4]) : 0);
  } else if (mode == "prefill") {
    measure_prefill(filter);
  } else {
    const Rows rows(kColumns);
    Field field(filter);
    add_decode(field, rows);
    measure_decode(field.contenders());
  }
  return 0;
}

}  // namespace
}  // namespace ockham

int main(int count, char** arguments) {
  try {
    return ockham::run(count, arguments);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
