// Of the driver: what other nodes have.
#include "driver.h"
#include "lib/nft-batch.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::network::ingress {

Task<std::vector<std::string>> IngressDriver::update(MeshNews news) {
  if (layout.address) news.facts.own = *layout.address;
  auto turn = co_await turns.take("");
  if (stopped) fail(kj::str("published ports have been stopped"));
  auto gone = others.take(kj::mv(news));
  unshared.insert(unshared.end(), gone.begin(), gone.end());
  bool moved = mesh.own != 0 && mesh != others.facts();
  if (!idle()) {
    co_await meet();
  } else if (moved) {
    co_await sweep();
  }
  co_await lead();
  co_return std::vector<std::string>(untaken);
}

Task<void> IngressDriver::join() {
  auto turn = co_await turns.take("");
  if (idle() || mesh == others.facts()) co_return;
  auto met = co_await attempt(meet());
  complain(met.ok() ? ""_kj : met.message());
  if (met.ok()) co_await lead();
}

Task<void> IngressDriver::keepLooking() {
  while (!stopped) {
    co_await env.timer().afterDelay(LOOK_EVERY);
    auto looked = co_await attempt(look());
    complain(looked.ok() ? ""_kj : looked.message());
  }
}

void IngressDriver::tell(kj::StringPtr topic) {
  KJ_IF_MAYBE (hear, events) (*hear)(topic);
}

void IngressDriver::complain(kj::StringPtr reason) {
  if (reason != complaint.c_str() && reason.size() > 0) {
    log.warn("network.mesh-lacking, trying again", {{"reason", reason}});
  }
  complaint = reason.cStr();
}

Task<void> IngressDriver::look() {
  auto turn = co_await turns.take("");
  if (stopped) co_return;
  if (idle()) {
    co_await sweep();
    co_return;
  }
  co_await meet();
  auto looking = env.workers().run([layout = layout] {
    NetlinkSocket socket(NETLINK_NETFILTER);
    bool all = true;
    for (auto family : familiesOf(layout)) {
      all &= nftIsWhole(socket, layout.table.c_str(), lastingChains(), family);
    }
    return all;
  });
  bool whole = co_await looking;
  bool lost = !whole && !rebuild && tableThere;
  if (lost) {
    log.warn("network.table-rebuilt", {{"reason", "somebody has flushed it, or taken it away"}});
    rebuild = true;
  }
  holdAll();  // what is not to be had is not told of again
  auto before = untaken;
  if (rebuild || !untaken.empty()) co_await lead();
  if (untaken != before) tell("ports.changed");
  if (lost) tell("rules.restored");
}

Task<void> IngressDriver::sweep() {
  if (!tableThere && !meshThere) co_return;
  auto looking = env.workers().run([layout = layout, nodes = others.addresses()] {
    return meshIsInUse(layout, {nodes.begin(), nodes.end()});
  });
  bool open = co_await looking;
  if (open || !idle()) co_return;
  leave = true;
  co_await sync();
  if (!idle()) co_return;
  auto facts = mesh.own != 0 ? mesh : others.facts();
  auto removing = env.workers().run([layout = layout, facts] { removeMesh(layout, facts); });
  mesh = {};
  met.clear();
  co_await removing;
  meshThere = false;
}

// Where there is none, the others' ports are not answered on.
Task<void> IngressDriver::meet() {
  auto facts = others.facts();
  bool anew = facts != mesh;
  if (anew) met.clear();
  std::set<Ipv4> strangers;
  if (facts.own != 0) {
    for (auto node : others.addresses()) {
      if (met.count(node) == 0) strangers.insert(node);
    }
  }
  if (!anew && facts.own == 0) co_return;
  meshThere = true;
  auto work = [layout = layout, before = mesh, facts, anew, strangers, all = others.addresses()] {
    if (facts.own == 0) {
      removeMesh(layout, before);
      return false;
    }
    bool lacking = prepareMesh(layout, before, facts, anew);
    meetNodes(layout, lacking ? all : strangers);
    return lacking;
  };
  auto working = env.workers().run(kj::mv(work));
  bool lacking = co_await working;
  if (lacking && !anew) {
    log.warn("network.mesh-made-again", {{"reason", "somebody has taken a part of it away"}});
    tell("rules.restored");
  }
  met.insert(strangers.begin(), strangers.end());
  mesh = kj::mv(facts);
  rebuild |= anew;
}

Task<void> IngressDriver::lead() {
  auto before = ports.keys();
  ports.share(takeShares());
  // With the change that ends it: before, clients would be led there again.
  forget.insert(forget.end(), unshared.begin(), unshared.end());
  unshared.clear();
  co_await sync();
  bool lost = false;
  for (auto& key : ports.keys()) lost |= sockets.holds(key) && !sockets.secure(key);
  if (lost) {  // to a program that was faster
    ports.share(takeShares());
    co_await sync();
  }
  releaseUnused(before);
}

Shares IngressDriver::takeShares() {
  untaken.clear();
  if (mesh.own == 0) return {};
  auto shares = others.shares();
  std::erase_if(shares, [&](auto& entry) {
    auto& key = entry.first;
    TaskPort port{0, key.port, key.protocol, false};
    const char* why = nullptr;
    if (ports.conflicts(port)) why = "a task of this node has it for itself";
    if (why == nullptr && !sockets.hold(key)) why = "another program listens on it";
    if (why == nullptr) return false;
    untaken.push_back(kj::str(portText(key.port, key.protocol), ": ", why).cStr());
    return true;
  });
  return shares;
}

}  // namespace orch::network::ingress
