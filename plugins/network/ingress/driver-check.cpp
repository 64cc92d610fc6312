// Of the driver: whether the kernel is as the books say.
#include <kj/debug.h>

#include <utility>

#include "check.h"
#include "driver.h"
#include "orch/attempt.h"

namespace orch::network::ingress {

Task<Findings> IngressDriver::check(bool repair) {
  auto turn = co_await turns.take("");
  if (stopped) co_return Findings();
  auto findings = co_await compare();
  if (!repair || findings.empty()) co_return kj::mv(findings);
  log.warn("network.repaired", {{"things", kj::str(findings.all().size())}});
  auto mended = co_await attempt(mend());
  if (!mended.ok()) log.warn("network.repair-failed", {{"reason", mended.message()}});
  auto left = co_await compare();
  findings.repairedBut(left);
  co_return kj::mv(findings);
}

// As if the kernel had nothing; what is there and right is not touched.
Task<void> IngressDriver::mend() {
  rebuild = true;
  met.clear();
  if (mesh.own != 0) {
    auto work = [layout = layout, mesh = mesh] { prepareMesh(layout, mesh, mesh, true); };
    auto working = env.workers().run(kj::mv(work));
    co_await working;
  }
  co_await meet();
  holdAll();
  co_await lead();
}

// In the turn of the mesh. No transaction begins meanwhile.
Task<Findings> IngressDriver::compare() {
  while (flushing || rebuild || !ports.changes().empty()) {
    if (idle() && !flushing && !tableThere) break;
    auto settled = co_await attempt(sync());
    if (!settled.ok()) break;
  }
  bool mine = !std::exchange(flushing, true);
  WantedPorts wanted{tableThere, mesh, ports.everything(), inKernel, met};
  auto work = [layout = layout, wanted] { return checkPublished(layout, wanted); };
  auto reading = env.workers().run(kj::mv(work));
  auto read = co_await attempt(kj::mv(reading));
  if (mine) {
    flushing = !waiters.empty();
    if (flushing) tasks.add(flush());
  }
  if (!read.ok()) kj::throwFatalException(kj::mv(read.error()));
  auto findings = kj::mv(read.value());
  for (auto& key : ports.keys()) {
    auto port = kj::str("published port ", portText(key.port, key.protocol));
    findings.compare(port, "held", sockets.holds(key) ? "held" : "another program has it");
  }
  for (auto& text : untaken)
    findings.compare(kj::str("published port"), "answered on", text.c_str());
  co_return kj::mv(findings);
}

std::vector<std::string> IngressDriver::active() const {
  std::vector<std::string> taskIds;
  for (auto& [taskId, publication] : published) {
    if (publication.active) taskIds.push_back(taskId);
  }
  return taskIds;
}

}  // namespace orch::network::ingress
