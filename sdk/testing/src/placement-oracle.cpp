#include "orch/testing/placement-oracle.h"

#include <capnp/serialize.h>
#include <string.h>

#include <algorithm>
#include <tuple>
#include <utility>

namespace orch::testing {

using schema::TaskState;

namespace {
template <typename List>
std::vector<std::string> textsOf(List list) {
  std::vector<std::string> all;
  for (auto text : list) all.push_back(text.cStr());
  return all;
}
}  // namespace

// `node.labels.zone==a`, `affinity:service!=web ~ 3`.
PlacementOracle::Term PlacementOracle::termOf(std::string text) {
  constexpr std::string_view AFFINITY = "affinity:";
  if (text.starts_with(AFFINITY)) text.erase(0, AFFINITY.size());
  Term term;
  auto tilde = text.find(" ~ ");
  if (tilde != std::string::npos) {
    term.weight = std::stol(text.substr(tilde + 3));
    text.resize(tilde);
  }
  auto at = text.find_first_of("=!");
  term.key = text.substr(0, at);
  term.value = text.substr(at + 2);
  term.negated = text[at] == '!';
  return term;
}

void PlacementOracle::takeTask(Task& task, schema::Task::Reader written) {
  auto spec = written.getSpec();
  task.service = written.getServiceId().cStr();
  task.node = written.getNodeId().cStr();
  task.slot = written.getSlot();
  task.version = written.getSpecVersion();
  task.madeNs = written.getMeta().getCreatedAtNs();
  task.desired = written.getDesired();
  if (!task.said) task.state = task.node.empty() ? TaskState::PENDING : TaskState::ASSIGNED;
  auto& wish = task.wish = {};
  wish.cpu = static_cast<int64_t>(spec.getResources().getReserveCpuNanos());
  wish.memory = static_cast<int64_t>(spec.getResources().getReserveMemoryBytes());
  for (auto one : spec.getResources().getGeneric()) {
    wish.generic[one.getKind().cStr()] = one.getAmount();
  }
  for (auto& text : textsOf(spec.getPlacement().getConstraints())) {
    wish.terms.push_back(termOf(text));
  }
  for (auto& text : textsOf(spec.getPlacement().getFilters())) wish.terms.push_back(termOf(text));
  wish.levels = textsOf(spec.getPlacement().getSpreadOver());
  for (auto port : written.getPorts()) wish.ports.insert(port.getPublished());
  wish.strategy = spec.getPlacement().getStrategy().cStr();
  wish.most = spec.getPlacement().getMaxReplicasPerNode();
  wish.digest = spec.getContainer().getImageDigest().cStr();
  task.has.clear();
  for (auto one : written.getGeneric()) {
    auto& has = task.has[one.getKind().cStr()];
    has.amount = one.getAmount();
    for (auto name : one.getNames()) has.names.insert(name.cStr());
  }
}

void PlacementOracle::take(const MemoryStore::Written& entry) {
  std::string id = entry.key.cStr();
  KJ_IF_MAYBE (value, entry.value) {
    auto words = kj::heapArray<capnp::word>(value->size() / sizeof(capnp::word));
    memcpy(words.begin(), value->begin(), words.asBytes().size());
    capnp::FlatArrayMessageReader message(words);
    if (entry.kind == "task") takeTask(tasks[id], message.getRoot<schema::Task>());
    if (entry.kind == "task-status") {
      auto status = message.getRoot<schema::TaskStatus>();
      auto& task = tasks[id];
      task.state = status.getState();
      task.error = status.getError().cStr();
      task.endedNs = status.getEndedAtNs();
      task.said = true;
    }
    if (entry.kind == "service") {
      services[id] = message.getRoot<schema::Service>().getSpec().getName().cStr();
    }
    if (entry.kind != "node") return;
    auto written = message.getRoot<schema::Node>();
    auto description = written.getDescription();
    auto& node = nodes[id] = {};
    node.usable = written.getDownSinceNs() == 0 &&
                  written.getAvailability() == schema::Node::Availability::ACTIVE;
    node.cpu = static_cast<int64_t>(description.getCpuNanos());
    node.memory = static_cast<int64_t>(description.getMemoryBytes());
    for (auto label : written.getLabels()) {
      node.labels[label.getKey().cStr()] = label.getValue().cStr();
    }
    for (auto one : description.getGeneric()) {
      auto& set = node.generic[one.getKind().cStr()];
      set.amount = one.getAmount();
      for (auto name : one.getNames()) set.names.insert(name.cStr());
    }
    return;
  }
  if (entry.kind == "node") nodes.erase(id);
  if (entry.kind == "task") tasks.erase(id);
  if (entry.kind == "service") services.erase(id);
}

// What was placed in the batch is judged one after the other, as they were asked for. Where tasks
// of several services changed, nobody can tell from outside which came first: then it only has to
// fit.
void PlacementOracle::wrote(kj::ArrayPtr<const MemoryStore::Written> batch, int64_t nowNs,
                            bool allReady) {
  std::set<std::string> changed;
  for (auto& entry : batch) {
    if (entry.kind == "task" || entry.kind == "task-status") changed.insert(entry.key.cStr());
  }
  std::set<std::string> ofServices, hadNode;
  for (auto& id : changed) {
    auto then = tasks.find(id);
    if (then == tasks.end()) continue;
    ofServices.insert(then->second.service);
    if (then->second.there()) hadNode.insert(id);
  }
  for (auto& entry : batch) take(entry);
  std::vector<Tasks::const_iterator> placed;
  for (auto& id : changed) {
    auto now = tasks.find(id);
    if (now == tasks.end()) continue;
    ofServices.insert(now->second.service);
    bool found = madeByItsNode && madeByItsNode(id);
    if (now->second.holds() && hadNode.count(id) == 0 && !found) placed.push_back(now);
  }
  if (!placed.empty()) judge(kj::mv(placed), nowNs, ofServices.size() == 1 && allReady);
}

void PlacementOracle::judge(std::vector<Tasks::const_iterator> placed, int64_t nowNs,
                            bool oneByOne) {
  auto among = tasks;
  for (auto& entry : placed) {
    among[entry->first].state = TaskState::PENDING;
    among[entry->first].node.clear();
  }
  std::stable_sort(placed.begin(), placed.end(), [](auto& a, auto& b) {
    return std::tie(a->second.version, a->second.slot) <
           std::tie(b->second.version, b->second.slot);
  });
  auto first = among;
  uint64_t version = 0;
  for (auto& entry : placed) {
    auto& [id, task] = *entry;
    if (std::exchange(version, task.version) != task.version) first = among;
    bool hasChoice = task.slot > 0 && oneByOne;
    if (hasChoice && !failsOften(task, nowNs)) {
      judge(among, first, task);
    } else if (!mayHave(among, task.node, task) && wrong.empty()) {
      wrong = "a task of " + task.service + " may not be on " + task.node;
    }
    among[id] = task;
  }
}

bool PlacementOracle::meets(const Tasks& among, const std::string& id, const Task& task,
                            const Term& term) const {
  if (term.key != "service") return (nodes.at(id).valueOf(term.key) == term.value) != term.negated;
  bool here = false, anywhere = false;
  for (auto& [otherId, other] : among) {
    auto name = services.find(other.service);
    bool isMeant =
        name != services.end() && name->second == term.value && other.wanted() && other.holds();
    anywhere |= isMeant;
    here |= isMeant && other.node == id;
  }
  if (term.negated) return !here;
  auto own = services.find(task.service);
  bool isFirst = own != services.end() && own->second == term.value && !anywhere;
  return here || isFirst;
}

bool PlacementOracle::mayHave(const Tasks& among, const std::string& id, const Task& task) const {
  auto found = nodes.find(id);
  if (found == nodes.end() || !found->second.usable) return false;
  auto& node = found->second;
  for (auto& term : task.wish.terms) {
    if (term.weight == 0 && !meets(among, id, task, term)) return false;
  }
  int64_t cpu = task.wish.cpu, memory = task.wish.memory;
  auto generic = task.wish.generic;
  uint32_t ofService = 0;
  for (auto& [otherId, other] : among) {
    if (!other.holds() || other.node != id) continue;
    cpu += other.wish.cpu;
    memory += other.wish.memory;
    for (auto& [kind, has] : other.has) {
      if (generic.count(kind) > 0) generic[kind] += has.amount;
    }
    for (auto port : other.wish.ports) {
      if (task.wish.ports.count(port) > 0) return false;
    }
    ofService += other.wanted() && other.service == task.service;
  }
  if (task.wish.cpu > 0 && cpu > node.cpu) return false;
  if (task.wish.memory > 0 && memory > node.memory) return false;
  for (auto& [kind, amount] : generic) {
    auto there = node.generic.find(kind);
    if (there == node.generic.end() || amount > there->second.amount) return false;
  }
  return task.wish.most == 0 || ofService < task.wish.most;
}

// Tasks that end when those of their slot that are newer run. With a limit per node they count on.
std::set<std::string> PlacementOracle::leavingOf(const Tasks& among, const Task& task) const {
  std::set<std::string> leaving;
  if (task.wish.most > 0 || !task.wish.ports.empty()) return leaving;
  for (auto& [id, one] : among) {
    if (one.service != task.service || !one.wanted() || !one.holds()) continue;
    for (auto& [otherId, other] : among) {
      bool newer = other.service == one.service && other.slot == one.slot && other.wanted() &&
                   !other.over() && other.madeNs > one.madeNs;
      if (newer) leaving.insert(id);
    }
  }
  return leaving;
}

// The strategies count failures, which are left to their own tests.
bool PlacementOracle::failsOften(const Task& task, int64_t nowNs) const {
  constexpr int64_t WINDOW_NS = 300'000'000'000;
  constexpr int FEW = 3;
  int failures = 0;
  for (auto& [id, other] : tasks) {
    failures += other.service == task.service && other.endedNs + WINDOW_NS > nowNs &&
                (other.state == TaskState::FAILED || other.state == TaskState::REJECTED);
  }
  return failures >= FEW;
}

// The lower the better, the first that differs decides.
PlacementOracle::Key PlacementOracle::standing(const Tasks& among, const Tasks& first,
                                               const std::string& id, const Task& task,
                                               const std::set<std::string>& leaving) const {
  auto& node = nodes.at(id);
  int64_t ofService = 0, total = 0, cpu = task.wish.cpu, memory = task.wish.memory;
  Key branches(task.wish.levels.size(), 0);
  for (auto& [otherId, other] : among) {
    if (!other.holds()) continue;
    if (other.node == id) {
      cpu += other.wish.cpu;
      memory += other.wish.memory;
    }
    if (!other.wanted() || leaving.count(otherId) > 0) continue;
    total += other.node == id;
    if (other.service != task.service) continue;
    ofService += other.node == id;
    auto where = nodes.find(other.node);
    if (where == nodes.end()) continue;
    for (size_t level = 0; level < branches.size(); ++level) {
      auto& label = task.wish.levels[level];
      if (where->second.valueOf(label) != node.valueOf(label)) break;
      ++branches[level];
    }
  }
  auto own = images.find(id);
  int64_t missing = own == images.end() || own->second.count(task.wish.digest) == 0;
  if (task.wish.digest.empty()) missing = 0;
  int64_t unmet = 0;
  for (auto& term : task.wish.terms) {
    if (term.weight > 0 && !meets(first, id, task, term)) unmet += term.weight;
  }
  if (task.wish.strategy == "binpack") {
    auto part = [](int64_t used, int64_t of) {
      return of == 0 ? 0 : static_cast<int64_t>(1e6 * static_cast<double>(used) / of);
    };
    return {unmet, -(part(cpu, node.cpu) + part(memory, node.memory)), -total, missing};
  }
  branches.insert(branches.end(), {unmet, ofService, total, missing});
  return branches;
}

void PlacementOracle::judge(const Tasks& among, const Tasks& first, const Task& task) {
  ++judgements;
  if (!wrong.empty()) return;
  auto what =
      "a task in slot " + std::to_string(task.slot) + " of " + task.service + " on " + task.node;
  if (!mayHave(among, task.node, task)) {
    wrong = what + ": it may not be there";
    return;
  }
  auto leaving = leavingOf(among, task);
  auto chosen = standing(among, first, task.node, task, leaving);
  for (auto& [id, node] : nodes) {
    if (id == task.node || !mayHave(among, id, task)) continue;
    auto other = standing(among, first, id, task, leaving);
    // Of parts of a preference that have as many tasks any will do.
    for (size_t level = 0; level < task.wish.levels.size(); ++level) {
      auto& label = task.wish.levels[level];
      bool apart = node.valueOf(label) != nodes.at(task.node).valueOf(label);
      if (apart && other[level] == chosen[level]) other = chosen;
    }
    if (!(other < chosen)) continue;
    wrong = what + ": " + id + " is better";
    for (size_t i = 0; i < other.size(); ++i) {
      wrong += ", " + std::to_string(other[i]) + " against " + std::to_string(chosen[i]);
    }
  }
}

PlacementOracle::Counts PlacementOracle::spreadOf(const std::string& service,
                                                  const std::vector<std::string>& labels) const {
  Counts counts;
  std::map<std::string, uint32_t*> byNode;
  for (auto& [id, node] : nodes) {
    std::vector<std::string> values;
    for (auto& label : labels) values.push_back(node.valueOf(label));
    byNode[id] = &counts[values];
  }
  for (auto& [id, task] : tasks) {
    auto name = services.find(task.service);
    bool isOne = name != services.end() && name->second == service && task.wanted() &&
                 task.holds() && byNode.count(task.node) > 0;
    if (isOne) ++*byNode[task.node];
  }
  return counts;
}

std::string PlacementOracle::complaint() const {
  std::map<std::string, std::set<std::string>> names;  // by node and kind
  std::map<std::tuple<std::string, uint64_t, std::string>, uint32_t> alike;
  for (auto& [id, task] : tasks) {
    if (task.holds() && task.wanted() && task.wish.most > 0) {
      auto& count = alike[{task.service, task.version, task.node}];
      if (++count > task.wish.most) return "too many of " + task.service + " on " + task.node;
    }
    if (task.holds()) {
      for (auto& [kind, has] : task.has) {
        if (!has.names.empty() && has.names.size() != has.amount) return "names of " + id;
        for (auto& name : has.names) {
          if (!names[task.node + " " + kind].insert(name).second) return name + " is had twice";
        }
      }
      for (auto& [kind, amount] : task.wish.generic) {
        auto has = task.has.find(kind);
        if (has == task.has.end() || has->second.amount != amount) return id + " has not its own";
      }
    }
    if (task.there() || task.over() || !task.wanted()) continue;
    ++waits;
    for (auto& [nodeId, node] : nodes) {
      if (task.slot == 0 && nodeId != task.node) continue;
      if (mayHave(tasks, nodeId, task))
        return id + " waits (" + task.error + "), and fits " + nodeId;
    }
  }
  return {};
}

}  // namespace orch::testing
