#include "transaction.h"

#include <netinet/in.h>

#include "lib/record-files.h"
#include "lib/rtnetlink.h"
#include "orch/attempt.h"

namespace orch::network::ingress {

namespace {
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

void rebuildTable(const Layout& layout, NetlinkSocket& socket, const RuleChange& change) {
  NftBatch batch(layout.table.c_str());
  buildTable(batch, layout, change.mesh, nftChains(socket, layout.table.c_str()), change.ports,
             change.nodesAfter);
  if (attemptNow([&] { batch.commit(socket); }).ok()) return;
  // Its sets or chains are not like ours: of another version, or somebody changes it.
  NftBatch anew(layout.table.c_str());
  anew.addTable().deleteTable();
  buildTable(anew, layout, change.mesh, {}, change.ports, change.nodesAfter);
  anew.commit(socket);
}

void work(const Layout& layout, NetlinkSocket& socket, const RuleChange& change) {
  NftBatch batch(layout.table.c_str());
  switch (change.table) {
    case TableWork::CHANGE:
      buildNodes(batch, change.nodesBefore, change.nodesAfter);
      for (auto& port : change.ports) buildChange(batch, port);
      break;
    case TableWork::REBUILD:
      rebuildTable(layout, socket, change);
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
  work(layout, socket, change);
  for (auto& record : change.goneRecords) removeRecordFile(record.folder, record.name);
  auto forgotten = attemptNow([&] {
    forgetFlows(socket, change.forget);
    auto unled = newlyLed(change.ports);
    if (unled.empty()) return;
    std::vector<Ipv4> local;
    for (auto& address : Rtnetlink().addresses()) local.push_back(address.address);
    forgetUnled(socket, unled, local);
  });
  return forgotten.ok() ? "" : forgotten.message().cStr();
}

}  // namespace orch::network::ingress
