// For tests: the networks of RecordingServer.
#pragma once

#include <kj/debug.h>

#include <string>
#include <vector>

#include "orch/fail.h"
#include "recording-nodes.h"

namespace orch::cli {

// `bridge`, the nodes' own; `front`, which `web` is on; `vault`, which nobody is on.
class RecordingNetworks : public RecordingNodes {
 public:
  explicit RecordingNetworks(std::vector<std::string>& calls) : asked(calls) {}

  kj::Promise<void> createNetwork(CreateNetworkContext context) override {
    auto network = context.getParams().getNetwork();
    auto flags =
        kj::str(network.getInternal() ? " internal" : "", network.getIpv6() ? " ipv6" : "");
    auto ofIpv6 = kj::Vector<kj::String>();
    for (capnp::Text::Reader text :
         {network.getSubnet6(), network.getGateway6(), network.getIpRange6()}) {
      if (text.size() > 0) ofIpv6.add(kj::str(" ", text));
    }
    asked.push_back(kj::str("createNetwork ", network.getName(), flags, " ", network.getSubnet(),
                            kj::strArray(ofIpv6, ""), pairs(network.getReserved()),
                            pairs(network.getLabels()))
                        .cStr());
    context.getResults().initNetwork().initMeta().setId("w9aaaaaaaaaaaaaaaaaaaaaaa");
    return kj::READY_NOW;
  }
  kj::Promise<void> networks(NetworksContext context) override {
    auto list = context.getResults().initNetworks(kj::size(NAMES));
    for (unsigned i = 0; i < list.size(); ++i) fill(i, list[i]);
    return kj::READY_NOW;
  }
  kj::Promise<void> network(NetworkContext context) override {
    auto typed = context.getParams().getId();
    for (unsigned i = 0; i < kj::size(NAMES); ++i) {
      if (typed != NAMES[i] && typed != idOf(i)) continue;
      auto network = context.getResults().initNetwork();
      fill(i, network);
      if (i != FRONT) return kj::READY_NOW;
      auto service = network.initServices(1)[0];
      service.setName("web");
      service.setAddress("10.0.1.2");
      auto task = network.initTasks(1)[0];
      task.setName("web.1");
      task.setAddress("10.0.1.3/24");
      task.setNode("node-1");
      return kj::READY_NOW;
    }
    fail(kj::str("no network '", typed, "'"));
  }
  // `front` lacks an entry on node-2, and node-3 does not answer for it; all else is well.
  kj::Promise<void> checkNetworks(CheckNetworksContext context) override {
    auto params = context.getParams();
    asked.push_back(
        kj::str("checkNetworks ", params.getId(), params.getRepair() ? " repair" : "").cStr());
    auto results = context.getResults();
    results.setNodes(2);
    results.setThings(40);
    if (params.getId() != "front") return kj::READY_NOW;
    auto finding = results.initFindings(1)[0];
    finding.setNode("node-2");
    finding.setNetwork("front");
    finding.setObject("neighbour 10.0.1.3 (web.1)");
    finding.setExpected("02:42:0a:00:01:03");
    finding.setRepaired(params.getRepair());
    if (!params.getRepair()) results.initMissing(1).set(0, "node-3: it is away");
    return kj::READY_NOW;
  }
  kj::Promise<void> pruneNetworks(PruneNetworksContext context) override {
    auto ids = context.getParams().getIds();
    asked.push_back(kj::str("pruneNetworks ", kj::strArray(ids, " ")).cStr());
    context.getResults().initRemoved(1).set(0, "vault");
    return kj::READY_NOW;
  }

 private:
  static constexpr kj::StringPtr NAMES[] = {"bridge"_kj, "front"_kj, "vault"_kj};
  static constexpr unsigned FRONT = 1;
  static kj::String idOf(unsigned i) {
    return i == 0 ? kj::str("bridge") : kj::str("w", i, "aaaaaaaaaaaaaaaaaaaaaaa");
  }
  static kj::String pairs(capnp::List<schema::KeyValue>::Reader list) {
    auto texts = KJ_MAP(pair, list) { return kj::str(" ", pair.getKey(), "=", pair.getValue()); };
    return kj::strArray(texts, "");
  }
  static void fill(unsigned i, schema::Network::Builder network) {
    network.initMeta().setId(idOf(i));
    network.setName(NAMES[i]);
    network.setDriver(i == 0 ? "bridge" : "overlay");
    network.setScope(i == 0 ? "local" : "swarm");
    if (i == 0) return;
    network.setInternal(i != FRONT);
    auto label = network.initLabels(1)[0];
    label.setKey("team");
    label.setValue(i == FRONT ? "a" : "b");
  }

  std::vector<std::string>& asked;
};

}  // namespace orch::cli
