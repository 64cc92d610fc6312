#include "told-check.h"

#include <kj/string.h>

#include <set>

namespace orch::control::agent {

namespace {
void add(ToldThings& things, kj::String key, kj::StringPtr network, kj::String object,
         kj::String what) {
  things[key.cStr()] = {network.cStr(), object.cStr(), what.cStr()};
}

// Of IPv6.
kj::String beside(kj::StringPtr text) { return text.size() > 0 ? kj::str(", ", text) : kj::str(); }
}  // namespace

void note(schema::Network::Reader network, ToldThings& things) {
  auto id = network.getMeta().getId();
  add(things, kj::str("network ", id), id, kj::str("network ", network.getName(), ", as told"),
      kj::str(network.getSubnet(), " by ", network.getGateway(), ", VNI ", network.getVni(),
              beside(network.getSubnet6())));
}

void note(schema::NetworkPeer::Reader peer, ToldThings& things) {
  add(things, kj::str("peer ", peer.getNetwork(), " ", peer.getTaskId()), peer.getNetwork(),
      kj::str("peer ", peer.getName(), ", as told"),
      kj::str(peer.getAddress(), beside(peer.getAddress6()), " on ", peer.getNodeAddress(),
              peer.getServing() ? ", serving" : ""));
}

void note(schema::NetworkService::Reader service, ToldThings& things) {
  auto address = service.getAddress();
  add(things, kj::str("service ", service.getNetwork(), " ", service.getServiceId()),
      service.getNetwork(), kj::str("service ", service.getName(), ", as told"),
      kj::str(address.size() > 0 ? address : "no address"_kj, beside(service.getAddress6()),
              service.getAliases().size() > 0 ? " alias " : "",
              kj::strArray(service.getAliases(), " ")));
}

void note(schema::MeshNode::Reader node, ToldThings& things) {
  if (node.getPorts().size() == 0) return;
  std::map<std::pair<uint16_t, uint16_t>, uint32_t> ports;
  for (auto port : node.getPorts()) {
    ports[{port.getPublished(), uint16_t(port.getProtocol())}] = port.getTasks();
  }
  auto what = kj::str("at ", node.getAddress());
  for (auto& [port, tasks] : ports) {
    bool udp = port.second == uint16_t(schema::PortSpec::Protocol::UDP);
    what = kj::str(what, ", ", port.first, udp ? "/udp" : "/tcp", " of ", tasks);
  }
  add(things, kj::str("node ", node.getNodeId()), "",
      kj::str("published ports of node ", node.getNodeId(), ", as told"), kj::mv(what));
}

ToldThings thingsOf(capnp::List<schema::Assignment>::Reader expected) {
  ToldThings things;
  for (auto one : expected) {
    if (one.isNetwork()) note(one.getNetwork(), things);
    if (one.isPeer()) note(one.getPeer(), things);
    if (one.isService()) note(one.getService(), things);
    if (one.isMeshNode()) note(one.getMeshNode(), things);
  }
  return things;
}

std::vector<ToldFinding> compareTold(const ToldThings& expected, const ToldThings& told,
                                     const std::string& network, uint32_t& things) {
  std::set<std::string> keys;
  for (auto& entry : expected) keys.insert(entry.first);
  for (auto& entry : told) keys.insert(entry.first);
  std::vector<ToldFinding> findings;
  for (auto& key : keys) {
    auto wanted = expected.find(key);
    auto known = told.find(key);
    auto& one = wanted != expected.end() ? wanted->second : known->second;
    if (!network.empty() && one.network != network) continue;
    ++things;
    auto should = wanted == expected.end() ? std::string() : wanted->second.what;
    auto is = known == told.end() ? std::string() : known->second.what;
    if (should != is) findings.push_back({{one.network, one.object, should}, is});
  }
  return findings;
}

}  // namespace orch::control::agent
