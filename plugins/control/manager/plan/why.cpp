#include "plan/why.h"

#include <algorithm>

#include "decide/updater.h"
#include "orch/amounts.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "schedule/neighbours.h"
#include "schedule/placement.h"
#include "serve/resolve.h"

namespace orch::control::manager {

namespace {

// What is asked about: a task that there is, or the next one of a service.
struct Subject {
  std::string serviceId;
  std::string nodeId;          // empty: it has none
  kj::Maybe<TaskReader> task;  // that has it
  schema::TaskSpec::Reader spec;
  capnp::List<schema::PortSpec>::Reader ports;
};

struct Verdict {
  std::string nodeId;
  std::string hostname;
  std::vector<std::string> obstacles;
  std::vector<std::string> remedies;
  std::vector<std::pair<std::string, int64_t>> terms;
};

// The one that says most: that waits, else the newest.
kj::Maybe<TaskReader> tellingTask(const View& view, const std::string& serviceId) {
  kj::Maybe<TaskReader> newest;
  for (auto& slot : view.slots(serviceId)) {
    auto task = representative(slot);
    if (isUnplaced(task)) return task;
    KJ_IF_MAYBE (other, newest) {
      if (task.getMeta().getCreatedAtNs() < other->getMeta().getCreatedAtNs()) continue;
    }
    newest = task;
  }
  return newest;
}

Subject subjectOf(const View& view, const TaskReader& task, schema::Placing::Builder answer) {
  answer.setTask((text(task.getServiceName()) + "." + nameOf(task.slot())).c_str());
  auto status = task.getStatus();
  answer.setState(status.getState());
  answer.setMessage(status.getError().size() > 0 ? status.getError() : status.getMessage());
  Subject subject;
  subject.serviceId = text(task.getServiceId());
  if (isAssigned(task)) {
    subject.nodeId = text(task.getNodeId());
    subject.task = task;
  }
  subject.spec = task.getSpec();
  subject.ports = task.getPorts();
  KJ_IF_MAYBE (service, view.service(subject.serviceId)) {
    bool current = service->getSpecVersion() == task.getSpecVersion();
    if (current) subject.spec = service->getSpec().getTask();
  }
  return subject;
}

Subject find(const View& view, kj::StringPtr id, schema::Placing::Builder answer) {
  auto taskId = attemptNow([&] { return resolveTask(view, id); });
  if (taskId.ok()) return subjectOf(view, KJ_ASSERT_NONNULL(view.task(taskId.value())), answer);
  auto serviceId = attemptNow([&] { return resolveService(view, id); });
  if (!serviceId.ok()) fail(kj::str("there is no task and no service '", id, "'"));
  KJ_IF_MAYBE (task, tellingTask(view, serviceId.value())) return subjectOf(view, *task, answer);
  auto service = KJ_ASSERT_NONNULL(view.service(serviceId.value()));
  answer.setTask(service.getSpec().getName());
  answer.setMessage("no task of it is wanted; this is about the next one");
  return {serviceId.value(), "", nullptr, service.getSpec().getTask(), service.getPorts()};
}

// As the task does not count that runs there itself.
std::string missing(uint64_t total, int64_t used, uint64_t wanted) {
  auto left = static_cast<int64_t>(total) - used;
  return sizeText(wanted - static_cast<uint64_t>(std::max<int64_t>(0, left))).cStr();
}

class Explainer final {
 public:
  Explainer(const View& view, const Subject& subject) : view(view), subject(subject) {}

  Verdict judge(schema::Node::Reader node, int64_t ofService) {
    Verdict verdict;
    verdict.nodeId = text(node.getMeta().getId());
    verdict.hostname = text(node.getDescription().getHostname());
    auto usage = view.nodeUsage(verdict.nodeId);
    bool own = verdict.nodeId == subject.nodeId;
    if (own) leaveOut(usage, ofService);
    for (auto refusal : allRefusals(view, subject.serviceId, node, subject.spec, subject.ports,
                                    usage, ofService)) {
      describe(refusal, node, usage, verdict);
    }
    return verdict;
  }

 private:
  void leaveOut(NodeUsage& usage, int64_t& ofService) const {
    auto resources = subject.spec.getResources();
    usage.cpuNanos -= resources.getReserveCpuNanos();
    usage.memoryBytes -= resources.getReserveMemoryBytes();
    KJ_IF_MAYBE (task, subject.task) addGeneric(usage.generic, task->getGeneric(), -1);
    usage.hostPorts.clear();  // they are its own, or it would not be there
    --ofService;
  }
  void describe(Refusal refusal, schema::Node::Reader node, const NodeUsage& usage,
                Verdict& verdict) const;
  void describeTerms(schema::Node::Reader node, Verdict& verdict) const;
  void describeNeighbours(Verdict& verdict) const;
  void describeResources(schema::Node::Reader node, const GenericUsage& usage,
                         Verdict& verdict) const;

