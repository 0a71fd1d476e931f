// The default world, made when it is first asked for, or beside other work.
#pragma once

#include <future>
#include <memory>
#include <string>

#include "ockham/world/world.h"

namespace ockham {

// Of one thread; only begin() works beside it.
class DeferredWorld {
 public:
  // From now on the world is being made, and, where it `needs_text`, its held-out text; what fails is thrown by get().
  void begin(bool needs_text);
  const World& get();
  // World::text().
  std::string text(const std::string& split);

 private:
  std::future<std::unique_ptr<World>> coming_;
  std::unique_ptr<World> world_;
  std::future<std::string> held_out_;  // ends first: it reads the world
};

}  // namespace ockham
