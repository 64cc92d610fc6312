#include "book.h"

#include <kj/debug.h>

#include <algorithm>
#include <cstring>

namespace orch::testing {

using schema::TaskState;

namespace {

// Ended tasks that a slot keeps (taskHistoryLimit), and those that are on their way out or in.
constexpr size_t MOST_TASKS_OF_A_SLOT = 5 + 6;

kj::Array<capnp::word> wordsOf(kj::ArrayPtr<const kj::byte> bytes) {
  auto words = kj::heapArray<capnp::word>(bytes.size() / sizeof(capnp::word));
  memcpy(words.begin(), bytes.begin(), words.asBytes().size());
  return words;
}

bool isStartFirst(schema::ServiceSpec::Reader spec) {
  return spec.getUpdate().getOrder() == schema::UpdateConfig::Order::START_FIRST;
}

void takeMode(schema::ServiceSpec::Mode::Reader mode, Book::Service& service) {
  service.job = mode.isReplicatedJob() || mode.isGlobalJob();
  service.global = mode.isGlobal() || mode.isGlobalJob();
  if (mode.isReplicated()) service.replicas = mode.getReplicated().getReplicas();
  if (mode.isReplicatedJob()) service.replicas = mode.getReplicatedJob().getCompletions();
}

std::set<std::string> cardsOf(schema::Task::Reader task) {
  std::set<std::string> names;
  for (auto resource : task.getGeneric()) {
    for (auto name : resource.getNames()) names.insert(name.cStr());
  }
  return names;
}

const char* word(TaskState state) {
  static constexpr const char* WORDS[] = {"new",    "pending",  "assigned", "accepted", "preparing",
                                          "ready",  "starting", "running",  "complete", "shutdown",
                                          "failed", "rejected", "remove",   "orphaned"};
  return WORDS[static_cast<size_t>(state)];
}

}  // namespace

void Book::violate(const std::string& text) {
  around.log("VIOLATION " + text);
  if (broken.empty()) broken = text;
}

std::string Book::nameOf(const std::string& taskId) const {
  auto known = tasks.find(taskId);
  if (known == tasks.end()) return taskId;
  auto service = services.find(known->second.service);
  auto name = service == services.end() ? known->second.service : service->second.name;
  return name + "." + known->second.slot + "." + taskId.substr(0, 6) + " on " +
         (known->second.node.empty() ? "no node" : known->second.node);
}

void Book::wrote(kj::ArrayPtr<const MemoryStore::Written> batch) {
  changed.clear();
  toRun.clear();
  wereDown.clear();
  for (auto& [id, node] : nodes) {
    if (node.down) wereDown.insert(id);
  }
  // Tasks come after what they are judged by.
  for (auto& entry : batch) {
    if (entry.kind != "task" && entry.kind != "task-status") take(entry);
  }
  for (auto& entry : batch) {
    if (entry.kind == "task" || entry.kind == "task-status") take(entry);
  }
  for (auto& id : toRun) promoted(id, tasks.at(id));
  if (changed.empty()) return;
  checkSlots();
  checkRoom();
}

void Book::take(const MemoryStore::Written& entry) {
  std::string id = entry.key.cStr();
  bool isTask = entry.kind == "task";
  KJ_IF_MAYBE (value, entry.value) {
    auto words = wordsOf(*value);
    capnp::FlatArrayMessageReader message(words);
    if (entry.kind == "node") {
      auto node = message.getRoot<schema::Node>();
      auto& known = nodes[id];
      bool down = node.getDownSinceNs() != 0;
      if (down && !known.down && !around.mayBeDown(id)) {
        violate("node " + id + " is taken for down, and nothing has been wrong with it");
      }
      auto description = node.getDescription();
      known = {down, node.getAvailability(), static_cast<int64_t>(description.getCpuNanos()),
               static_cast<int64_t>(description.getMemoryBytes()),
               description.getGeneric().size() > 0 ? description.getGeneric()[0].getAmount() : 0};
    } else if (entry.kind == "service") {
      auto service = message.getRoot<schema::Service>();
      auto spec = service.getSpec();
      auto& known = services[id];
      known.name = spec.getName().cStr();
      takeMode(spec.getMode(), known);
      auto job = service.getJob();
      known.ended = job.getEndedAtNs() != 0;
      known.completed = job.getPast().size() > 0 ? job.getPast()[0].getCompleted() : 0;
      known.specVersion = service.getSpecVersion();
      known.image = spec.getTask().getContainer().getImage().cStr();
      known.everStartFirst |= isStartFirst(spec);
      known.update = service.getUpdate().getState();
    } else if (isTask) {
      takeTask(id, message.getRoot<schema::Task>());
      tasks[id].words = kj::mv(words);
    } else if (entry.kind == "task-status") {
      takeStatus(id, message.getRoot<schema::TaskStatus>());
    }
    return;
  }
  if (entry.kind == "node") nodes.erase(id);
  if (entry.kind == "service") services.erase(id);
  if (isTask) {
    tasks[id].there = false;
    changed.insert(id);
  }
}

void Book::takeTask(const std::string& id, schema::Task::Reader task) {
  ++taskWrites;
  auto& known = tasks[id];
  takenIn += known.local && !known.there;
  known.there = true;
  auto desired = task.getDesired();
  std::string node = task.getNodeId().cStr();
  if (desired < known.desired) {
    violate("what is desired of task " + nameOf(id) + " went back from " + word(known.desired) +
            " to " + word(desired));
  }
  bool moved = known.assigned() && node != known.node;
  if (moved) violate("task " + nameOf(id) + " moved to " + node);
  known.service = task.getServiceId().cStr();
  known.node = node;
  known.slot = task.getSlot() == 0 ? node : std::to_string(task.getSlot());
  if (!known.said) known.state = node.empty() ? TaskState::PENDING : TaskState::ASSIGNED;
  known.specVersion = task.getSpecVersion();
  bool isNew = known.iteration != task.getIteration();
  known.iteration = task.getIteration();
  if (isNew && !known.local) checkRun(id, known);
  auto resources = task.getSpec().getResources();
  known.cpuNanos = static_cast<int64_t>(resources.getReserveCpuNanos());
  known.memoryBytes = static_cast<int64_t>(resources.getReserveMemoryBytes());
  known.cards = cardsOf(task);
  // A minute after the grace period the manager goes on without it.
  constexpr int64_t NS_PER_MS = 1'000'000;
  constexpr int64_t MARGIN_NS = 60'000 * NS_PER_MS;
  auto graceNs = static_cast<int64_t>(task.getSpec().getContainer().getStopGraceMs()) * NS_PER_MS;
  bool asked = task.getDesiredAtNs() != 0;
  known.giveUpNs = asked ? task.getDesiredAtNs() + graceNs + MARGIN_NS : 0;
  if (desired == TaskState::RUNNING && known.desired != desired) toRun.insert(id);
  known.desired = desired;
  changed.insert(id);
}

// What has completed in a run of a job is not done again in that run.
void Book::checkRun(const std::string& id, const Task& task) {
  for (auto& [otherId, other] : tasks) {
    bool same = otherId != id && other.service == task.service && other.slot == task.slot &&
                other.iteration == task.iteration && other.there;
    if (!same || other.state != TaskState::COMPLETE) continue;
    violate("task " + nameOf(id) + " is made, though " + nameOf(otherId) + " has completed");
  }
}

void Book::takeStatus(const std::string& id, schema::TaskStatus::Reader status) {
  auto& known = tasks[id];
  auto state = status.getState();
  bool back = known.said && (state < known.state || (known.over() && state != known.state));
  if (back) {
    violate("task " + nameOf(id) + " went back from " + word(known.state) + " to " + word(state));
  }
  known.state = state;
  known.said = true;
  changed.insert(id);
}

// Nothing else of the slot may run, or be about to, unless the rules say so.
void Book::promoted(const std::string& id, Task& task) {
  for (auto& [otherId, other] : tasks) {
    bool same = otherId != id && other.service == task.service && other.slot == task.slot;
    if (!same || !other.there || !other.assigned() || other.over()) continue;
    if (mayRunBeside(task, other)) {
      task.beside.insert(otherId);
      continue;
    }
    violate("task " + nameOf(id) + " is to run while " + nameOf(otherId) + " may (" +
            word(other.state) + "), whose node is not down");
  }
}

bool Book::mayRunBeside(const Task& task, const Task& other) const {
  auto service = services.find(task.service);
  bool overlaps = service != services.end() && service->second.everStartFirst;
  auto node = nodes.find(other.node);
  // One that is back by this very batch was away when the batch was decided.
  bool away = node == nodes.end() || node->second.down || wereDown.count(other.node) > 0;
  bool givenUp = other.giveUpNs != 0 && around.managerNowNs() >= other.giveUpNs;
  return away || givenUp || overlaps;
}

void Book::checkSlots() {
  std::map<std::string, size_t> counts;
  for (auto& [id, task] : tasks) {
    if (!task.there) continue;
    auto count = ++counts[task.service + "." + task.slot];
    mostTasksOfASlot = std::max(mostTasksOfASlot, count);
    if (count > MOST_TASKS_OF_A_SLOT) {
      violate("a slot has more than " + std::to_string(MOST_TASKS_OF_A_SLOT) +
              " tasks in the state: " + nameOf(id));
      return;
    }
  }
}

void Book::checkRoom() {
  struct Sum {
    int64_t cpuNanos = 0, memoryBytes = 0;
    std::set<std::string> cards;
  };
  std::map<std::string, Sum> sums;
  for (auto& [id, task] : tasks) {
    if (!task.there || !task.assigned() || task.over()) continue;
    sums[task.node].cpuNanos += task.cpuNanos;
    sums[task.node].memoryBytes += task.memoryBytes;
    for (auto& card : task.cards) {
      if (sums[task.node].cards.insert(card).second) continue;
      violate("two tasks are given " + card + " of node " + task.node);
    }
  }
  for (auto& [id, sum] : sums) {
    auto node = nodes.find(id);
    if (node == nodes.end()) continue;
    bool fits = sum.cpuNanos <= node->second.cpuNanos &&
                sum.memoryBytes <= node->second.memoryBytes &&
                sum.cards.size() <= node->second.cards;
    if (!fits) violate("more is reserved on node " + id + " than it has");
  }
}

void Book::started(const std::string& host, const std::string& taskId) {
  auto& task = tasks[taskId];
  auto with = task.cards.empty() ? "" : " with " + *task.cards.begin();
  around.log("container of " + nameOf(taskId) + " starts" + with);
  if (++runs[taskId] > 1) violate("task " + nameOf(taskId) + " was run twice");
  if (!task.node.empty() && task.node != host) {
    violate("task " + nameOf(taskId) + " runs on " + host);
  }
  checkCards(host, taskId);
  hosts[taskId].insert(host);
  for (auto& [otherId, where] : hosts) {
    if (otherId == taskId || where.empty()) continue;
    auto& other = tasks[otherId];
    bool same = other.service == task.service && other.slot == task.slot;
    // Of what a node restarts while it is cut off, and a manager elsewhere, neither can know.
    if ((task.local || other.local) && where.count(host) == 0) continue;
    if (!same || task.beside.count(otherId) > 0 || other.beside.count(taskId) > 0) continue;
    // Its node has had it run by itself, as the managers would have.
    if (task.desired < schema::TaskState::RUNNING && mayRunBeside(task, other)) continue;
    violate("two containers run in one slot: " + nameOf(taskId) + ", " + nameOf(otherId) + " (" +
            word(other.state) + ")");
  }
}

// No container that runs there has one of the same.
void Book::checkCards(const std::string& host, const std::string& taskId) {
  for (auto& [otherId, where] : hosts) {
    if (otherId == taskId || where.count(host) == 0) continue;
    for (auto& card : tasks[otherId].cards) {
      if (tasks[taskId].cards.count(card) == 0) continue;
      violate("two containers have " + card + ": " + nameOf(taskId) + ", " + nameOf(otherId));
    }
  }
}

void Book::ended(const std::string& host, const std::string& taskId) {
  around.log("container of " + nameOf(taskId) + " is no more");
  hosts[taskId].erase(host);
}

void Book::stored(const std::string& host, const std::string& taskId,
                  kj::Maybe<schema::Task::Reader> task) {
  KJ_IF_MAYBE (written, task) {
    if (tasks.count(taskId) == 0) tookLocal(host, taskId, *written);
    auto desired = written->getDesired();
    auto state = written->getStatus().getState();
    auto known = disks.try_emplace({host, taskId}, Stored{desired, state}).first;
    bool back = state < known->second.state || desired < known->second.desired;
    if (back) violate("task " + nameOf(taskId) + " went back on the disk of its node");
    known->second = {desired, state};
  } else {
    disks.erase({host, taskId});
  }
}

void Book::tookLocal(const std::string& host, const std::string& taskId,
                     schema::Task::Reader task) {
  auto& known = tasks[taskId];
  known.service = task.getServiceId().cStr();
  known.node = host;
  known.slot = task.getSlot() == 0 ? host : std::to_string(task.getSlot());
  known.specVersion = task.getSpecVersion();
  known.there = false;
  known.local = true;
  known.cards = cardsOf(task);
  if (task.getRestartOf().size() == 0) violate("task " + nameOf(taskId) + " comes from nowhere");
  if (!around.mayBeAlone(host)) violate("node " + host + " restarts by itself, and is not cut off");
}

std::vector<std::string> Book::running(const std::string& serviceId) const {
  std::vector<std::string> found;
  for (auto& [id, where] : hosts) {
    if (!where.empty() && tasks.at(id).service == serviceId) found.push_back(id);
  }
  return found;
}

bool Book::waitsForRoom(const std::string& serviceId) const {
  return std::any_of(tasks.begin(), tasks.end(), [&](auto& entry) {
    auto& task = entry.second;
    return task.service == serviceId && task.there && task.mayRun() && !task.assigned();
  });
}

size_t Book::tasksThere() const {
  return std::count_if(tasks.begin(), tasks.end(), [](auto& entry) { return entry.second.there; });
}

}  // namespace orch::testing
