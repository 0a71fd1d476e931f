// Everything of ATen, for sources only (7 s to compile; precompiled in the build).
#pragma once

#include <ATen/ATen.h>

#include "ockham/tensor/tensor.h"
