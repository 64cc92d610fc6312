#include "kernel/rpc/registry.h"

#include <catch2/catch.hpp>

#include <memory>

#include "orch/attempt.h"
#include "orch/testing/memory-store.h"
#include "orch/testing/virtual-env.h"

namespace orch::rpc {
namespace {

TEST_CASE("registry: who waits for a name gets it when it is offered", "[rpc]") {
  testing::VirtualWorld world(1);
  testing::MemoryStore store;
  Registry registry;
  auto one = registry.find("store"), two = registry.find("store");
  CHECK(registry.waitedFor() == 2);
  registry.offer("store", store.client());
  CHECK(registry.waitedFor() == 0);
  one.wait(world.waitScope())
      .castAs<schema::Store>()
      .limitsRequest()
      .send()
      .wait(world.waitScope());
  two.wait(world.waitScope());
}

TEST_CASE("registry: a wait that is dropped is forgotten", "[rpc]") {
  testing::VirtualWorld world(1);
  Registry registry;
  for (int i = 0; i < 100; ++i) {
    auto dropped = registry.find("never");
    CHECK(registry.waitedFor() == 1);
  }
  CHECK(registry.waitedFor() == 0);
}

TEST_CASE("registry: a wait that outlives the node fails", "[rpc]") {
  testing::VirtualWorld world(1);
  auto registry = std::make_unique<Registry>();
  auto waiting = registry->find("never");
  registry = nullptr;
  auto outcome = attempt(kj::mv(waiting)).wait(world.waitScope());
  REQUIRE_FALSE(outcome.ok());
  CHECK(outcome.error().getType() == kj::Exception::Type::DISCONNECTED);
}

}  // namespace
}  // namespace orch::rpc
