#include "ockham/bench/machine_limits.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "ockham/core/stopwatch.h"
#include "ockham/kernels/compile.h"
#include "ockham/kernels/target.h"

OCKHAM_KERNEL_SOURCE

namespace ockham {
namespace {

constexpr int64_t kPage = 4096, kTurns = 60'000;

// A way to keep a thread busy with operations that need no memory: how many operations `turns` turns are.
struct Load {
  void (*run)(int64_t turns) = nullptr;
  double operations_of_turn = 0;
};
// Where results go so that no compiler leaves out what leads to them.
std::atomic<uint64_t> sink = 0;

uint64_t read_words(const uint8_t* from, int64_t bytes) {
  uint64_t sums[8] = {};
  for (int64_t i = 0; i < bytes; i += 64) {
    for (int64_t j = 0; j < 8; ++j) {
      uint64_t word;
      std::memcpy(&word, from + i + 8 * j, sizeof word);
      sums[j] ^= word;
    }
  }
  return sums[0] ^ sums[1] ^ sums[2] ^ sums[3] ^ sums[4] ^ sums[5] ^ sums[6] ^ sums[7];
}

// Plain loops: 64 independent sums.
void multiply_plain(int64_t turns) {
  constexpr int kSums = 64;
  float sums[kSums] = {};
  for (int64_t turn = 0; turn < turns; ++turn) {
    const float factor = 1 + static_cast<float>(turn & 1) * 0x1p-20F;
    for (float& value : sums) value = value * factor + 0x1p-10F;
  }
  float all = 0;
  for (const float value : sums) all += value;
  sink ^= static_cast<uint64_t>(all);
}

#if defined(__x86_64__)
OCKHAM_BEGIN_AVX2
constexpr int kAvx2Sums = 12;

void multiply_f32_avx2(int64_t turns) {
  __m256 sums[kAvx2Sums] = {};
  const __m256 a = _mm256_set1_ps(0x1p-10F), b = _mm256_set1_ps(1 + 0x1p-20F);
  for (__m256& sum : sums) asm volatile("" : "+x"(sum));  // otherwise a compiler sees that all are equal
  for (int64_t turn = 0; turn < turns; ++turn)
    for (__m256& sum : sums) sum = _mm256_fmadd_ps(sum, b, a);
  float all[8];
  for (int i = 1; i < kAvx2Sums; ++i) sums[0] = _mm256_add_ps(sums[0], sums[i]);
  _mm256_storeu_ps(all, sums[0]);
  sink ^= static_cast<uint64_t>(all[0]);
}

// As the kernels multiply bytes here: to pairs, to quads, and added up.
void multiply_int8_avx2(int64_t turns) {
  __m256i sums[kAvx2Sums] = {};
  __m256i left = _mm256_set1_epi8(3);
  const __m256i right = _mm256_set1_epi8(5), ones = _mm256_set1_epi16(1);
  for (int64_t turn = 0; turn < turns; ++turn) {
    left = _mm256_xor_si256(left, ones);  // otherwise a compiler takes the products out of the loop
    for (__m256i& sum : sums) {
      asm volatile("" : "+x"(left));
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(left, right), ones));
    }
  }
  for (int i = 1; i < kAvx2Sums; ++i) sums[0] = _mm256_add_epi32(sums[0], sums[i]);
  sink ^= static_cast<uint64_t>(_mm256_extract_epi32(sums[0], 0));
}
OCKHAM_END_TARGET

OCKHAM_BEGIN_AVX512
constexpr int kAvx512Sums = 16;

uint64_t read_words_avx512(const uint8_t* from, int64_t bytes) {
  __m512i sums[4] = {};
  for (int64_t i = 0; i < bytes; i += 256)
    for (int64_t j = 0; j < 4; ++j) sums[j] = _mm512_xor_si512(sums[j], _mm512_load_si512(from + i + 64 * j));
  return static_cast<uint64_t>(_mm512_reduce_add_epi64(
      _mm512_xor_si512(_mm512_xor_si512(sums[0], sums[1]), _mm512_xor_si512(sums[2], sums[3]))));
}

void multiply_f32_avx512(int64_t turns) {
  __m512 sums[kAvx512Sums] = {};
  const __m512 a = _mm512_set1_ps(0x1p-10F), b = _mm512_set1_ps(1 + 0x1p-20F);
  for (__m512& sum : sums) asm volatile("" : "+v"(sum));
  for (int64_t turn = 0; turn < turns; ++turn)
    for (__m512& sum : sums) sum = _mm512_fmadd_ps(sum, b, a);
  for (int i = 1; i < kAvx512Sums; ++i) sums[0] = _mm512_add_ps(sums[0], sums[i]);
  sink ^= static_cast<uint64_t>(_mm512_reduce_add_ps(sums[0]));
}

void multiply_int8_avx512(int64_t turns) {
  __m512i sums[kAvx512Sums] = {};
  const __m512i left = _mm512_set1_epi8(3), right = _mm512_set1_epi8(5);
  for (__m512i& sum : sums) asm volatile("" : "+v"(sum));
  for (int64_t turn = 0; turn < turns; ++turn)
    for (__m512i& sum : sums) sum = _mm512_dpbusd_epi32(sum, left, right);
  for (int i = 1; i < kAvx512Sums; ++i) sums[0] = _mm512_add_epi32(sums[0], sums[i]);
  sink ^= static_cast<uint64_t>(_mm512_reduce_add_epi32(sums[0]));
}
OCKHAM_END_TARGET

