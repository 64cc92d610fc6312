#include "schedule/placement.h"

#include <algorithm>

#include "orch/amounts.h"
#include "schedule/encryption.h"
#include "schedule/neighbours.h"

namespace orch::control::manager {

namespace {

constexpr const char* REASONS[REFUSALS] = {"not ready",
                                           "not active",
                                           "insufficient cpu",
                                           "insufficient memory",
                                           "resource missing",
                                           "runtime missing",
                                           "network missing",
                                           "no encryption",
                                           "filter",
                                           "host port in use",
                                           "max replicas per node reached",
                                           "affinity"};

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
constexpr std::string_view OTHER_LABELS[] = {"service.labels.", "container.labels."};

struct Question {
  const View& view;
  std::string_view serviceId;
  schema::Node::Reader node;
  schema::TaskSpec::Reader spec;
  capnp::List<schema::PortSpec>::Reader ports;
  const NodeUsage& usage;
  int64_t ofService;
  uint32_t number = NodeNumbers::NONE;  // unless that is not known
};

bool hasRoom(uint64_t total, int64_t used, uint64_t more) {
  return more == 0 || static_cast<int64_t>(total) - used >= static_cast<int64_t>(more);
}
bool isReady(const Question& it) {
  auto state = it.number == NodeNumbers::NONE ? it.view.stateOf(it.node)
                                              : it.view.stateAt(it.number, it.node);
  return state == schema::Node::State::READY;
}
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
bool hasGeneric(const Question& it) {
  return lackingKind(it.node, it.spec, it.usage.generic).empty();
}
bool hasRuntime(const Question& it) {
  return it.spec.getRuntime().size() == 0 ||
         has(it.node.getDescription().getRuntimes(), it.spec.getRuntime());
}
bool hasItsNetworks(const Question& it) { return hasNetworks(it.view, it.node, it.spec); }
bool canBeEncrypted(const Question& it) { return unencrypted(it.view, it.node, it.spec).empty(); }
bool meetsTerms(const Question& it) { return unmetTerm(it.view, it.node, it.spec).empty(); }
bool hasHostPorts(const Question& it) { return takenHostPort(it.ports, it.usage) == nullptr; }
bool isBelowLimit(const Question& it) {
  uint32_t most = it.spec.getPlacement().getMaxReplicasPerNode();
  return most == 0 || it.ofService < most;
}

bool hasItsNeighbours(const Question& it) {
  return unmetNeighbour(it.view, it.serviceId, view(it.node.getMeta().getId()), it.spec).empty();
}

// By Refusal.
constexpr bool (*CHECKS[REFUSALS])(const Question&) = {
    isReady,        isActive,       hasCpu,     hasMemory,    hasGeneric,   hasRuntime,
    hasItsNetworks, canBeEncrypted, meetsTerms, hasHostPorts, isBelowLimit, hasItsNeighbours};

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

bool knownNodeKey(std::string_view key) {
  static constexpr std::string_view KEYS[] = {"node.id",   "node.hostname",    "node.ip",
                                              "node.role", "node.platform.os", "node.platform.arch",
                                              "node.cpus", "node.memory"};
  if (std::find(std::begin(KEYS), std::end(KEYS), key) != std::end(KEYS)) return true;
  return (key.starts_with(NODE_LABELS) && key.size() > NODE_LABELS.size()) ||
         (key.starts_with(ENGINE_LABELS) && key.size() > ENGINE_LABELS.size());
}

uint8_t codeOf(const View& view, schema::Node::Reader node, Verdicts::Entry& term) {
  return view.base().verdicts().codeOf(
      term, [&](const std::string& key) { return attributeOf(view, node, key); });
}

NodeTerms termsOfNodes(const View& view, schema::TaskSpec::Reader spec) {
  NodeTerms terms;
  eachTerm(view.base().verdicts(), spec.getPlacement(), [&](Verdicts::Entry& term) {
    // Those that are not known yet may be.
    if (term.weight == 0 && term.subject == Term::Subject::NODE) terms.push_back(&term);
  });
  return terms;
}

bool knownServiceKey(std::string_view key) {
  if (key == "service.name" || key == "service.image") return true;
  return std::any_of(std::begin(OTHER_LABELS), std::end(OTHER_LABELS), [&](auto labels) {
    return key.starts_with(labels) && key.size() > labels.size();
  });
}

std::string_view unmetTerm(const View& view, schema::Node::Reader node,
                           schema::TaskSpec::Reader spec) {
  std::string_view why;
  for (auto term : termsOfNodes(view, spec)) {
    auto code = codeOf(view, node, *term);
    if (why.empty() && code != Verdicts::MET) why = Verdicts::wordsOf(*term, code);
  }
  return why;
}

bool mayMeet(const View& view, schema::Node::Reader node, const NodeTerms& terms) {
  bool may = true;
  for (auto term : terms) {
    auto code = codeOf(view, node, *term);
    may &= code == Verdicts::MET || code == Verdicts::UNKNOWN;
  }
  return may;
}

namespace {
uint8_t codeAt(const View& view, uint32_t node, Verdicts::Entry& term) {
  bool isStored = view.nodesTouched().empty() && term.known && term.failure.empty();
  if (isStored) {
    auto& changes = view.base().nodeChanges();
    changes.since(term.nodesAt, [&](uint32_t changed) {
      if (changed < term.ofNodes.size()) term.ofNodes[changed] = Verdicts::UNKNOWN;
    });
    term.nodesAt = changes.newest();
    if (node >= term.ofNodes.size()) term.ofNodes.resize(node + 1, Verdicts::UNKNOWN);
    if (term.ofNodes[node] != Verdicts::UNKNOWN) return term.ofNodes[node];
  }
  KJ_IF_MAYBE (found, view.node(node)) {
    auto code = codeOf(view, *found, term);
    if (isStored) term.ofNodes[node] = code;
    return code;
  }
  return Verdicts::MET;  // of one that is no more, nothing is wanted
}
}  // namespace

bool mayMeet(const View& view, uint32_t node, const NodeTerms& terms) {
  return std::all_of(terms.begin(), terms.end(), [&](auto term) {
    auto code = codeAt(view, node, *term);
    return code == Verdicts::MET || code == Verdicts::UNKNOWN;
  });
}

namespace {
// Every node with the reason why it cannot take a task, if there is one, until `use` answers true.
template <typename F>
bool anyVerdict(const View& view, std::string_view serviceId, schema::TaskSpec::Reader spec,
                capnp::List<schema::PortSpec>::Reader ports, F&& use) {
  bool limited = spec.getPlacement().getMaxReplicasPerNode() > 0;
  return view.anyNodeAt([&](uint32_t number, schema::Node::Reader node) {
    view.look();
    int64_t ofService = limited ? view.wantedOn(serviceId, number) : 0;
    auto usage = ports.size() > 0 ? view.nodeUsage(number) : view.held(number);
    return use(number, node,
               refusalOf({view, serviceId, node, spec, ports, usage, ofService, number}));
  });
}
}  // namespace

kj::Maybe<Refusal> standingRefusal(const View& view, schema::Node::Reader node,
                                   schema::TaskSpec::Reader spec) {
  static const NodeUsage NOTHING;
  Question it{view, {}, node, spec, {}, NOTHING, 0};
  for (size_t i = 0; i < REFUSALS; ++i) {
    auto refusal = static_cast<Refusal>(i);
    if (!isOfTasks(refusal) && !CHECKS[i](it)) return refusal;
  }
  return nullptr;
}

std::string_view lackingKind(schema::Node::Reader node, schema::TaskSpec::Reader spec,
                             const GenericUsage& usage) {
  for (auto wanted : spec.getResources().getGeneric()) {
    auto kind = manager::view(wanted.getKind());
    if (freeOf(node.getDescription().getGeneric(), usage, kind) < wanted.getAmount()) return kind;
  }
  return {};
}

std::string lackingWords(std::string_view kind) { return "insufficient " + std::string(kind); }

std::string wordsOf(const View& view, std::string_view serviceId, schema::Node::Reader node,
                    schema::TaskSpec::Reader spec, const GenericUsage& usage, Refusal refusal) {
  if (refusal == Refusal::GENERIC) return lackingWords(lackingKind(node, spec, usage));
  if (refusal == Refusal::AFFINITY) {
    return std::string(
        unmetNeighbour(view, serviceId, manager::view(node.getMeta().getId()), spec));
  }
  if (refusal == Refusal::FILTER) return std::string(unmetTerm(view, node, spec));
  return refusal == Refusal::ENCRYPTION ? unencrypted(view, node, spec) : std::string();
}

namespace {
void countRefusal(const View& view, std::string_view serviceId, schema::Node::Reader node,
                  schema::TaskSpec::Reader spec, const GenericUsage& usage, Refusal why,
                  Candidates& result) {
  ++result.refused[static_cast<size_t>(why)];
  auto words = wordsOf(view, serviceId, node, spec, usage, why);
  if (!words.empty()) ++result.unmet[words];
}
}  // namespace

Candidates candidatesFor(const View& view, std::string_view serviceId,
                         schema::TaskSpec::Reader spec,
                         capnp::List<schema::PortSpec>::Reader ports) {
  Candidates result;
  auto take = [&](uint32_t number, schema::Node::Reader node, kj::Maybe<Refusal> refusal) {
    KJ_IF_MAYBE (why, refusal) {
      countRefusal(view, serviceId, node, spec, view.held(number).generic, *why, result);
    } else {
      result.nodes.push_back(view.idOf(number));
    }
    return false;
  };
  anyVerdict(view, serviceId, spec, ports, take);
  std::sort(result.nodes.begin(), result.nodes.end());
  return result;
}

bool Room::any() {
  KJ_IF_MAYBE (answer, known) return *answer;
  return known.emplace(anyVerdict(view, manager::view(service.getMeta().getId()),
                                  service.getSpec().getTask(), service.getPorts(),
                                  [](uint32_t, schema::Node::Reader, kj::Maybe<Refusal> refusal) {
                                    return refusal == nullptr;
                                  }));
}

bool canTake(const View& view, std::string_view serviceId, schema::Node::Reader node,
             schema::TaskSpec::Reader spec, capnp::List<schema::PortSpec>::Reader ports,
             const NodeUsage& usage, int64_t ofService) {
  return refusalOf({view, serviceId, node, spec, ports, usage, ofService}) == nullptr;
}

std::string whyNot(const View& view, std::string_view serviceId, schema::Node::Reader node,
                   schema::TaskSpec::Reader spec, capnp::List<schema::PortSpec>::Reader ports) {
  view.look();
  auto usage = view.nodeUsage(manager::view(node.getMeta().getId()));
  KJ_IF_MAYBE (refusal, refusalOf({view, serviceId, node, spec, ports, usage, 0})) {
    Candidates none;
    countRefusal(view, serviceId, node, spec, usage.generic, *refusal, none);
    return whyNone(none);
  }
  return {};
}

std::vector<Refusal> allRefusals(const View& view, std::string_view serviceId,
                                 schema::Node::Reader node, schema::TaskSpec::Reader spec,
                                 capnp::List<schema::PortSpec>::Reader ports,
                                 const NodeUsage& usage, int64_t ofService) {
  std::vector<Refusal> refusals;
  for (size_t i = 0; i < REFUSALS; ++i) {
    bool met = CHECKS[i]({view, serviceId, node, spec, ports, usage, ofService});
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
    auto refusal = static_cast<Refusal>(i);
    bool byName = refusal == Refusal::FILTER || refusal == Refusal::ENCRYPTION ||
                  refusal == Refusal::AFFINITY || refusal == Refusal::GENERIC;
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

}  // namespace orch::control::manager
