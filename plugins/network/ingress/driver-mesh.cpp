// Of the driver: what other nodes have.
#include "driver.h"
#include "orch/attempt.h"

namespace orch::network::ingress {

Task<std::vector<std::string>> IngressDriver::update(MeshNews news) {
  if (layout.address) news.facts.own = *layout.address;
  auto turn = co_await turns.take("");
  auto gone = others.take(kj::mv(news));
  forget.insert(forget.end(), gone.begin(), gone.end());
  co_await meet();
  auto untaken = co_await lead();
  co_return kj::mv(untaken);
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
  if (!anew && strangers.empty()) co_return;
  auto work = [layout = layout, before = mesh, facts, strangers, anew] {
    if (anew && facts.own != 0) prepareMesh(layout, before, facts);
    if (anew && facts.own == 0) removeMesh(layout, before);
    meetNodes(layout, strangers);
  };
  auto working = env.workers().run(kj::mv(work));
  co_await working;
  met.insert(strangers.begin(), strangers.end());
  mesh = kj::mv(facts);
  rebuild |= anew;
}

Task<std::vector<std::string>> IngressDriver::lead() {
  std::vector<std::string> untaken;
  auto before = ports.keys();
  ports.share(sharesOf(untaken));
  co_await sync();
  bool lost = false;
  for (auto& key : ports.keys()) lost |= sockets.holds(key) && !sockets.secure(key);
  if (lost) {  // to a program that was faster
    untaken.clear();
    ports.share(sharesOf(untaken));
    co_await sync();
  }
  releaseUnused(before);
  co_return kj::mv(untaken);
}

Shares IngressDriver::sharesOf(std::vector<std::string>& untaken) {
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
