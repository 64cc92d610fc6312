// Hidden; run by name to see what a commit costs: orch_store_consul_test "[.latency]"
#include "lib/testing/latency.h"

#include <catch2/catch.hpp>

#include <memory>

#include "test-store.h"

namespace orch::store::consul {
namespace {

TEST_CASE("store.consul: what a commit takes beside a bare change", "[.latency]") {
  auto bare = [](OneNode<Backend>& all) {
    std::vector<http::Endpoint> endpoints;
    for (auto& url : all.servers.urls()) endpoints.push_back(http::Endpoint::parse(url));
    auto client = std::make_shared<Client>(*all.loop.env,
                                           ClientSettings{endpoints, {}, "", 60 * kj::SECONDS});
    return [&all, client](const std::string& key, const std::string& value) {
      TxnRequest txn;
      txn.set("bare/" + key, value);
      client->transact(txn).wait(all.loop.scope);
    };
  };
  printLatency<Backend>(1, bare);
  printLatency<Backend>(3, bare);
}

}  // namespace
}  // namespace orch::store::consul
