#include "kernel/rpc/registry.h"

#include "orch/fail.h"

namespace orch::rpc {

void Registry::offer(const std::string& name, capnp::Capability::Client service, CallStats& stats,
                     uint64_t deadlineMs) {
  auto& entry = entries[name];
  if (entry.target.get() == nullptr) entry.target = kj::refcounted<ServiceTarget>(name, timer);
  if (entry.target->current != nullptr) {
    fail(kj::str("two plugins offer a service '", name.c_str(),
                 "'; a plugin's service is called like its instance"));
  }
  entry.target->current = kj::mv(service);
  entry.target->stats = &stats;
  entry.target->deadlineMs = deadlineMs;
  for (auto& waiter : entry.waiting) {
    auto proxy = newServiceProxy(kj::addRef(*entry.target));
    waiter->fulfill(kj::mv(proxy));
  }
  entry.waiting.clear();
}

void Registry::withdraw(const std::string& name) {
  auto found = entries.find(name);
  if (found == entries.end() || found->second.target.get() == nullptr) return;
  found->second.target->current = nullptr;
}

bool Registry::runs(const std::string& name) const {
  auto found = entries.find(name);
  return found != entries.end() && found->second.target.get() != nullptr &&
         found->second.target->current != nullptr;
}

kj::Promise<capnp::Capability::Client> Registry::find(const std::string& name) {
  auto& entry = entries[name];
  if (entry.target.get() != nullptr) return newServiceProxy(kj::addRef(*entry.target));
  auto pair = kj::newPromiseAndFulfiller<capnp::Capability::Client>();
  entry.waiting.add(kj::mv(pair.fulfiller));
  return kj::mv(pair.promise);
}

std::vector<std::string> Registry::names(const std::string& prefix) const {
  std::vector<std::string> found;
  for (auto& [name, entry] : entries) {
    if (name.compare(0, prefix.size(), prefix) == 0 && runs(name)) found.push_back(name);
  }
  return found;
}

}  // namespace orch::rpc
