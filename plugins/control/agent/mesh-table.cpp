#include "mesh-table.h"

#include <kj/debug.h>

#include <utility>

#include "lib/ipv4.h"
#include "orch/attempt.h"

namespace orch::control::agent {

namespace {
constexpr uint64_t FIRST_MESH_PAUSE_MS = 100;
constexpr uint64_t LONGEST_MESH_PAUSE_MS = 10'000;
}  // namespace

MeshTable::MeshTable(Env& env, Log& log, Find find)
    : env(env), log(log), find(std::move(find)), tasks(*this) {}

void MeshTable::taskFailed(kj::Exception&& exception) {
  log.error("agent.mesh-failed", {{"reason", plainText(exception)}});
}

void MeshTable::begin(bool complete) {
  if (!complete) return;
  heard = true;
  whole = true;
  nodes.clear();
}

void MeshTable::take(schema::MeshNode::Reader node) {
  auto message = std::make_unique<capnp::MallocMessageBuilder>(node.totalSize().wordCount + 1);
  message->setRoot(node);
  nodes[node.getNodeId().cStr()] = std::move(message);
  changed.insert(node.getNodeId().cStr());
}

void MeshTable::forget(kj::StringPtr nodeId) {
  nodes.erase(nodeId.cStr());
  changed.insert(nodeId.cStr());
}

void MeshTable::end() {
  if (whole || !changed.empty()) tell();
}

void MeshTable::describe(schema::NodeDescription::Reader description) {
  std::string whereTo;
  auto host = network::parseIpv4Host(description.getAddress());
  if (host) whereTo = network::ipv4Text(*host).cStr();
  std::vector<std::string> local;
  for (auto network : description.getNetworks()) {
    if (network.getSubnet().size() > 0) local.push_back(network.getSubnet().cStr());
  }
  if (whereTo == address && local == inside) return;
  address = std::move(whereTo);
  inside = std::move(local);
  whole = true;
  tell();
}

void MeshTable::describe(ToldThings& things) const {
  for (auto& entry : nodes)
    agent::note(entry.second->getRoot<schema::MeshNode>().asReader(), things);
}

void MeshTable::restarted() {
  whole = true;
  tell();
}

// A node that was always alone has nothing to do with others, and needs no plugin for it.
void MeshTable::tell() {
  bool alone = address.empty() && nodes.empty();
  if (alone && !toldOnce) return;
  toldOnce = true;
  if (std::exchange(telling, true)) return;
  tasks.add(keepTelling());
}

Task<void> MeshTable::keepTelling() {
  uint64_t pauseMs = FIRST_MESH_PAUSE_MS;
  while (whole || asking || !changed.empty()) {
    auto told = co_await attempt(send());
    if (told.ok()) {
      pauseMs = FIRST_MESH_PAUSE_MS;
      continue;
    }
    whole = true;
    log.warn("agent.mesh-untold, telling it again", {{"reason", told.message()}});
    co_await env.timer().afterDelay(pauseMs * kj::MILLISECONDS);
    pauseMs = kj::min(2 * pauseMs, LONGEST_MESH_PAUSE_MS);
  }
  telling = false;
  for (auto& waiter : std::exchange(waiters, {})) waiter->fulfill();
}

void MeshTable::ask() {
  asking = true;
  tell();
}

kj::Promise<void> MeshTable::settled() {
  if (!telling) return kj::READY_NOW;
  auto pair = kj::newPromiseAndFulfiller<void>();
  waiters.push_back(kj::mv(pair.fulfiller));
  return kj::mv(pair.promise);
}

Task<void> MeshTable::send() {
  auto request = find().updateRequest();
  auto change = request.initChange();
  bool all = std::exchange(whole, false);
  asking = false;
  auto ids = std::exchange(changed, {});
  change.setComplete(all && heard);
  change.setAddress(address.c_str());
  auto subnets = change.initInside(inside.size());
  for (uint32_t i = 0; i < subnets.size(); ++i) subnets.set(i, inside[i].c_str());
  std::vector<const std::string*> there, gone;
  if (all) {
    for (auto& entry : nodes) there.push_back(&entry.first);
  } else {
    for (auto& id : ids) (nodes.count(id) > 0 ? there : gone).push_back(&id);
  }
  auto list = change.initNodes(there.size());
  for (uint32_t i = 0; i < list.size(); ++i) {
    list.setWithCaveats(i, nodes.at(*there[i])->getRoot<schema::MeshNode>().asReader());
  }
  auto left = change.initGone(gone.size());
  for (uint32_t i = 0; i < left.size(); ++i) left.set(i, gone[i]->c_str());
  auto answer = co_await request.send();
  note(answer.getUntaken());
}

// Each once, until it is over.
void MeshTable::note(capnp::List<capnp::Text>::Reader untaken) {
  std::set<std::string> now;
  for (auto text : untaken) {
    now.insert(text.cStr());
    if (complained.count(text.cStr()) > 0) continue;
    log.warn("network.port-not-answered, tasks of other nodes are not reached by it here",
             {{"port", text}});
  }
  if (now == complained) return;
  complained = std::move(now);
  if (untakenChanged) untakenChanged();
}

}  // namespace orch::control::agent
