#include "transaction.h"

#include <netinet/in.h>

#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "lib/record-files.h"
#include "lib/rtnetlink.h"
#include "orch/attempt.h"

namespace orch::network::ingress {

namespace {
constexpr uint32_t LOOPBACK_NETWORK = 127;
constexpr Ipv4 LOOPBACK_ADDRESS = 0x7f000001;

// UDP ports that lead somewhere from now on. Who sent to them before has a connection to the node
// itself; TCP's clients were refused.
std::vector<Unled> newlyLed(const std::vector<PortChange>& changes) {
  std::vector<Unled> ports;
  for (auto& change : changes) {
    bool before = change.before && !change.before->turns.empty();
    bool after = change.after && !change.after->turns.empty();
    if (change.key.protocol == IPPROTO_UDP && !before && after) {
      ports.push_back({change.key.protocol, change.key.port});
    }
  }
  return ports;
}

// Of an orchd that was killed before it could forget them: who sends to a published port, and is
// led where that leads no more. TCP's connections have an end of their own.
bool isStray(const RuleChange& change, const std::map<PortKey, Led>& led, const LedFlow& flow) {
  if (flow.protocol != IPPROTO_UDP) return false;
  auto port = led.find({flow.protocol, flow.port});
  if (port == led.end()) return change.nodesAfter.count(flow.server) > 0;
  auto& turns = port->second.turns;
  return std::none_of(turns.begin(), turns.end(),
                      [&](auto& turn) { return turn.address == flow.server; });
}

void forgetStrays(NetlinkSocket& socket, const RuleChange& change, const std::vector<Ipv4>& local,
                  const FlowNames& names) {
  if (change.table != TableWork::REBUILD) return;
  std::map<PortKey, Led> led;
  for (auto& port : change.ports) led[port.key] = *port.after;
  std::set<Ipv4> own(local.begin(), local.end());
  network::forgetStrays(
      socket,
      [&](const LedFlow& flow) {
        bool here = flow.asked >> 24 == LOOPBACK_NETWORK || own.count(flow.asked) > 0;
        return here && isStray(change, led, flow);
      },
      names);
}

// Of IPv6: tasks, nodes by the mesh, and this node itself, which is 127.0.0.1.
FlowNames namesOf(const RuleChange& change) {
  auto names = change.names;
  for (auto node : change.nodesBefore) names[meshAddressOf(node)] = node;
  for (auto node : change.nodesAfter) names[meshAddressOf(node)] = node;
  for (auto& address : Rtnetlink().addresses6()) names[address.address] = LOOPBACK_ADDRESS;
  return [names](const Ipv6& address) {
    auto known = names.find(address);
    return known == names.end() ? 0 : known->second;
  };
}

// What the kernel noted of connections and does not hold any more.
void forget(NetlinkSocket& socket, const RuleChange& change, const FlowNames& names = {}) {
  forgetFlows(socket, change.forget, names);
  auto unled = newlyLed(change.ports);
  if (unled.empty() && change.table != TableWork::REBUILD) return;
  std::vector<Ipv4> local;
  for (auto& address : Rtnetlink().addresses()) local.push_back(address.address);
  forgetUnled(socket, unled, local, names);
  forgetStrays(socket, change, local, names);
}

void rebuildTable(const Layout& layout, NetlinkSocket& socket, const RuleChange& change,
                  NftFamily family) {
  kj::StringPtr table = layout.table.c_str();
  NftBatch batch(table, family);
  buildTable(batch, layout, change.mesh, nftChains(socket, table, family), change.ports,
             change.nodesAfter);
  if (attemptNow([&] { batch.commit(socket); }).ok()) return;
  // Its sets or chains are not like ours: of another version, or somebody changes it.
  NftBatch anew(table, family);
  anew.addTable().deleteTable();
  buildTable(anew, layout, change.mesh, {}, change.ports, change.nodesAfter);
  anew.commit(socket);
}

void work(const Layout& layout, NetlinkSocket& socket, const RuleChange& change, NftFamily family) {
  NftBatch batch(layout.table.c_str(), family);
  switch (change.table) {
    case TableWork::CHANGE:
      buildNodes(batch, change.nodesBefore, change.nodesAfter);
      for (auto& port : change.ports) buildChange(batch, port);
      break;
    case TableWork::REBUILD:
      rebuildTable(layout, socket, change, family);
      break;
    case TableWork::REMOVE:
      batch.addTable().deleteTable();
      break;
    case TableWork::NONE:
      break;
  }
  batch.commit(socket);
}
}  // namespace

std::string apply(const Layout& layout, NetlinkSocket& socket, const RuleChange& change) {
  for (auto& record : change.records) writeRecordFile(record.folder, record.name, record.text);
  for (auto family : familiesOf(layout)) work(layout, socket, change, family);
  auto forgotten = attemptNow([&] {
    forget(socket, change);
    if (layout.ipv6) forget(socket, change, namesOf(change));
  });
  // Last: until then the next orchd finds what was not done.
  for (auto& record : change.goneRecords) removeRecordFile(record.folder, record.name);
  return forgotten.ok() ? "" : forgotten.message().cStr();
}

}  // namespace orch::network::ingress
