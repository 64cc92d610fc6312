#include "serve/cluster-queries.h"

#include <algorithm>

#include "decide/job-run.h"
#include "decide/mode.h"
#include "orch/fail.h"
#include "serve/network-queries.h"
#include "serve/resolve.h"
#include "state/events.h"

namespace orch::control::manager {

void complete(const State& state, const Object& object, schema::Node::Builder copy) {
  auto id = manager::view(copy.asReader().getMeta().getId());
  auto is = state.stateOf(copy.asReader());
  copy.getMeta().setVersion(object.version());
  auto& sighting = state.sightingOf(id);
  bool down = is == schema::Node::State::DOWN;
  copy.setState(is);
  copy.setMessage(down ? copy.asReader().getDownReason()
                       : capnp::Text::Reader(sighting.reason.c_str()));
  copy.setStateSinceNs(down ? copy.getDownSinceNs() : sighting.sinceNs);
  copy.setLeader(id == state.leader);
  if (state.isManager(id)) copy.setRole(schema::Node::Role::MANAGER);
  auto& held = state.usageOf(id).generic;
  auto used = copy.initGenericInUse(held.size());
  uint32_t next = 0;
  for (auto& [kind, of] : held) {
    auto entry = used[next++];
    entry.setKind(kind.c_str());
    entry.setAmount(of.amount);
    auto names = entry.initNames(of.names.size());
    uint32_t i = 0;
    for (auto& name : of.names) names.set(i++, name.first.c_str());
  }
  // The node's own word would be as old as its last description.
  for (auto pool : copy.getDescription().getNetworks()) {
    pool.setUsed(addressesUsed(state, id, text(pool.asReader().getName())));
  }
}

void complete(const State&, const Object& object, schema::Cluster::Builder copy) {
  copy.getMeta().setVersion(object.version());
  copy.disownWorkerSalt();
  copy.disownManagerSalt();
  copy.setAutolock(copy.hasSealedLockKey());
  copy.disownSealedLockKey();
  for (auto former : copy.getFormerAuthorities()) former.disownSealedNext();
}

namespace {
void listAmounts(const std::map<std::string, uint64_t>& amounts,
                 capnp::List<schema::GenericResource>::Builder list) {
  uint32_t i = 0;
  for (auto& [kind, amount] : amounts) {
    list[i].setKind(kind.c_str());
    list[i++].setAmount(amount);
  }
}

void sumResources(const State& state, schema::ClusterInfo::Builder info) {
  std::map<std::string, uint64_t> total, used;
  for (auto& entry : state.all(Kind::NODE)) {
    auto description = entry.second.as<schema::Node>().getDescription();
    for (auto one : description.getGeneric()) total[text(one.getKind())] += one.getAmount();
    for (auto& [kind, held] : state.usageOf(entry.first).generic) used[kind] += held.amount;
  }
  listAmounts(total, info.initGeneric(total.size()));
  listAmounts(used, info.initGenericInUse(used.size()));
}
}  // namespace

void describeInfo(ClusterParts& parts, schema::ClusterInfo::Builder info) {
  auto& state = parts.manager.state();
  for (auto& entry : state.all(Kind::CLUSTER)) {
    info.setInitialized(true);
    info.setCluster(entry.second.as<schema::Cluster>());
    complete(state, entry.second, info.getCluster());
  }
  uint32_t managers = 0;
  for (auto& entry : state.all(Kind::NODE)) managers += state.isManager(entry.first);
  uint32_t running = 0;
  for (auto& entry : state.usage().allServices()) running += runningTasks(state, entry.first);
  info.setNodes(state.all(Kind::NODE).size());
  info.setManagers(managers);
  info.setLeader(state.leader.c_str());
  info.setServices(state.all(Kind::SERVICE).size());
  info.setTasksRunning(running);
  info.setRevision(state.revision);
  info.setEpoch(parts.manager.epoch());
  info.setStore(parts.leadership.storeName());
  sumResources(state, info);
}

void listServices(const View& view,
                  kj::Function<capnp::List<schema::ServiceRow>::Builder(uint32_t)> makeList) {
  auto& state = view.base();
  auto list = makeList(state.all(Kind::SERVICE).size());
  uint32_t i = 0;
  for (auto& named : state.services().byName) {
    for (auto& entry : named.second) {
      auto service = state.find(Kind::SERVICE, entry.first)->as<schema::Service>();
      auto spec = service.getSpec();
      auto row = list[i++];
      row.setId(service.getMeta().getId());
      row.setName(spec.getName());
      auto mode = modeOf(spec);
      row.setMode(mode == nullptr ? "unknown"_kj : mode->name);
      row.setRunning(runningTasks(state, entry.first));
      row.setDesired(mode == nullptr ? 0 : mode->desired(view, service));
      if (mode != nullptr && mode->job) {
        auto count = countRun(view, service);
        row.setCompleted(count.completed);
        row.setTotal(count.total);
        row.setDesired(tasksAtOnce(spec).orDefault(count.total - count.completed));
      }
      row.setImage(spec.getTask().getContainer().getImage());
      row.setPorts(service.getPorts());
      row.setUpdateState(service.getUpdate().getState());
      row.setLabels(spec.getLabels());
    }
  }
}

std::vector<std::string> selectTasks(const View& view, schema::TaskFilter::Reader filter,
                                     kj::StringPtr ownNodeId) {
  auto desired = filter.getDesired();
  if (desired.size() > 0 && desired != "running" && desired != "shutdown") {
    fail(kj::str("usage: the desired state must be running or shutdown, not '", desired, "'"));
  }
  std::string serviceId;
  std::string nodeId;
  if (filter.getServiceId().size() > 0) serviceId = resolveService(view, filter.getServiceId());
  if (filter.getNodeId().size() > 0) nodeId = resolveNode(view, filter.getNodeId(), ownNodeId);

  std::vector<TaskReader> tasks;
  auto consider = [&](const Object* object) {
    TaskReader task(*object);
    if (!nodeId.empty() && manager::view(task.getNodeId()) != nodeId) return;
    if (desired == "running" && !isWanted(task)) return;
    if (desired == "shutdown" && isWanted(task)) return;
    tasks.push_back(task);
  };
  auto& state = view.base();
  if (!serviceId.empty()) {
    if (auto slots = state.slots(serviceId)) {
      for (auto& slot : slots->all()) {
        for (auto object : slot.second.tasks) consider(object);
      }
    }
  } else if (!nodeId.empty()) {
    for (auto& id : state.tasksOf(nodeId)) consider(state.find(Kind::TASK, id));
  } else {
    for (auto& entry : state.all(Kind::TASK)) consider(&entry.second);
  }
  std::sort(tasks.begin(), tasks.end(), [](auto& a, auto& b) {
    auto key = [](auto& task) {
      // The newest of a slot comes first.
      return std::make_tuple(manager::view(task.getServiceName()), task.slot(),
                             -task.getMeta().getCreatedAtNs());
    };
    return key(a) < key(b);
  });
  std::vector<std::string> ids;
  for (auto& task : tasks) ids.push_back(task.id());
  return ids;
}

std::string resolveForProgress(const View& view, kj::StringPtr typed) {
  if (isFullId(manager::view(typed)) && view.serviceNamed(manager::view(typed)).empty())
    return typed.cStr();
  return resolveService(view, typed);
}

}  // namespace orch::control::manager
