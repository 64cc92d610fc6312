#include "encryption/guard.h"

#include <netinet/in.h>

#include "encryption/keys.h"
#include "lib/nft-batch.h"
#include "lib/nft-content.h"

namespace orch::network::overlay {

namespace {
constexpr int32_t GUARD_PRIORITY = 0;  // NF_IP6_PRI_FILTER; who drops has the last word at any

void buildGuard(NftBatch& batch, const std::string& device, uint16_t dataPort) {
  batch.addTable();
  batch.addChain("output", {"filter", NftPoint::OUTPUT, GUARD_PRIORITY});
  batch.addChain("input", {"filter", NftPoint::INPUT, GUARD_PRIORITY});
  batch.addRule("output", NftRule()
                              .destination6Begins(TUNNEL_RANGE.data(), TUNNEL_RANGE.size())
                              .notTo(device.c_str())
                              .drop());
  batch.addRule(
      "input",
      NftRule().protocolIs(IPPROTO_UDP).destinationPortIs(dataPort).notFrom(device.c_str()).drop());
}
}  // namespace

void putUpGuard(const std::string& device, uint16_t dataPort) {
  NftBatch batch(device.c_str(), NftFamily::IP6);
  batch.addTable().deleteTable();
  buildGuard(batch, device, dataPort);
  batch.commit();
}

void takeDownGuard(const std::string& device) {
  if (!nftTableExists(device.c_str(), NftFamily::IP6)) return;
  NftBatch batch(device.c_str(), NftFamily::IP6);
  batch.addTable().deleteTable().commit();
}

void checkGuard(const std::string& device, uint16_t dataPort, Findings& findings) {
  NftBatch batch(device.c_str(), NftFamily::IP6);
  buildGuard(batch, device, dataPort);
  checkTable(batch, findings);
}

}  // namespace orch::network::overlay
