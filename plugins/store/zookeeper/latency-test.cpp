// Hidden; run by name to see what a commit costs: orch_store_zookeeper_test "[.latency]"
#include "lib/testing/latency.h"

#include <catch2/catch.hpp>

#include <memory>

#include "test-store.h"

namespace orch::store::zookeeper {
namespace {

TEST_CASE("store.zookeeper: what a commit takes beside a bare change", "[.latency]") {
  auto bare = [](OneNode<Backend>& all) {
    auto client =
        std::make_shared<TestClient>(*all.loop.env, all.loop.scope, all.servers.endpoints());
    return [client](const std::string&, const std::string& value) { client->put("/bare", value); };
  };
  printLatency<Backend>(1, bare);
  printLatency<Backend>(3, bare);
}

}  // namespace
}  // namespace orch::store::zookeeper
