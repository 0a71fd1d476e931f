#include "ockham/world/deferred_world.h"

namespace ockham {

void DeferredWorld::begin(bool needs_text) {
  if (world_ != nullptr || coming_.valid()) return;
  std::promise<const World*> made;
  if (needs_text) {
    held_out_ = std::async(std::launch::async, [ready = made.get_future()]() mutable {
      const World* world = ready.get();
      return world == nullptr ? std::string() : world->text("heldout");
    });
  }
  coming_ = std::async(std::launch::async, [made = std::move(made)]() mutable {
    std::unique_ptr<World> world;
    try {
      world = std::make_unique<World>();
    } catch (...) {
      made.set_value(nullptr);
      throw;
    }
    made.set_value(world.get());
    return world;
  });
}

const World& DeferredWorld::get() {
  if (world_ == nullptr) world_ = coming_.valid() ? coming_.get() : std::make_unique<World>();
  return *world_;
}

std::string DeferredWorld::text(const std::string& split) {
  const World& world = get();
  return split == "heldout" && held_out_.valid() ? held_out_.get() : world.text(split);
}

}  // namespace ockham
