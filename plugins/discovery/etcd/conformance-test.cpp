// The promises of the kind, kept by the plugin's own file against a real etcd.
#include <catch2/catch.hpp>

#include "etcd/client.h"
#include "etcd/request.h"
#include "test-backend.h"

namespace orch::discovery::etcd {
namespace {

class Subject final : public conformance::DiscoverySubject {
 public:
  Subject(Loop& loop, TestEtcd& etcd, const std::string& prefix, testing::Isolation isolation)
      : loop(loop),
        nodes(prefix + "/docker/swarm/nodes/"),
        client(*loop.env, {http::Endpoint::parse(etcd.url())}, {}, 60 * kj::SECONDS) {
    put(present());
    Options options;
    options.uri = uriOf(etcd, prefix);
    options.isolation = isolation;
    plugin = kj::heap<Backend>(loop, options);
  }
  kj::WaitScope& waitScope() override { return loop.scope; }
  schema::Discovery::Client backend() override { return plugin->service; }
  Addresses present() override { return {"10.0.0.1:1", "10.0.0.2:1"}; }
  void until(kj::StringPtr what, kj::Function<bool()> reached) override {
    loop.until(what, kj::mv(reached));
  }
  bool writable() override { return true; }
  bool changes() override { return true; }
  // As classic Swarm writes them, in one transaction.
  void put(const Addresses& all) override {
    orch::etcd::TxnRequest txn;
    for (auto& kv : there()) {
      bool stays = false;
      for (auto& address : all) stays = stays || kv.key == nodes + address;
      if (!stays) txn.thenDelete(kv.key);
    }
    for (auto& address : all) txn.thenPut(nodes + address, address);
    client.demand("/v3/kv/txn", txn.text()).promise().wait(loop.scope);
  }
  void damage() override {
    orch::etcd::TxnRequest txn;
    txn.thenPut(nodes + "broken", "no address");
    client.demand("/v3/kv/txn", txn.text()).promise().wait(loop.scope);
  }

 private:
  std::vector<orch::etcd::KeyValue> there() {
    auto asking = orch::etcd::rangeRequest(nodes, orch::etcd::endOf(nodes), 100, 0);
    return orch::etcd::readRange(client.demand("/v3/kv/range", asking).promise().wait(loop.scope))
        .kvs;
  }
  Loop& loop;
  std::string nodes;
  orch::etcd::Client client;
  kj::Own<Backend> plugin;
};

TEST_CASE("etcd: keeps the promises of discovery in both isolations", "[discovery][etcd]") {
  auto isolation = GENERATE(testing::Isolation::KERNEL, testing::Isolation::PROCESS);
  Loop loop;
  TestEtcd etcd(*loop.env, loop.scope, "discovery-etcd");
  int number = 0;
  for (auto& check : conformance::discoveryChecks()) {
    Subject subject(loop, etcd, "check-" + std::to_string(++number), isolation);
    INFO(check.name);
    CHECK_NOTHROW(check.run(subject));
  }
}

}  // namespace
}  // namespace orch::discovery::etcd
