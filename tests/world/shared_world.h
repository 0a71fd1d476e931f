// The world of seed 0, made once for all tests of a program.
#pragma once

#include "ockham/world/world.h"

namespace ockham {

inline const World& shared_world() {
  static const World world;
  return world;
}

}  // namespace ockham
