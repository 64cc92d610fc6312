#include "way-out.h"

#include <unistd.h>

#include "layout.h"
#include "lib/kernel-switch.h"
#include "lib/nft-batch.h"
#include "lib/nft-content.h"

namespace orch::network::overlay {

namespace {
constexpr int32_t CLOSED_PRIORITY = 0;  // NF_IP_PRI_FILTER
// Published ports are IPv4's, and by IPv6 a host can be reached at an address that nobody gave.
constexpr kj::StringPtr WITHOUT_IPV6 = "/proc/sys/net/ipv6/conf/eth0/disable_ipv6"_kj;

void buildClosed(NftBatch& batch) {
  batch.addTable();
  batch.addChain("output", {"filter", NftPoint::OUTPUT, CLOSED_PRIORITY});
  batch.addRule("output", NftRule().to(WAY_OUT_DEVICE).isNew().drop());
}

void closeAllButAnswers(int taskNamespace) {
  inNamespace(taskNamespace, [] {
    NftBatch batch(CLOSED_TABLE);
    batch.addTable().deleteTable();
    buildClosed(batch);
    batch.commit();
    bool kernelHas = access(WITHOUT_IPV6.cStr(), F_OK) == 0;
    if (kernelHas) switchOn(WITHOUT_IPV6);
  });
}
}  // namespace

bool isClosed(WayOut left, Rtnetlink& inside) {
  auto device = inside.link(WAY_OUT_DEVICE);
  if (left == WayOut::OPEN || !device) return true;
  if (left == WayOut::NONE) return !device->up;
  Findings findings;
  NftBatch batch(CLOSED_TABLE);
  buildClosed(batch);
  checkTable(batch, findings);
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
