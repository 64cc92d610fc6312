// Of the driver: whether the kernel is as the books say.
#include <kj/debug.h>

#include <utility>

#include "check.h"
#include "driver.h"
#include "orch/attempt.h"

namespace orch::network::overlay {

Task<Findings> OverlayDriver::check(std::string only, bool repair) {
  std::vector<std::string> ids;
  for (auto& [id, network] : networks) {
    bool meant = only.empty() || only == id;
    if (meant && network->book.told() && network->book.hasLegs()) ids.push_back(id);
  }
  Findings all;
  for (auto& id : ids) {
    auto found = co_await checkOne(id, repair);
    all.add(found);
  }
  co_return kj::mv(all);
}

Task<Findings> OverlayDriver::checkOne(std::string id, bool repair) {
  auto findings = co_await look(id);
  auto known = networks.find(id);
  if (!repair || findings.empty() || known == networks.end()) co_return kj::mv(findings);
  log.warn("network.repaired",
           {{"network", id.c_str()}, {"things", kj::str(findings.all().size())}});
  known->second->book.startOver();
  known->second->sandbox.reset();  // looks again at what there is
  encryption.doubt();
  auto mended = co_await attempt(sync(id));
  if (!mended.ok()) {
    log.warn("network.repair-failed", {{"network", id.c_str()}, {"reason", mended.message()}});
  }
  auto left = co_await look(id);
  findings.repairedBut(left);
  co_return kj::mv(findings);
}

Task<Findings> OverlayDriver::look(std::string id) {
  // What is asked for already comes first; it may fail, and is found then.
  for (;;) {
    auto known = networks.find(id);
    if (known == networks.end() || !known->second->book.hasLegs()) co_return Findings(id);
    auto& network = *known->second;
    if (!network.working && !network.book.hasChanges()) break;
    auto settled = co_await attempt(sync(id));
    if (!settled.ok()) break;
  }
  auto& network = networkOf(id);  // stays while `working`
  bool mine = !std::exchange(network.working, true);
  auto wanted = network.book.whole(hostFor(network));
  std::optional<TunnelFacts> tunnel;
  if (network.book.isEncrypted()) tunnel = encryption.wanted();
  auto reading = env.workers().run([layout = layout, id, wanted, tunnel] {
    auto findings = checkNetwork(layout, id, wanted);
    if (tunnel) checkTunnel(*tunnel, findings);
    return findings;
  });
  auto read = co_await attempt(kj::mv(reading));
  if (mine) {
    network.working = !network.waiters.empty();
    if (network.working) tasks.add(work(id));
  }
  if (!read.ok()) kj::throwFatalException(kj::mv(read.error()));
  co_return kj::mv(read.value());
}

std::vector<std::pair<std::string, std::string>> OverlayDriver::members(
    const std::string& only) const {
  std::vector<std::pair<std::string, std::string>> all;
  for (auto& [id, network] : networks) {
    if (!only.empty() && only != id) continue;
    for (auto& taskId : network->book.taskIds()) all.emplace_back(id, taskId);
  }
  return all;
}

}  // namespace orch::network::overlay
