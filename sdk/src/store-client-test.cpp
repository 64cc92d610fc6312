#include "orch/store-client.h"

#include <catch2/catch.hpp>

#include "orch/testing/memory-store.h"
#include "orch/testing/virtual-env.h"

namespace orch {
namespace {

using StoreFault = testing::MemoryStore::Fault;
using OutcomeKind = CommitOutcome::Kind;

struct StoreBench {
  testing::VirtualWorld world{1};
  testing::MemoryStore store;
  StoreClient client{world.env(), store.client(), 10 * kj::SECONDS};

  CommitOutcome put(kj::StringPtr key, uint64_t expected, uint64_t epoch = 0) {
    StoreOp op{"task"_kj, key, expected, "content"_kj.asBytes()};
    return client.commit(kj::arrayPtr(&op, 1), epoch).wait(world.waitScope());
  }
};

TEST_CASE("store client: an answer that is lost is asked for", "[store]") {
  for (auto fault : {StoreFault::UNKNOWN_APPLIED, StoreFault::DISCONNECT_APPLIED,
                     StoreFault::OVERLOAD_APPLIED}) {
    StoreBench bench;
    bench.store.inject(fault);
    auto outcome = bench.put("a", 0);
    CHECK(outcome.kind == OutcomeKind::COMMITTED);
    CHECK(bench.put("a", outcome.revision).kind == OutcomeKind::COMMITTED);
  }
  StoreBench bench;
  bench.store.inject(StoreFault::UNKNOWN_LOST);
  CHECK(bench.put("a", 0).kind == OutcomeKind::FAILED);
  bench.store.inject(StoreFault::REFUSE);
  CHECK(bench.put("a", 0).reason == "no space left on device");
}

TEST_CASE("store client: what nobody answers for is lost, after a while", "[store]") {
  StoreBench bench;
  bench.store.inject(StoreFault::CUT_OFF);
  CHECK(bench.put("a", 0).kind == OutcomeKind::LOST);
  bench.store.reconnect();
  CHECK(bench.put("a", 0).kind == OutcomeKind::CONFLICT);
  CHECK(bench.put("b", 0, 7).kind == OutcomeKind::DEPOSED);
}

TEST_CASE("store client: a load that was given up is not called any more", "[store]") {
  StoreBench bench;
  bench.put("a", 0);
  uint32_t seen = 0;
  bench.store.holdLoads(true);
  {
    auto load = bench.client.load([&](auto) { ++seen; }).promise();
    bench.world.settle();
  }
  bench.store.holdLoads(false);
  bench.world.settle();
  CHECK(seen == 0);
  auto loaded = bench.client.load([&](auto) { ++seen; }).wait(bench.world.waitScope());
  CHECK(seen == 1);
  CHECK(loaded.revision == 1);
}

}  // namespace
}  // namespace orch
