// What is different where several hosts manage a simulated cluster: they have their state in
// common.
#include <kj/debug.h>

#include <algorithm>
#include <filesystem>

#include "orch/schema/cluster.capnp.h"
#include "simulation.h"

namespace orch::testing {

MemoryStore& Simulation::state() {
  return plan.managers > 1 ? sharedState : host(MANAGER_HOST.cStr()).clusterDisk;
}

void Simulation::elected(const std::string& name) {
  log.add(name.c_str(), kj::str("has won epoch ", state().epoch()));
  leading = name;
  ++leads;
  managerSinceMs = nowMs();
}

// The first host makes the cluster, and the others have joined it.
void Simulation::becomeSeveral() {
  for (auto& entry : hosts) std::filesystem::create_directories(folder + "/" + entry.first);
  auto& first = host(MANAGER_HOST.cStr());
  first.powerOn();
  advance(2 * kj::SECONDS);
  auto request = KJ_REQUIRE_NONNULL(first.service("cluster"), "the first manager does not start")
                     .castAs<schema::ClusterControl>()
                     .initRequest();
  request.setRequestId("init");
  request.setAddress(first.member.managers[0].c_str());
  auto made = request.send().ignoreResult().eagerlyEvaluate(nullptr);
  advance(1 * kj::SECONDS);
  KJ_REQUIRE(made.poll(world.waitScope()), "the cluster is not made");
  made.wait(world.waitScope());
  std::vector<std::string> addresses;
  for (auto& entry : hosts) {
    if (!isManager(*entry.second)) continue;
    addresses.emplace_back(kj::str(entry.first.c_str(), ":", NODE_PORT).cStr());
  }
  for (auto& entry : hosts) {
    entry.second->member.joined = true;
    entry.second->member.cluster = first.member.cluster;
    entry.second->member.trusted = first.member.trusted;
    entry.second->member.managers = addresses;
  }
  // As a member from the start it describes itself with its address.
  first.crashOrchd();
  first.startOrchd();
  advance(1 * kj::SECONDS);
}

bool Simulation::mayManagersBeDown() {
  return std::any_of(hosts.begin(), hosts.end(), [this](auto& entry) {
    return isManager(*entry.second) && mayBeDown(entry.first);
  });
}

}  // namespace orch::testing
