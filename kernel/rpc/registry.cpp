#include "kernel/rpc/registry.h"

#include <kj/debug.h>

#include "orch/fail.h"

namespace orch::rpc {

// One who waits for a name that nobody has offered yet: lives as long as the promise.
class Registry::Waiter final {
 public:
  Waiter(kj::PromiseFulfiller<capnp::Capability::Client>& fulfiller, Registry& registry,
         const std::string& name)
      : fulfiller(fulfiller),
        registry(registry),
        place(registry.waiting.emplace(name, this)),
        inside(true) {}
  ~Waiter() {
    if (inside) registry.waiting.erase(place);
  }
  KJ_DISALLOW_COPY(Waiter);

  void registryGone() {
    inside = false;
    fulfiller.reject(KJ_EXCEPTION(DISCONNECTED, "this node has stopped"));
  }
  void offered(capnp::Capability::Client service) {
    inside = false;
    registry.waiting.erase(place);
    fulfiller.fulfill(kj::mv(service));
  }

 private:
  kj::PromiseFulfiller<capnp::Capability::Client>& fulfiller;
  Registry& registry;
  std::multimap<std::string, Waiter*>::iterator place;
  bool inside;
};

Registry::~Registry() noexcept(false) {
  for (auto& entry : waiting) entry.second->registryGone();
}

void Registry::offer(const std::string& name, capnp::Capability::Client service) {
  auto& target = targets[name];
  if (target.get() == nullptr) target = kj::refcounted<ServiceTarget>(name);
  if (target->current != nullptr) {
    fail(kj::str("two plugins offer a service '", name.c_str(),
                 "'; a plugin's service is called like its instance"));
  }
  target->current = kj::mv(service);
  for (;;) {
    auto next = waiting.find(name);
    if (next == waiting.end()) break;
    next->second->offered(newServiceProxy(kj::addRef(*target)));
  }
}

void Registry::offerToPeers(const std::string& name, schema::PeerService::Client service) {
  peerServices.insert_or_assign(name, kj::mv(service));
}

kj::Maybe<schema::PeerService::Client&> Registry::forPeers(const std::string& name) {
  auto found = peerServices.find(name);
  if (found == peerServices.end()) return nullptr;
  return found->second;
}

std::vector<std::string> Registry::namesForPeers() const {
  std::vector<std::string> found;
  for (auto& entry : peerServices) found.push_back(entry.first);
  return found;
}

void Registry::withdraw(const std::string& name) {
  peerServices.erase(name);
  auto found = targets.find(name);
  if (found == targets.end()) return;
  found->second->current = nullptr;
}

bool Registry::runs(const std::string& name) const {
  auto found = targets.find(name);
  return found != targets.end() && found->second->current != nullptr;
}

kj::Promise<capnp::Capability::Client> Registry::find(const std::string& name) {
  auto found = targets.find(name);
  if (found != targets.end()) return newServiceProxy(kj::addRef(*found->second));
  return kj::newAdaptedPromise<capnp::Capability::Client, Waiter>(*this, name);
}

std::vector<std::string> Registry::names(const std::string& prefix) const {
  std::vector<std::string> found;
  for (auto& [name, target] : targets) {
    if (name.compare(0, prefix.size(), prefix) == 0 && runs(name)) found.push_back(name);
  }
  return found;
}

}  // namespace orch::rpc