  const View& view;
  const Subject& subject;
};

void add(Verdict& verdict, kj::String obstacle, kj::String remedy) {
  verdict.obstacles.push_back(obstacle.cStr());
  verdict.remedies.push_back(remedy.cStr());
}

void Explainer::describeTerms(schema::Node::Reader node, Verdict& verdict) const {
  auto& verdicts = view.base().verdicts();
  auto describe = [&](Verdicts::Entry& term, capnp::Text::Reader written) {
    if (term.weight > 0 || term.subject != Term::Subject::NODE) return;
    auto code = codeOf(view, node, term);
    if (code == Verdicts::MET) return;
    kj::String remedy = kj::str("drop ", written);
    constexpr std::string_view LABELS = "node.labels.";
    auto& key = term.remedyKey;
    if (key.starts_with(LABELS)) {
      remedy =
          kj::str("orch node update --label-add ", key.c_str() + LABELS.size(), "=",
                  term.remedyValue.c_str(), " ", verdict.hostname.c_str(), ", or drop ", written);
    }
    if (code == Verdicts::UNKNOWN)
      remedy = kj::str("see filter.", term.filter.c_str(), " in 'orch plugin ls'");
    add(verdict, kj::str(std::string(Verdicts::wordsOf(term, code)).c_str()), kj::mv(remedy));
  };
  auto placement = subject.spec.getPlacement();
  for (auto text : placement.getConstraints()) {
    describe(verdicts.constraint(manager::view(text)), text);
  }
  for (auto text : placement.getFilters()) describe(verdicts.filter(manager::view(text)), text);
}

// The first of them, as it is refused.
void Explainer::describeNeighbours(Verdict& verdict) const {
  Neighbours neighbours(view, subject.serviceId, subject.spec);
  auto why = std::string(neighbours.refusal(verdict.nodeId));
  for (auto text : subject.spec.getPlacement().getFilters()) {
    auto& term = view.base().verdicts().filter(manager::view(text));
    bool refuses =
        std::find(term.refusals.begin(), term.refusals.end(), why) != term.refusals.end();
    if (refuses) return add(verdict, kj::str(why.c_str()), kj::str("drop ", text));
  }
  add(verdict, kj::str(why.c_str()), kj::str("see 'orch plugin ls'"));
}

// Every kind that it has too little of.
void Explainer::describeResources(schema::Node::Reader node, const GenericUsage& usage,
                                  Verdict& verdict) const {
  auto name = verdict.hostname.c_str();
  auto there = node.getDescription().getGeneric();
  for (auto wanted : subject.spec.getResources().getGeneric()) {
    auto kind = wanted.getKind();
    auto total = amountOf(there, manager::view(kind));
    auto free = freeOf(there, usage, manager::view(kind));
    if (free >= wanted.getAmount()) continue;
    auto obstacle =
        kj::str("insufficient ", kind, ": ", wanted.getAmount(), " wanted, ", free, " free");
    auto it = usage.find(manager::view(kind));
    uint64_t held = it == usage.end() ? 0 : std::max<int64_t>(0, it->second.amount);
    if (total == 0) {
      obstacle = kj::str("has no ", kind);
    } else if (held > total) {
      obstacle = kj::str(kj::mv(obstacle), "; its tasks have ", held, " of ", total);
    }
    bool enough = total >= wanted.getAmount();
    auto lacking = wanted.getAmount() + held - total;
    add(verdict, kj::mv(obstacle),
        enough ? kj::str("free ", lacking, " ", kind, " on ", name)
               : kj::str("give ", name, " ", kind, " = ", wanted.getAmount(),
                         " under [node] resources, if it has as many"));
  }
}

void Explainer::describe(Refusal refusal, schema::Node::Reader node, const NodeUsage& usage,
                         Verdict& verdict) const {
  auto name = verdict.hostname.c_str();
  auto description = node.getDescription();
  auto wanted = subject.spec.getResources();
  switch (refusal) {
    case Refusal::NOT_READY: {
      auto reason =
          isDown(node) ? text(node.getDownReason()) : view.base().sightingOf(verdict.nodeId).reason;
      return add(verdict, kj::str(isDown(node) ? "down: " : "not heard of: ", reason.c_str()),
                 kj::str("start orchd on ", name));
    }
    case Refusal::NOT_ACTIVE:
      return add(verdict,
                 kj::str(node.getAvailability() == schema::Node::Availability::DRAIN ? "drained"
                                                                                     : "paused"),
                 kj::str("orch node update --availability active ", name));
    case Refusal::CPU: {
      auto left = static_cast<int64_t>(description.getCpuNanos()) - usage.cpuNanos;
      auto lacking = wanted.getReserveCpuNanos() - std::max<int64_t>(0, left);
      return add(verdict,
                 kj::str("insufficient cpu: ", coresText(wanted.getReserveCpuNanos()),
                         " cores wanted, ", coresText(std::max<int64_t>(0, left)), " not reserved"),
                 kj::str("free ", coresText(lacking), " cores on ", name));
    }
    case Refusal::MEMORY: {
      auto lacking =
          missing(description.getMemoryBytes(), usage.memoryBytes, wanted.getReserveMemoryBytes());
      return add(verdict,
                 kj::str("insufficient memory: ", sizeText(wanted.getReserveMemoryBytes()),
                         " wanted, ", lacking.c_str(), " more than are not reserved"),
                 kj::str("free ", lacking.c_str(), " on ", name));
    }
    case Refusal::GENERIC:
      return describeResources(node, usage.generic, verdict);
    case Refusal::RUNTIME:
      return add(verdict, kj::str("has no runtime ", subject.spec.getRuntime()),
                 kj::str("install ", subject.spec.getRuntime(), " on ", name));
    case Refusal::NETWORK:
      return add(verdict, kj::str("cannot be on its networks"),
                 kj::str("load the networks' plugins on ", name,
                         ", and give it an address that others reach"));
    case Refusal::ENCRYPTION:
      return add(verdict, kj::str(unencrypted(view, node, subject.spec).c_str()),
                 kj::str("see the problem under 'orch node inspect ", name, "'"));
    case Refusal::FILTER:
      return describeTerms(node, verdict);
    case Refusal::AFFINITY:
      return describeNeighbours(verdict);
    case Refusal::HOST_PORT: {
      auto port = KJ_ASSERT_NONNULL(takenHostPort(subject.ports, usage));
      return add(verdict, kj::str("port ", port.getPublished(), " of the host is another task's"),
                 kj::str("free port ", port.getPublished(), " on ", name));
    }
    case Refusal::MAX_PER_NODE:
      return add(verdict,
                 kj::str("has ", subject.spec.getPlacement().getMaxReplicasPerNode(),
                         " of its tasks, as many as may be on a node"),
                 kj::str("orch service update --replicas-max-per-node ",
                         subject.spec.getPlacement().getMaxReplicasPerNode() + 1));
  }
}

void fill(const Verdict& verdict, schema::NodePlacing::Builder out) {
  out.setNode(verdict.hostname.c_str());
  auto obstacles = out.initObstacles(verdict.obstacles.size());
  auto remedies = out.initRemedies(verdict.remedies.size());
  for (uint32_t i = 0; i < obstacles.size(); ++i) {
    obstacles.set(i, verdict.obstacles[i].c_str());
    remedies.set(i, verdict.remedies[i].c_str());
  }
  auto terms = out.initTerms(verdict.terms.size());
  for (uint32_t i = 0; i < terms.size(); ++i) {
    terms[i].setName(verdict.terms[i].first.c_str());
    terms[i].setValue(verdict.terms[i].second);
  }
}

}  // namespace

Task<void> explainPlacing(Scheduling& scheduling, View& view, kj::StringPtr id,
                          schema::Placing::Builder answer) {
  auto subject = find(view, id, answer);
  auto counts = view.wantedByNode(subject.serviceId);
  std::vector<Verdict> verdicts;
  std::vector<std::string> candidates;
  Explainer explainer(view, subject);
  for (bool asks = true; asks;) {
    verdicts.clear();
    candidates.clear();
    view.anyNode([&](schema::Node::Reader node) {
      auto nodeId = text(node.getMeta().getId());
      verdicts.push_back(explainer.judge(node, counts[nodeId]));
      if (verdicts.back().obstacles.empty()) candidates.push_back(nodeId);
      return false;
    });
    asks = view.base().verdicts().open();
    if (asks) asks = co_await scheduling.filters().answer(view.base());
  }
  auto scores = co_await scheduling.standings(view, subject.serviceId, subject.spec, subject.ports,
                                              candidates);
  for (auto& verdict : verdicts) {
    if (verdict.nodeId == subject.nodeId) answer.setNode(verdict.hostname.c_str());
    auto it = scores.find(verdict.nodeId);
    if (it != scores.end()) verdict.terms = it->second;
  }
  auto rank = [&](const Verdict& one) {
    std::vector<int64_t> values;
    for (auto& term : one.terms) values.push_back(term.second);
    return std::make_tuple(one.nodeId != subject.nodeId, !one.obstacles.empty(), values,
                           one.hostname);
  };
  std::stable_sort(verdicts.begin(), verdicts.end(),
                   [&](auto& a, auto& b) { return rank(a) < rank(b); });
  auto list = answer.initNodes(verdicts.size());
  for (uint32_t i = 0; i < list.size(); ++i) fill(verdicts[i], list[i]);
}

}  // namespace orch::control::manager
