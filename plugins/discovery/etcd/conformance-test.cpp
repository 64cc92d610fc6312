// The promises of the kind, kept by the plugin's own file against a real etcd.
#include <catch2/catch.hpp>

#include "etcd/client.h"
#include "etcd/request.h"
#include "test-lab.h"

namespace orch::discovery::etcd {
namespace {

class Outside final {
 public:
  Outside(Loop& loop, TestEtcd& etcd, const std::string& prefix)
      : loop(loop),
        nodes(prefix + "/docker/swarm/nodes/"),
        client(*loop.env, {http::Endpoint::parse(etcd.url())}, {}, 60 * kj::SECONDS) {}
  // As classic Swarm writes them, in one transaction.
  void put(const Addresses& all) {
    orch::etcd::TxnRequest txn;
    for (auto& kv : there()) {
      bool stays = false;
      for (auto& address : all) stays = stays || kv.key == nodes + address;
      if (!stays) txn.thenDelete(kv.key);
    }
    for (auto& address : all) txn.thenPut(nodes + address, address);
    client.demand("/v3/kv/txn", txn.text()).promise().wait(loop.scope);
  }
  void damage() {
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
};

TEST_CASE("etcd: keeps the promises of discovery in both isolations", "[discovery][etcd]") {
  keepsThePromises<Plugin, Outside>("discovery-etcd");
}

}  // namespace
}  // namespace orch::discovery::etcd
