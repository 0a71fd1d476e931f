// What the machine itself can do: how fast memory is read, how fast its instructions multiply. Measured with the same
// threads as the models, in turns with them.
#pragma once

#include <cstdint>

#include "ockham/kernels/buffer.h"
#include "ockham/kernels/target.h"
#include "ockham/runtime/thread_pool.h"

namespace ockham {

// Rates of all threads together. Operations: a multiplication and an addition are two.
struct MachineRates {
  double read_bytes_per_s = 0;
  double f32_per_s = 0;   // fused multiply-adds of the kernels' target, operands in registers
  double bf16_per_s = 0;  // tiles of bf16; 0: the target has none, and bf16 weights are multiplied as float32
  double int8_per_s = 0;  // tiles or VNNI or maddubs; 0: plain loops only
  // What the same processor multiplies without its tiles (VNNI, AVX-512 BF16), as processors without any do; 0: the
  // target has no tiles.
  double int8_vectors_per_s = 0, bf16_vectors_per_s = 0;
};

// Reads `bytes`, a multiple of 256, with the loads of `target`, on the calling thread.
void read_memory(Target target, const uint8_t* from, int64_t bytes);

enum class MultiplyUnit { kF32, kBF16, kInt8, kBF16Vectors, kInt8Vectors };
// Keeps the calling thread busy with `turns` turns of a unit's instructions that need no memory; the operations that
// these were, 0 where the target has no such unit.
double multiply_in_registers(Target target, MultiplyUnit unit, int64_t turns);

class MachineProbe {
 public:
  // `read_bytes`: of the buffer that is read, rounded up to whole pages; take several times the last cache.
  MachineProbe(ThreadPool& pool, int64_t read_bytes);
  // One measurement of each, a tenth of a second or so.
  MachineRates measure();
  int64_t read_bytes() const { return buffer_.bytes(); }

 private:
  ThreadPool& pool_;
  Buffer buffer_;
};

// Of the last cache, 0 where the system does not say.
int64_t last_cache_bytes();
// Twice the last cache, at least 256 MiB and at most 1 GiB.
int64_t default_read_bytes();

}  // namespace ockham
