#include "way-out.h"

#include <unistd.h>

#include "layout.h"
#include "lib/nft-batch.h"
#include "lib/nft-content.h"

namespace orch::network::overlay {

namespace {
constexpr int32_t CLOSED_PRIORITY = 0;  // NF_IP_PRI_FILTER
void buildClosed(NftBatch& batch) {
  batch.addTable();
  batch.addChain("output", {"filter", NftPoint::OUTPUT, CLOSED_PRIORITY});
  NftRule rule(batch.ofFamily() == NftFamily::IP6);
  batch.addRule("output", rule.to(WAY_OUT_DEVICE).isNew().drop());
}

// By IPv6 a host can be reached at an address that nobody gave.
std::vector<NftFamily> families() {
  if (access("/proc/sys/net/ipv6", F_OK) != 0) return {NftFamily::IP};
  return {NftFamily::IP, NftFamily::IP6};
}

void closeAllButAnswers(int taskNamespace) {
  inNamespace(taskNamespace, [] {
    for (auto family : families()) {
      NftBatch batch(CLOSED_TABLE, family);
      batch.addTable().deleteTable();
      buildClosed(batch);
      batch.commit();
    }
  });
}
}  // namespace

bool isClosed(WayOut left, Rtnetlink& inside) {
  auto device = inside.link(WAY_OUT_DEVICE);
  if (left == WayOut::OPEN || !device) return true;
  if (left == WayOut::NONE) return !device->up;
  Findings findings;
  for (auto family : families()) {
    NftBatch batch(CLOSED_TABLE, family);
    buildClosed(batch);
    checkTable(batch, findings);
  }
  return findings.empty();
}

void closeWayOut(WayOut left, int taskNamespace, Rtnetlink& inside, const Step& step) {
  auto device = inside.link(WAY_OUT_DEVICE);
  if (left == WayOut::OPEN || !device) return;
  if (step) step();
  if (left == WayOut::ANSWERS) return closeAllButAnswers(taskNamespace);
  Rtnetlink node;
  auto end = node.link(device->peer);
  // By number alone it could be a device of another namespace.
  bool isEnd = end && end->kind == "veth" && end->peer == device->index;
  if (isEnd) node.run(linkDown(end->index));
  inside.run(linkDown(device->index));
}

}  // namespace orch::network::overlay
