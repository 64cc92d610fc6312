#include "port-table.h"

#include <kj/debug.h>

#include <algorithm>

namespace orch::network::ingress {

Ipv6 meshAddressOf(Ipv4 node) {
  // A unique local prefix (RFC 4193), as it is the default of network.bridge, which has the one
  // before.
  return {0xfd,
          0x6f,
          0x72,
          0x63,
          0x68,
          0x01,
          0,
          0,
          0,
          0,
          0,
          0,
          uint8_t(node >> 24),
          uint8_t(node >> 16),
          uint8_t(node >> 8),
          uint8_t(node)};
}

Led Led::ofIpv6() const {
  Led led;
  for (size_t i = 0; i < turns.size(); ++i) {
    if (!turns[i].address6) continue;
    led.turns.push_back(turns[i]);
    led.here += i < here;
  }
  return led;
}

bool PortTable::conflicts(const TaskPort& port) const {
  auto found = ports.find(keyOf(port));
  return found != ports.end() && (found->second.host || port.host);
}

Led PortTable::ledBy(PortKey key, const Port& port) {
  Led led{port.backends, port.backends.size()};
  if (port.preferLocal && led.here > 0) return led;
  for (auto& share : port.shares) {
    led.turns.insert(led.turns.end(), share.tasks,
                     {share.node, key.port, meshAddressOf(share.node)});
  }
  return led;
}

void PortTable::share(const Shares& shares) {
  for (auto& [key, of] : shares) {
    auto& port = ports[key];
    if (port.shares == of) continue;
    port.shares = of;
    touched.insert(key);
  }
  for (auto entry = ports.begin(); entry != ports.end();) {
    auto& [key, port] = *entry;
    if (!port.shares.empty() && shares.count(key) == 0) {
      port.shares.clear();
      touched.insert(key);
    }
    entry = port.unused() ? ports.erase(entry) : std::next(entry);
  }
}

std::vector<PortKey> PortTable::keys() const {
  std::vector<PortKey> keys;
  for (auto& entry : ports) keys.push_back(entry.first);
  return keys;
}

void PortTable::publish(const Publication& publication) {
  for (auto& spec : publication.ports) {
    auto& port = ports[keyOf(spec)];
    port.host = spec.host;
    port.preferLocal = spec.preferLocal;
    port.tasks.insert(publication.taskId);
    touched.insert(keyOf(spec));
  }
}

void PortTable::withdraw(const Publication& publication) {
  deactivate(publication);
  for (auto& spec : publication.ports) {
    auto found = ports.find(keyOf(spec));
    if (found == ports.end()) continue;
    found->second.tasks.erase(publication.taskId);
    if (found->second.unused()) ports.erase(found);
    touched.insert(keyOf(spec));
  }
}

void PortTable::activate(const Publication& publication) {
  for (auto& spec : publication.ports) {
    auto found = ports.find(keyOf(spec));
    KJ_REQUIRE(found != ports.end(), "a port is activated that is not published");
    auto& backends = found->second.backends;
    Backend backend{publication.address, spec.target, publication.address6};
    found->second.active[publication.taskId] = backend;
    if (std::find(backends.begin(), backends.end(), backend) != backends.end()) continue;
    backends.push_back(backend);
    touched.insert(keyOf(spec));
  }
}

void PortTable::deactivate(const Publication& publication) {
  for (auto& spec : publication.ports) removeBackend(keyOf(spec), publication.taskId);
}

void PortTable::removeBackend(PortKey key, const std::string& taskId) {
  auto found = ports.find(key);
  if (found == ports.end()) return;
  auto& active = found->second.active;
  auto& backends = found->second.backends;
  auto of = active.find(taskId);
  if (of == active.end()) return;
  auto backend = of->second;
  active.erase(of);
  // A task that was lost may still have the address that another one has by now.
  bool needed = std::any_of(active.begin(), active.end(),
                            [&](auto& entry) { return entry.second == backend; });
  if (needed) return;
  auto at = std::find(backends.begin(), backends.end(), backend);
  if (at == backends.end()) return;
  // The last takes its turn, so that at most two elements change in the kernel.
  *at = backends.back();
  backends.pop_back();
  touched.insert(key);
}

std::vector<PortChange> PortTable::changes() const {
  std::vector<PortChange> list;
  for (auto& key : touched) {
    PortChange change{key, std::nullopt, std::nullopt};
    auto before = inKernel.find(key);
    if (before != inKernel.end()) change.before = before->second;
    auto after = ports.find(key);
    if (after != ports.end()) change.after = ledBy(key, after->second);
    if (change.before != change.after) list.push_back(std::move(change));
  }
  return list;
}

std::vector<PortChange> PortTable::everything() const {
  std::vector<PortChange> list;
  for (auto& [key, port] : ports) list.push_back({key, std::nullopt, ledBy(key, port)});
  return list;
}

void PortTable::confirm(const std::vector<PortChange>& done) {
  for (auto& change : done) {
    if (change.after) {
      inKernel[change.key] = *change.after;
    } else {
      inKernel.erase(change.key);
    }
  }
  std::set<PortKey> still;
  for (auto& key : touched) {
    auto has = inKernel.find(key);
    auto wanted = ports.find(key);
    bool equal = (has == inKernel.end()) == (wanted == ports.end()) &&
                 (has == inKernel.end() || has->second == ledBy(key, wanted->second));
    if (!equal) still.insert(key);
  }
  touched = std::move(still);
}

void PortTable::confirmAll(const std::vector<PortChange>& done) {
  for (auto& entry : inKernel) touched.insert(entry.first);
  inKernel.clear();
  for (auto& entry : ports) touched.insert(entry.first);
  confirm(done);
}

}  // namespace orch::network::ingress
