// Users of a simulated cluster.
#include "orch/attempt.h"
#include "orch/schema/gateway.capnp.h"
#include "orch/trust/peer-link.h"
#include "simulation.h"

namespace orch::testing {

namespace {

using Kind = Step::Kind;
constexpr kj::Duration CALL_LIMIT = 6 * kj::SECONDS;
constexpr uint32_t MUCH = 100;  // thousandths of a core: its tasks want a card, too
constexpr kj::Duration RETRY_PAUSE = 300 * kj::MILLISECONDS;

std::string imageOf(const Step& step) {
  return (step.bad ? "bad:" : "app:") + std::to_string(step.kind == Kind::CREATE ? 0 : step.amount);
}

// What the tasks do, for runtime.sim.
std::vector<kj::StringPtr> scriptOf(Step::Script script, bool bad) {
  if (bad) return {"SIM_RUN=100ms", "SIM_EXIT=1"};
  switch (script) {
    case Step::Script::STAYS:
      return {"SIM_START_DELAY=20ms"};
    case Step::Script::ENDS:
      return {"SIM_RUN=45s"};
    case Step::Script::FAILS:
      return {"SIM_RUN=3s", "SIM_EXIT=1"};
    case Step::Script::BRIEF:
      return {"SIM_RUN=700ms"};
    case Step::Script::SLOW:
      return {"SIM_CREATE_DELAY=800ms", "SIM_START_DELAY=700ms", "SIM_IGNORE_TERM=1"};
  }
  KJ_UNREACHABLE;
}

}  // namespace

// One after the other for each service, and for each node.
void Simulation::request(const Step& step) {
  auto& wish = wishes[step.host];
  wish.queue.push_back(step);
  if (!wish.busy) {
    wish.busy = true;
    tasks.add(keepAsking(step.host));
  }
}

Task<void> Simulation::keepAsking(std::string target) {
  auto& wish = wishes[target];
  while (!wish.queue.empty()) {
    Step step = wish.queue.front();
    wish.queue.pop_front();
    bool makesSense = hosts.count(target) > 0 || wish.there != (step.kind == Kind::CREATE);
    if (!makesSense) continue;
    auto id = "request-" + std::to_string(++requests);
    std::string last;
    for (;;) {
      auto answered = co_await attempt(ask(step, id));
      if (answered.ok()) break;
      std::string reason = answered.message().cStr();
      if (reason != last) log.add("c1", kj::str(id.c_str(), ": ", reason.c_str()));
      last = reason;
      bool refused = reason.rfind("cannot save the change", 0) == 0;
      if (refused && history.doneAt(id) > 0) book.violate("what was refused is done: " + reason);
      if (reason.rfind("usage:", 0) == 0) {
        book.violate("a request that is right is refused: " + reason);
      }
      co_await clientEnv.timer().afterDelay(RETRY_PAUSE);
    }
    log.add("c1", kj::str(id.c_str(), " is done: ", step.text().c_str()));
    history.seen(history.doneAt(id), nowNs());
    acknowledged(step);
  }
  wish.busy = false;
}

Task<void> Simulation::ask(Step step, std::string requestId) {
  auto which = 1 + clientEnv.random() % plan.managers;  // hands on, if it does not lead
  auto stream = co_await trust::reach(clientEnv, kj::str("n", which, ":1"));
  trust::PeerLink link(kj::mv(stream));
  auto find = link.bootstrap<schema::Gateway>().serviceRequest();
  find.setName("cluster");
  auto cluster = find.send().getCapability().castAs<schema::ClusterControl>();
  kj::Promise<void> sent = kj::READY_NOW;
  auto& wish = wishes[step.host];
  switch (step.kind) {
    case Kind::CREATE: {
      auto request = cluster.createServiceRequest();
      request.setRequestId(requestId.c_str());
      fillSpec(step, wish, request.initSpec());
      sent = request.send().ignoreResult();
      break;
    }
    case Kind::UPDATE: {
      auto request = cluster.updateServiceRequest();
      request.setRequestId(requestId.c_str());
      request.setId(step.host.c_str());
      fillSpec(step, wish, request.initSpec());
      sent = request.send().ignoreResult();
      break;
    }
    case Kind::SCALE: {
      auto request = cluster.scaleServiceRequest();
      request.setRequestId(requestId.c_str());
      request.setId(step.host.c_str());
      request.setReplicas(step.amount);
      sent = request.send().ignoreResult();
      break;
    }
    case Kind::REMOVE: {
      auto request = cluster.removeServiceRequest();
      request.setRequestId(requestId.c_str());
      request.setId(step.host.c_str());
      sent = request.send().ignoreResult();
      break;
    }
    default: {
      auto request = cluster.updateNodeRequest();
      request.setRequestId(requestId.c_str());
      request.setId(step.host.c_str());
      bool drains = step.kind == Kind::DRAIN;
      request.initChange().getAvailability().setSet(drains ? schema::Node::Availability::DRAIN
                                                           : schema::Node::Availability::ACTIVE);
      sent = request.send().ignoreResult();
    }
  }
  co_await clientEnv.timer().timeoutAfter(CALL_LIMIT, kj::mv(sent));
}

void Simulation::fillSpec(const Step& step, const Wish& wish, schema::ServiceSpec::Builder spec) {
  bool creates = step.kind == Kind::CREATE;
  auto& made = creates ? step : wish.last;
  spec.setName(step.host.c_str());
  if (made.job && made.global) {
    spec.getMode().setGlobalJob();
  } else if (made.job) {
    auto job = spec.getMode().initReplicatedJob();
    job.setCompletions(creates ? step.amount : wish.replicas);
    job.setMaxConcurrent(step.parallelism);
  } else if (made.global) {
    spec.getMode().setGlobal();
  } else {
    spec.getMode().initReplicated().setReplicas(creates ? step.amount : wish.replicas);
  }
  auto task = spec.initTask();
  task.setRuntime("sim");
  task.initNetworks(1)[0].setName("none");
  task.initResources().setReserveCpuNanos(made.reserve * 1'000'000ull);
  if (made.reserve > MUCH) {
    auto cards = task.getResources().initGeneric(1)[0];
    cards.setKind("card");
    cards.setAmount(1);
  }
  auto container = task.initContainer();
  container.setImage(imageOf(step).c_str());
  container.setStopGraceMs(2000);
  auto script = scriptOf(made.script, step.bad);
  auto env = container.initEnv(script.size());
  for (uint32_t i = 0; i < script.size(); ++i) env.set(i, script[i]);
  if (made.job) {
    task.initRestart().setCondition(schema::RestartPolicy::Condition::ON_FAILURE);
    return;
  }
  auto update = spec.initUpdate();
  update.setParallelism(step.parallelism);
  update.setOrder(step.startFirst ? schema::UpdateConfig::Order::START_FIRST
                                  : schema::UpdateConfig::Order::STOP_FIRST);
  update.setFailureAction(static_cast<schema::UpdateConfig::FailureAction>(step.failureAction));
  update.setMonitorMs(1000);
}

// What was answered is in the state, whatever happens next.
void Simulation::acknowledged(const Step& step) {
  auto& wish = wishes[step.host];
  if (hosts.count(step.host) > 0) {
    auto wanted = step.kind == Kind::DRAIN ? schema::Node::Availability::DRAIN
                                           : schema::Node::Availability::ACTIVE;
    bool kept = book.nodes[step.host].availability == wanted;
    if (!kept) book.violate("an acknowledged change of node " + step.host + " is lost");
    return;
  }
  auto id = serviceNamed(step.host);
  if (step.kind == Kind::REMOVE) {
    wish.there = false;
    if (!id.empty()) book.violate("service '" + step.host + "' is there after its removal");
    return;
  }
  if (id.empty()) return book.violate("acknowledged service '" + step.host + "' is lost");
  auto& service = book.services.at(id);
  if (step.kind == Kind::SCALE) {
    wish.replicas = step.amount;
  } else {
    if (step.kind == Kind::CREATE) {
      wish = {true, step.global,           step.amount, "", step.script != Step::Script::FAILS,
              step, std::move(wish.queue), true};
    }
    wish.image = imageOf(step);
    wish.judged &= !step.bad;
    if (wish.judged && service.image != wish.image) {
      book.violate("an acknowledged image of '" + step.host + "' is lost");
    }
  }
  bool kept = wish.global || service.replicas == wish.replicas;
  if (wish.judged && !kept) {
    book.violate("an acknowledged number of replicas of '" + step.host + "' is lost");
  }
}

}  // namespace orch::testing
