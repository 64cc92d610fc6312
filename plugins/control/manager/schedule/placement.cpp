#include "schedule/placement.h"

#include <algorithm>

#include "orch/amounts.h"
#include "schedule/encryption.h"

namespace orch::control::manager {

namespace {

constexpr const char* REASONS[REFUSALS] = {"not ready",        "not active",
                                           "insufficient cpu", "insufficient memory",
                                           "runtime missing",  "network missing",
                                           "no encryption",    "constraint",
                                           "host port in use", "max replicas per node reached"};

bool has(capnp::List<capnp::Text>::Reader list, capnp::Text::Reader name) {
  for (auto entry : list) {
    if (entry == name) return true;
  }
  return false;
}

// A network that spans hosts needs its driver, and an IPv4 address that others reach the node
// at, if there are any.
bool canReach(const View& view, schema::Node::Reader node, schema::Network::Reader network) {
  auto driver = kj::str("network.", network.getDriver());
  if (!has(node.getDescription().getPlugins(), driver)) return false;
  return hostOf(node).has_value() || view.base().all(Kind::NODE).size() <= 1;
}

bool hasNetworks(const View& view, schema::Node::Reader node, schema::TaskSpec::Reader spec) {
  bool all = true;
  eachNetwork(spec, [&](const std::string& name) {
    if (name == "bridge" || name == "host" || name == "none") return;  // the agent says if not
    KJ_IF_MAYBE (made, view.network(view.networkNamed(name))) {
      all &= canReach(view, node, *made);
      return;
    }
    bool found = false;
    for (auto pool : node.getDescription().getNetworks())
      found |= manager::view(pool.getName()) == name;
    all &= found;
  });
  return all;
}

std::string labelOf(capnp::List<schema::KeyValue>::Reader labels, std::string_view key) {
  for (auto label : labels) {
    if (view(label.getKey()) == key) return text(label.getValue());
  }
  return {};
}

constexpr std::string_view NODE_LABELS = "node.labels.";
constexpr std::string_view ENGINE_LABELS = "engine.labels.";

struct Question {
  const View& view;
  schema::Node::Reader node;
  schema::TaskSpec::Reader spec;
  capnp::List<schema::PortSpec>::Reader ports;
  const NodeUsage& usage;
  int64_t ofService;
};

bool hasRoom(uint64_t total, int64_t used, uint64_t more) {
  return more == 0 || static_cast<int64_t>(total) - used >= static_cast<int64_t>(more);
}
bool isReady(const Question& it) { return it.view.stateOf(it.node) == schema::Node::State::READY; }
bool isActive(const Question& it) {
  return it.node.getAvailability() == schema::Node::Availability::ACTIVE;
}
bool hasCpu(const Question& it) {
  return hasRoom(it.node.getDescription().getCpuNanos(), it.usage.cpuNanos,
                 it.spec.getResources().getReserveCpuNanos());
}
bool hasMemory(const Question& it) {
  return hasRoom(it.node.getDescription().getMemoryBytes(), it.usage.memoryBytes,
                 it.spec.getResources().getReserveMemoryBytes());
}
bool hasRuntime(const Question& it) {
  return it.spec.getRuntime().size() == 0 ||
         has(it.node.getDescription().getRuntimes(), it.spec.getRuntime());
}
bool hasItsNetworks(const Question& it) { return hasNetworks(it.view, it.node, it.spec); }
bool canBeEncrypted(const Question& it) { return unencrypted(it.view, it.node, it.spec).empty(); }
bool meetsConstraints(const Question& it) {
  return unmetConstraint(it.view, it.node, it.spec).empty();
}
bool hasHostPorts(const Question& it) { return takenHostPort(it.ports, it.usage) == nullptr; }
bool isBelowLimit(const Question& it) {
  uint32_t most = it.spec.getPlacement().getMaxReplicasPerNode();
  return most == 0 || it.ofService < most;
}

// By Refusal.
constexpr bool (*CHECKS[REFUSALS])(const Question&) = {
    isReady,        isActive,       hasCpu,           hasMemory,    hasRuntime,
    hasItsNetworks, canBeEncrypted, meetsConstraints, hasHostPorts, isBelowLimit};

kj::Maybe<Refusal> refusalOf(const Question& it) {
  for (size_t i = 0; i < REFUSALS; ++i) {
    if (!CHECKS[i](it)) return static_cast<Refusal>(i);
  }
  return nullptr;
}

}  // namespace

std::string unencrypted(const View& view, schema::Node::Reader node,
                        schema::TaskSpec::Reader spec) {
  std::string why;
  eachNetwork(spec, [&](const std::string& name) {
    KJ_IF_MAYBE (made, view.network(view.networkNamed(name))) {
      if (!why.empty() || !isEncrypted(*made) || canEncrypt(node)) return;
      why = "cannot be on the encrypted network '" + name + "': " + whyNoEncryption(node);
    }
  });
  return why;
}

std::string attributeOf(const View& view, schema::Node::Reader node, std::string_view key) {
  auto description = node.getDescription();
  if (key == "node.id") return text(node.getMeta().getId());
  if (key == "node.hostname") return text(description.getHostname());
  if (key == "node.ip") {
    auto address = hostOf(node);
    return address ? network::ipv4Text(*address).cStr() : "";
  }
  if (key == "node.role") {
    return view.base().isManager(manager::view(node.getMeta().getId())) ? "manager" : "worker";
  }
  if (key == "node.cpus") return coresText(description.getCpuNanos()).cStr();
  if (key == "node.memory") return std::to_string(description.getMemoryBytes());
  if (key == "node.platform.os") return text(description.getOs());
  if (key == "node.platform.arch") return text(description.getArchitecture());
  if (key.starts_with(NODE_LABELS))
    return labelOf(node.getLabels(), key.substr(NODE_LABELS.size()));
  return labelOf(description.getEngineLabels(), key.substr(ENGINE_LABELS.size()));
}

bool knownConstraintKey(std::string_view key) {
  static constexpr std::string_view KEYS[] = {"node.id",   "node.hostname",    "node.ip",
                                              "node.role", "node.platform.os", "node.platform.arch",
                                              "node.cpus", "node.memory"};
  if (std::find(std::begin(KEYS), std::end(KEYS), key) != std::end(KEYS)) return true;
  return (key.starts_with(NODE_LABELS) && key.size() > NODE_LABELS.size()) ||
         (key.starts_with(ENGINE_LABELS) && key.size() > ENGINE_LABELS.size());
}

std::string_view unmetConstraint(const View& view, schema::Node::Reader node,
                                 schema::TaskSpec::Reader spec) {
  for (auto whole : spec.getPlacement().getConstraints()) {
    if (!meets(view, node, manager::view(whole))) return manager::view(whole);
  }
  return {};
}

bool meets(const View& view, schema::Node::Reader node, std::string_view whole) {
  auto constraint = view.constraint(whole);
  return constraint != nullptr &&
         constraint->isMetBy([&](std::string_view key) { return attributeOf(view, node, key); });
}

namespace {
// Every node with the reason why it cannot take a task, if there is one, until `use` answers true.
template <typename F>
bool anyVerdict(const View& view, std::string_view serviceId, schema::TaskSpec::Reader spec,
                capnp::List<schema::PortSpec>::Reader ports, F&& use) {
  bool limited = spec.getPlacement().getMaxReplicasPerNode() > 0;
  return view.anyNode([&](schema::Node::Reader node) {
    view.look();
    auto id = text(node.getMeta().getId());
    int64_t ofService = limited ? view.wantedOn(serviceId, id) : 0;
    auto usage = ports.size() > 0 ? view.nodeUsage(id) : view.held(id);
    return use(node, id, refusalOf({view, node, spec, ports, usage, ofService}));
  });
}
}  // namespace

kj::Maybe<Refusal> standingRefusal(const View& view, schema::Node::Reader node,
                                   schema::TaskSpec::Reader spec) {
  static const NodeUsage NOTHING;
  Question it{view, node, spec, {}, NOTHING, 0};
  for (size_t i = 0; i < REFUSALS; ++i) {
    auto refusal = static_cast<Refusal>(i);
    if (!isOfTasks(refusal) && !CHECKS[i](it)) return refusal;
  }
  return nullptr;
}

std::string wordsOf(const View& view, schema::Node::Reader node, schema::TaskSpec::Reader spec,
                    Refusal refusal) {
  if (refusal == Refusal::CONSTRAINT) {
    return "constraint " + std::string(unmetConstraint(view, node, spec)) + " not met";
  }
  return refusal == Refusal::ENCRYPTION ? unencrypted(view, node, spec) : std::string();
}

namespace {
void countRefusal(const View& view, schema::Node::Reader node, schema::TaskSpec::Reader spec,
                  Refusal why, Candidates& result) {
  ++result.refused[static_cast<size_t>(why)];
  auto words = wordsOf(view, node, spec, why);
  if (!words.empty()) ++result.unmet[words];
}
}  // namespace

Candidates candidatesFor(const View& view, std::string_view serviceId,
                         schema::TaskSpec::Reader spec,
                         capnp::List<schema::PortSpec>::Reader ports) {
  Candidates result;
  auto take = [&](schema::Node::Reader node, std::string& id, kj::Maybe<Refusal> refusal) {
    KJ_IF_MAYBE (why, refusal) {
      countRefusal(view, node, spec, *why, result);
    } else {
      result.nodes.push_back(std::move(id));
    }
    return false;
  };
  anyVerdict(view, serviceId, spec, ports, take);
  return result;
}

bool Room::any() {
  KJ_IF_MAYBE (answer, known) return *answer;
  return known.emplace(anyVerdict(view, manager::view(service.getMeta().getId()),
                                  service.getSpec().getTask(), service.getPorts(),
                                  [](schema::Node::Reader, std::string&,
                                     kj::Maybe<Refusal> refusal) { return refusal == nullptr; }));
}

bool canTake(const View& view, schema::Node::Reader node, schema::TaskSpec::Reader spec,
             capnp::List<schema::PortSpec>::Reader ports, const NodeUsage& usage,
             int64_t ofService) {
  return refusalOf({view, node, spec, ports, usage, ofService}) == nullptr;
}

std::string whyNot(const View& view, schema::Node::Reader node, schema::TaskSpec::Reader spec,
                   capnp::List<schema::PortSpec>::Reader ports) {
  view.look();
  auto usage = view.nodeUsage(manager::view(node.getMeta().getId()));
  KJ_IF_MAYBE (refusal, refusalOf({view, node, spec, ports, usage, 0})) {
    Candidates none;
    countRefusal(view, node, spec, *refusal, none);
    return whyNone(none);
  }
  return {};
}

std::vector<Refusal> allRefusals(const View& view, schema::Node::Reader node,
                                 schema::TaskSpec::Reader spec,
                                 capnp::List<schema::PortSpec>::Reader ports,
                                 const NodeUsage& usage, int64_t ofService) {
  std::vector<Refusal> refusals;
  for (size_t i = 0; i < REFUSALS; ++i) {
    bool met = CHECKS[i]({view, node, spec, ports, usage, ofService});
    if (!met) refusals.push_back(static_cast<Refusal>(i));
  }
  return refusals;
}

kj::Maybe<schema::PortSpec::Reader> takenHostPort(capnp::List<schema::PortSpec>::Reader ports,
                                                  const NodeUsage& usage) {
  for (auto port : ports) {
    if (port.getMode() != schema::PortSpec::PublishMode::HOST || port.getPublished() == 0) continue;
    auto it = usage.hostPorts.find(portKey(port.getProtocol(), port.getPublished()));
    if (it != usage.hostPorts.end() && it->second > 0) return port;
  }
  return nullptr;
}

std::string whyNone(const Candidates& candidates) {
  std::vector<std::pair<uint32_t, std::string>> counts;
  for (size_t i = 0; i < REFUSALS; ++i) {
    bool byName = i == static_cast<size_t>(Refusal::CONSTRAINT) ||
                  i == static_cast<size_t>(Refusal::ENCRYPTION);
    if (candidates.refused[i] > 0 && !byName)
      counts.emplace_back(candidates.refused[i], REASONS[i]);
  }
  for (auto& [words, nodes] : candidates.unmet) counts.emplace_back(nodes, words);
  if (counts.empty()) {
    return candidates.nodes.empty()
               ? "no suitable node (the cluster has no node yet)"
               : "no suitable node (no room left on " + std::to_string(candidates.nodes.size()) +
                     (candidates.nodes.size() == 1 ? " node)" : " nodes)");
  }
  std::stable_sort(counts.begin(), counts.end(),
                   [](auto& a, auto& b) { return a.first > b.first; });
  std::string why = "no suitable node (";
  for (size_t i = 0; i < counts.size(); ++i) {
    if (i > 0) why += "; ";
    why += counts[i].second + " on " + std::to_string(counts[i].first) +
           (counts[i].first == 1 ? " node" : " nodes");
  }
  return why + ")";
}

bool takesHostPort(capnp::List<schema::PortSpec>::Reader ports) {
  for (auto port : ports) {
    if (port.getMode() == schema::PortSpec::PublishMode::HOST && port.getPublished() != 0)
      return true;
  }
  return false;
}

uint32_t maxPerNode(schema::TaskSpec::Reader spec, capnp::List<schema::PortSpec>::Reader ports) {
  return takesHostPort(ports) ? 1 : spec.getPlacement().getMaxReplicasPerNode();
}

}  // namespace orch::control::manager
