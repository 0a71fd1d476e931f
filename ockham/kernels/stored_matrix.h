// Matrices as they lie in memory, written to a file to be used there, in a mapping, by a later process.
//
// A stored matrix is its layouts byte by byte, with the places of their pointers, and the memory they point into. It is
// read by the program that wrote it, or one with the same stored_layout(), on a machine of the same kind; it is no
// format to exchange. Whoever reads it has checked that its bytes are those that were written.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "ockham/kernels/matrix.h"

namespace ockham {

constexpr int64_t kStoredAlignment = 64;
// Bytes behind the last stored matrix that must be readable.
constexpr int64_t kStoredSlack = 256;

// Changes with everything that decides what the bytes mean.
uint64_t stored_layout();

using WriteBytes = std::function<void(const void* data, size_t bytes)>;
// Whether all of its weights lie in memory of its own; otherwise they are somebody's file, where they may stay.
bool owns_weights(const KernelMatrix& matrix);
// A multiple of kStoredAlignment bytes, to be stored at such a multiple. The matrix owns its weights.
void store_matrix(const KernelMatrix& matrix, const WriteBytes& write);
// The matrix in `bytes`, as store_matrix() wrote them; they must outlive it. Error(kInput) naming `where` for bytes
// that do not fit together.
KernelMatrix view_stored_matrix(std::span<const uint8_t> bytes, const std::string& where);

}  // namespace ockham
