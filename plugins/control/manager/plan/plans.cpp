#include "plan/plans.h"

#include "lib/restart-policy.h"
#include "orch/fail.h"
#include "plan/plan-report.h"
#include "plan/planned-change.h"
#include "serve/image-pin.h"

namespace orch::control::manager {

namespace {
constexpr size_t MAX_CHANGES = 64;
constexpr size_t MAX_KEPT = 100;
constexpr int64_t KEPT_NS = 3'600'000 * NS_PER_MS;
// Whom a service can do without is found out by taking one node after the other away.
constexpr size_t MAX_LOSSES = 32;
constexpr int MAX_TRIES = 5;

using PlannedChanges = capnp::List<schema::PlannedChange>;

kj::Maybe<schema::ServiceSpec::Reader> specOf(schema::PlannedChange::Reader change) {
  if (change.isCreate()) return change.getCreate();
  if (change.isUpdate()) return change.getUpdate().getSpec();
  return nullptr;
}

std::vector<std::string> makeAll(View& view, kj::StringPtr requestId, kj::StringPtr self,
                                 PlannedChanges::Reader changes, const Offer& offer) {
  std::vector<std::string> warnings;
  for (uint32_t i = 0; i < changes.size(); ++i) {
    auto id = kj::str(requestId, "-", i);
    auto answer = makeChange(view, {id, self}, changes[i], offer);
    warnings.insert(warnings.end(), answer.warnings.begin(), answer.warnings.end());
  }
  return warnings;
}

void setWarnings(schema::Plan::Builder plan, const std::vector<std::string>& warnings) {
  auto list = plan.initWarnings(warnings.size());
  for (uint32_t i = 0; i < list.size(); ++i) list.set(i, warnings[i].c_str());
}
}  // namespace

Plans::Plans(ClusterParts& parts)
    : parts(parts),
      scheduling(
          parts.env, parts.host, parts.settings.getScheduler(), [](Decide) {},
          Scheduling::ANSWER_LIMIT) {}

Plans::Changes::Reader Plans::Kept::list() {
  return changes->getRoot<schema::ClusterControl::PlanParams>().asReader().getChanges();
}

Task<void> Plans::plan(PlanContext context) {
  auto count = context.getParams().getChanges().size();
  if (count == 0 || count > MAX_CHANGES) {
    fail(kj::str("usage: a plan is of 1 to ", MAX_CHANGES, " changes, not ", count));
  }
  auto message = kj::heap<capnp::MallocMessageBuilder>();
  message->setRoot(context.getParams());
  auto changes = message->getRoot<schema::ClusterControl::PlanParams>().getChanges();
  std::vector<std::string> warnings;
  auto plan = context.getResults().initPlan();
  uint64_t revision = 0;
  // What would be refused asks no registry.
  co_await workOut(changes.asReader(), plan, revision);
  bool pins = false;
  for (auto change : changes.asReader()) pins |= specOf(change) != nullptr;
  if (pins) {
    co_await pinImages(changes, warnings);
    plan = context.getResults().initPlan();
    co_await workOut(changes.asReader(), plan, revision);
  }
  for (auto warning : plan.getWarnings().asReader()) warnings.push_back(warning.cStr());
  setWarnings(plan, warnings);
  keep(plan.getId().cStr(), kj::mv(message));
}

Task<void> Plans::pinImages(Changes::Builder changes, std::vector<std::string>& warnings) {
  for (auto change : changes) {
    if (specOf(change.asReader()) == nullptr) continue;
    capnp::MallocMessageBuilder nobody;
    auto login = nobody.initRoot<schema::RegistryLogin>().asReader();
    bool isNew = change.isCreate();
    auto spec = isNew ? change.getCreate() : change.getUpdate().getSpec();
    // An update of something else stays with the image that there is.
    if (spec.getTask().getContainer().getImageDigest().size() > 0) continue;
    auto service = isNew ? kj::String() : kj::str(change.getUpdate().getId());
    auto pinning = pinFor(parts, service, spec.asReader(), login);
    auto pinned = co_await kj::mv(pinning);
    if (isNew) {
      change.setCreate(pinned.spec());
    } else {
      change.getUpdate().setSpec(pinned.spec());
    }
    warnings.insert(warnings.end(), pinned.warnings.begin(), pinned.warnings.end());
  }
}

Task<Offer> Plans::offerFor(Changes::Reader changes) {
  Offer offer;
  offer.maxObjectBytes = parts.manager.limits().maxBytes / 4;
  bool named = false;
  for (auto change : changes) {
    KJ_IF_MAYBE (spec, specOf(change)) {
      co_await parts.manager.scheduling().checkTerms(parts.manager.state(), *spec);
      named |= spec->getTask().getPlacement().getStrategy().size() > 0;
    }
  }
  if (named) {
    auto names = co_await parts.manager.scheduling().strategies();
    for (auto& name : names) offer.strategies.push_back(name.cStr());
    offer.strategiesKnown = true;
  }
  co_return kj::mv(offer);
}

Task<void> Plans::workOut(Changes::Reader changes, schema::Plan::Builder plan, uint64_t& revision) {
  auto offer = co_await offerFor(changes);
  Manager::Look look = [&](View& view) {
    revision = view.base().revision;
    return predict(view, changes, offer, plan);
  };
  co_await parts.manager.explore(kj::mv(look));
  plan.setId(planIdOf(plan, changes).c_str());
}

Task<void> Plans::predict(View& view, Changes::Reader changes, const Offer& offer,
                          schema::Plan::Builder plan) {
  auto warnings = makeAll(view, "plan", parts.self.c_str(), changes, offer);
  Prediction prediction(parts.env, parts.settings, scheduling, view);
  co_await prediction.run();
  View before(view.base(), view.now(), Seed{});
  describePlan(view, before, prediction, plan);
  setWarnings(plan, warnings);
  co_await findNeeds(view, prediction.services(), plan);
}

Task<void> Plans::findNeeds(View& view, const std::set<std::string>& services,
                            schema::Plan::Builder plan) {
  std::set<std::string> hosts;
  for (auto& id : services) {
    for (auto& [nodeId, count] : view.wantedByNode(id)) {
      if (count > 0) hosts.insert(nodeId);
    }
  }
  if (hosts.size() > MAX_LOSSES) {
    for (auto service : plan.getServices()) service.setNeedsUnknown(true);
    co_return;
  }
  // What a job loses with a node runs elsewhere, or later.
  for (auto service : plan.getServices()) {
    KJ_IF_MAYBE (known, view.service(manager::view(service.asReader().getId()))) {
      service.setNeedsUnknown(isJob(known->getSpec()));
    }
  }
  std::map<std::string, std::vector<std::string>> needs;  // host names, by service
  uint64_t seed = 2;
  for (auto& nodeId : hosts) {
    auto node = view.node(nodeId);
    if (node == nullptr) continue;
    auto hostname = text(KJ_ASSERT_NONNULL(node).getDescription().getHostname());
    View without(view, Seed{++seed, 2, 3, 4});
    loseNode(without, nodeId);
    for (auto& id : services) without.touch(id);
    Prediction prediction(parts.env, parts.settings, scheduling, without);
    co_await prediction.run();
    for (auto& id : services) {
      auto count = headcountOf(without, id);
      if (count.running < headcountOf(view, id).running) needs[id].push_back(hostname);
    }
  }
  for (auto service : plan.getServices()) {
    auto& names = needs[service.getId().cStr()];
    auto list = service.initNeeds(names.size());
    for (uint32_t i = 0; i < list.size(); ++i) list.set(i, names[i].c_str());
  }
}

void Plans::keep(const std::string& id, kj::Own<capnp::MallocMessageBuilder> changes) {
  std::erase_if(kept, [&](auto& one) { return one.id == id; });
  kept.push_back(Kept{id, parts.env.nowNs(), kj::mv(changes)});
  if (kept.size() > MAX_KEPT) kept.pop_front();
}

Plans::Kept& Plans::known(kj::StringPtr id) {
  for (auto& one : kept) {
    if (one.id == id.cStr() && one.atNs + KEPT_NS > parts.env.nowNs()) return one;
  }
  fail(kj::str("there is no plan '", id,
               "' here; plans are kept for an hour, until the manager "
               "starts again: make it anew with 'orch plan'"));
}

Task<void> Plans::apply(ApplyContext context) {
  auto requestId = kj::str(context.getParams().getRequestId());
  auto planId = kj::str(context.getParams().getPlanId());
  if (!earlier(View(parts.manager.state(), parts.env.nowNs(), Seed{}), requestId, "apply")
           .empty()) {
    co_return;
  }
  capnp::MallocMessageBuilder copy;  // others may push it out of `kept`
  copy.setRoot(known(planId).list());
  auto changes = copy.getRoot<Changes>().asReader();
  for (auto change : changes) requireReal(change);
  auto offer = co_await offerFor(changes);
  for (int tries = 0; tries < MAX_TRIES; ++tries) {
    uint64_t revision = 0;
    auto plan = context.getResults().initPlan();
    co_await workOut(changes, plan, revision);
    if (plan.getId() != planId) {
      fail(
          kj::str("the cluster has changed since: the plan would do something else now; look at "
                  "it again with 'orch plan'"));
    }
    bool overtaken = false;
    Decide decide = [&](View& view) {
      overtaken = view.base().revision != revision || !view.changes().empty();
      if (overtaken) return;
      makeAll(view, requestId, parts.self.c_str(), changes, offer);
      remember(view, requestId, "apply", std::string(planId.cStr()));
    };
    co_await parts.manager.submit(kj::mv(decide), requestId);
    if (!overtaken) co_return;
  }
  fail(kj::str("the cluster changes too fast for the plan to be compared with it; try again"));
}

}  // namespace orch::control::manager