OCKHAM_BEGIN_AMX
void multiply_bf16_vectors(int64_t turns) {
  __m512 sums[kAvx512Sums] = {};
  const auto factors = reinterpret_cast<__m512bh>(_mm512_set1_ps(0x1p-10F));  // pairs of 0 and 2^-10
  for (__m512& sum : sums) asm volatile("" : "+v"(sum));
  for (int64_t turn = 0; turn < turns; ++turn)
    for (__m512& sum : sums) sum = _mm512_dpbf16_ps(sum, factors, factors);
  for (int i = 1; i < kAvx512Sums; ++i) sums[0] = _mm512_add_ps(sums[0], sums[i]);
  sink ^= static_cast<uint64_t>(_mm512_reduce_add_ps(sums[0]));
}

#include "ockham/kernels/tiles.h"

template <bool kIsInt8>
void multiply_tiles(int64_t turns) {
  const Tiles tiles;
  zero_sums();
  zero_tile<4>();
  zero_tile<6>();
  for (int64_t turn = 0; turn < turns; ++turn) {
    if constexpr (kIsInt8) {
      multiply_int8<0, 4, 6>();
      multiply_int8<1, 4, 6>();
      multiply_int8<2, 4, 6>();
      multiply_int8<3, 4, 6>();
    } else {
      multiply_bf16<0, 4, 6>();
      multiply_bf16<1, 4, 6>();
      multiply_bf16<2, 4, 6>();
      multiply_bf16<3, 4, 6>();
    }
  }
}
OCKHAM_END_TARGET
#endif

struct Loads {
  uint64_t (*read)(const uint8_t*, int64_t) = read_words;
  Load f32 = {multiply_plain, 2.0 * 64}, bf16, int8, bf16_vectors, int8_vectors;

  const Load& of(MultiplyUnit unit) const {
    const Load* const all[] = {&f32, &bf16, &int8, &bf16_vectors, &int8_vectors};
    return *all[static_cast<int>(unit)];
  }
};

Loads loads_of(Target target) {
  Loads loads;
#if defined(__x86_64__)
  constexpr double kTileProducts = 4, kTile = 2.0 * 16 * 16;
  if (target == Target::kAvx2) {
    loads.f32 = {multiply_f32_avx2, 2.0 * 8 * kAvx2Sums};
    loads.int8 = {multiply_int8_avx2, 2.0 * 32 * kAvx2Sums};
  }
  if (target >= Target::kAvx512) {
    loads.read = read_words_avx512;
    loads.f32 = {multiply_f32_avx512, 2.0 * 16 * kAvx512Sums};
    loads.int8 = {multiply_int8_avx512, 2.0 * 64 * kAvx512Sums};
  }
  if (target == Target::kAmx) {
    loads.int8_vectors = loads.int8;
    loads.bf16_vectors = {multiply_bf16_vectors, 2.0 * 32 * kAvx512Sums};
    loads.int8 = {multiply_tiles<true>, kTile * 64 * kTileProducts};
    loads.bf16 = {multiply_tiles<false>, kTile * 32 * kTileProducts};
  }
#else
  (void)target;
#endif
  return loads;
}

}  // namespace

void read_memory(Target target, const uint8_t* from, int64_t bytes) {
  sink ^= loads_of(target).read(from, bytes);
}

double multiply_in_registers(Target target, MultiplyUnit unit, int64_t turns) {
  const Loads loads = loads_of(target);
  const Load& load = loads.of(unit);
  if (load.run == nullptr) return 0;
  load.run(turns);
  return load.operations_of_turn * static_cast<double>(turns);
}

MachineProbe::MachineProbe(ThreadPool& pool, int64_t read_bytes)
    : pool_(pool), buffer_((read_bytes + kPage - 1) / kPage * kPage) {
  std::memset(buffer_.data(), 1, static_cast<size_t>(buffer_.bytes()));
}

MachineRates MachineProbe::measure() {
  const Target target = current_target();
  const int64_t threads = pool_.threads(), pages = buffer_.bytes() / kPage, parts = std::min(pages, 16 * threads);
  MachineRates rates;
  const Stopwatch watch;
  pool_.run(parts, [&](int64_t part, int) {
    const int64_t begin = pages * part / parts, end = pages * (part + 1) / parts;
    read_memory(target, buffer_.data() + begin * kPage, (end - begin) * kPage);
  });
  rates.read_bytes_per_s = static_cast<double>(buffer_.bytes()) / watch.seconds();
  // More parts than threads, so that a thread that the system put aside holds up one part only.
  const auto rate = [&](MultiplyUnit unit) {
    const int64_t pieces = 8 * threads;
    std::atomic<double> operations = 0;
    const Stopwatch one;
    pool_.run(pieces, [&](int64_t, int) { operations = multiply_in_registers(target, unit, kTurns); });
    return operations * static_cast<double>(pieces) / one.seconds();
  };
  rates.f32_per_s = rate(MultiplyUnit::kF32);
  rates.bf16_per_s = rate(MultiplyUnit::kBF16);
  rates.int8_per_s = rate(MultiplyUnit::kInt8);
  rates.bf16_vectors_per_s = rate(MultiplyUnit::kBF16Vectors);
  rates.int8_vectors_per_s = rate(MultiplyUnit::kInt8Vectors);
  return rates;
}

int64_t last_cache_bytes() {
#if defined(_SC_LEVEL3_CACHE_SIZE)
  for (const int name : {_SC_LEVEL4_CACHE_SIZE, _SC_LEVEL3_CACHE_SIZE, _SC_LEVEL2_CACHE_SIZE})
    if (const long bytes = sysconf(name); bytes > 0) return bytes;
#endif
  return 0;
}

int64_t default_read_bytes() {
  constexpr int64_t kLeast = int64_t{256} << 20, kMost = int64_t{1} << 30;
  return std::clamp(2 * last_cache_bytes(), kLeast, kMost);
}

}  // namespace ockham
