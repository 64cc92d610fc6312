#include "serve/cluster-server.h"

#include <kj/debug.h>

#include "decide/address-allocator.h"
#include "journal/replays.h"
#include "member/admins.h"
#include "orch/fail.h"
#include "plan/plans.h"
#include "plan/why.h"
#include "serve/authority-requests.h"
#include "serve/cluster-queries.h"
#include "serve/image-pin.h"
#include "serve/network-queries.h"
#include "serve/network-requests.h"
#include "serve/node-progress.h"
#include "serve/resolve.h"
#include "serve/unanswered.h"

namespace orch::control::manager {

namespace {

// What a request's decision leaves for its answer. Shared by the job and the call.
struct Outcome final : public kj::Refcounted {
  Answer answer;
  bool created = false;
  std::vector<std::string> names;  // of what was removed
};

class ClusterServer final : public schema::ClusterControl::Server {
 public:
  ClusterServer(kj::Own<kj::Refcounted> owner, ClusterParts parts)
      : owner(kj::mv(owner)), parts(parts), plans(this->parts), replays(this->parts) {}

  kj::Promise<void> info(InfoContext context) override {
    auto info = context.getResults().initInfo();
    describeInfo(parts, info);
    return parts.members.describeSelf(info.initSelf());
  }
  kj::Promise<void> init(InitContext context) override { return doInit(context); }
  kj::Promise<void> createService(CreateServiceContext context) override {
    return doCreate(context);
  }
  kj::Promise<void> updateService(UpdateServiceContext context) override {
    return doUpdate(context);
  }
  kj::Promise<void> scaleService(ScaleServiceContext context) override { return doScale(context); }
  kj::Promise<void> removeService(RemoveServiceContext context) override {
    return doRemove(context);
  }
  kj::Promise<void> rollbackService(RollbackServiceContext context) override {
    return doRollback(context);
  }
  kj::Promise<void> plan(PlanContext context) override { return plans.plan(context); }
  kj::Promise<void> apply(ApplyContext context) override { return plans.apply(context); }
  kj::Promise<void> why(WhyContext context) override { return doWhy(context); }
  kj::Promise<void> replay(ReplayContext context) override { return replays.replay(context); }
  kj::Promise<void> progress(ProgressContext context) override { return doProgress(context); }
  kj::Promise<void> nodeProgress(NodeProgressContext context) override {
    return doNodeProgress(context);
  }

  kj::Promise<void> services(ServicesContext context) override {
    listServices(now(), [&](uint32_t count) { return context.getResults().initServices(count); });
    return kj::READY_NOW;
  }
  kj::Promise<void> service(ServiceContext context) override {
    auto id = resolveService(now(), context.getParams().getId());
    fillService(id, context.getResults());
    context.getResults().setRunning(runningTasks(state(), id));
    return kj::READY_NOW;
  }
  kj::Promise<void> tasks(TasksContext context) override {
    auto ids = selectTasks(now(), context.getParams().getFilter(), parts.self.c_str());
    auto list = context.getResults().initTasks(ids.size());
    for (uint32_t i = 0; i < ids.size(); ++i) {
      copyInto<schema::Task>(state(), *state().find(Kind::TASK, ids[i]), list, i);
    }
    return kj::READY_NOW;
  }
  kj::Promise<void> task(TaskContext context) override {
    auto id = resolveTask(now(), context.getParams().getId());
    auto& object = *state().find(Kind::TASK, id);
    auto results = context.getResults();
    results.setTask(object.as<schema::Task>());
    complete(state(), object, results.getTask());
    return kj::READY_NOW;
  }
  kj::Promise<void> nodes(NodesContext context) override {
    auto& all = state().all(Kind::NODE);
    auto list = context.getResults().initNodes(all.size());
    uint32_t i = 0;
    for (auto& entry : all) copyInto<schema::Node>(state(), entry.second, list, i++);
    return kj::READY_NOW;
  }
  kj::Promise<void> node(NodeContext context) override {
    auto id = resolveNode(now(), context.getParams().getId(), parts.self.c_str());
    auto& object = *state().find(Kind::NODE, id);
    auto results = context.getResults();
    results.setNode(object.as<schema::Node>());
    complete(state(), object, results.getNode());
    auto problems = overlapsOf(now(), results.getNode().asReader());
    for (auto& port : unansweredOn(results.getNode())) problems.push_back(port);
    auto list = results.getNode().initProblems(problems.size());
    for (uint32_t i = 0; i < list.size(); ++i) list.set(i, problems[i].c_str());
    return kj::READY_NOW;
  }
  kj::Promise<void> networks(NetworksContext context) override {
    auto names = localNetworks(state());
    auto& made = state().all(Kind::NETWORK);
    auto list = context.getResults().initNetworks(names.size() + made.size());
    uint32_t i = 0;
    for (auto& name : names) describeNetwork(state(), name, list[i++]);
    for (auto& entry : made) copyInto<schema::Network>(state(), entry.second, list, i++);
    return kj::READY_NOW;
  }
  kj::Promise<void> network(NetworkContext context) override {
    auto typed = context.getParams().getId();
    auto results = context.getResults();
    if (isLocalNetwork(state(), typed)) {
      describeNetwork(state(), typed.cStr(), results.initNetwork());
    } else {
      auto& object = *state().find(Kind::NETWORK, resolveNetwork(now(), typed));
      results.setNetwork(object.as<schema::Network>());
      complete(state(), object, results.getNetwork());
    }
    describeUsers(state(), results.getNetwork());
    return kj::READY_NOW;
  }
  kj::Promise<void> createNetwork(CreateNetworkContext context) override {
    return doCreateNetwork(context);
  }
  kj::Promise<void> removeNetwork(RemoveNetworkContext context) override {
    return doRemoveNetwork(context);
  }
  kj::Promise<void> pruneNetworks(PruneNetworksContext context) override {
    return doPruneNetworks(context);
  }
  kj::Promise<void> checkNetworks(CheckNetworksContext context) override {
    return parts.networkCheck.run(context);
  }
  kj::Promise<void> logs(LogsContext context) override {
    context.allowCancellation();
    auto params = context.getParams();
    return parts.logs.stream(params.getId(), params.getOptions(), params.getSink());
  }
  kj::Promise<void> exec(ExecContext context) override {
    context.allowCancellation();
    return parts.programs.exec(context);
  }
  kj::Promise<void> attach(AttachContext context) override {
    context.allowCancellation();
    return parts.programs.attach(context);
  }
  kj::Promise<void> processes(ProcessesContext context) override {
    context.allowCancellation();
    return parts.programs.processes(context);
  }
  kj::Promise<void> usage(UsageContext context) override {
    context.allowCancellation();
    return parts.usage.usage(context);
  }
  kj::Promise<void> joinToken(JoinTokenContext context) override { return doJoinToken(context); }
  kj::Promise<void> join(JoinContext context) override { return parts.members.join(context); }
  kj::Promise<void> leave(LeaveContext context) override {
    return leaveAlone(parts, context.getParams().getForce());
  }
  kj::Promise<void> updateNode(UpdateNodeContext context) override { return doUpdateNode(context); }
  kj::Promise<void> removeNode(RemoveNodeContext context) override { return doRemoveNode(context); }
  kj::Promise<void> addAdmin(AddAdminContext context) override { return doAddAdmin(context); }
  kj::Promise<void> admins(AdminsContext context) override {
    auto& all = state().all(Kind::ADMIN);
    auto list = context.getResults().initAdmins(all.size());
    uint32_t i = 0;
    for (auto& entry : all) copyInto<schema::Admin>(state(), entry.second, list, i++);
    return kj::READY_NOW;
  }
  kj::Promise<void> removeAdmin(RemoveAdminContext context) override {
    return doRemoveAdmin(context);
  }
  kj::Promise<void> updateCluster(UpdateClusterContext c) override {
    return changeCluster(parts, c);
  }
  kj::Promise<void> unlockKey(UnlockKeyContext c) override { return answerUnlockKey(parts, c); }
  kj::Promise<void> authority(AuthorityContext c) override { return answerAuthority(parts, c); }
  kj::Promise<void> rotateAuthority(RotateAuthorityContext c) override { return rotate(parts, c); }
  kj::Promise<void> migrate(MigrateContext context) override { return doMigrate(context); }
  kj::Promise<void> volumes(VolumesContext context) override { return parts.volumes.list(context); }
  kj::Promise<void> removeVolume(RemoveVolumeContext context) override {
    return parts.volumes.remove(context);
  }
  kj::Promise<void> pruneVolumes(PruneVolumesContext context) override {
    return parts.volumes.prune(context);
  }

 private:
  const State& state() { return parts.manager.state(); }
  View now() { return View(state(), parts.env.nowNs(), Seed{}); }
  template <typename Results>
  void fillService(const std::string& id, Results results) {
    auto object = state().find(Kind::SERVICE, id);
    if (object == nullptr) fail(kj::str("service '", id.c_str(), "' has been removed since"));
    results.setService(object->as<schema::Service>());
    results.getService().disownSealedLogin();  // zeroed
    complete(state(), *object, results.getService());
  }
  // The service that was changed, and what there is to say of it.
  template <typename Results>
  void fillAnswer(const Answer& answer, Results results) {
    fillService(answer.id, results);
    auto list = results.initWarnings(answer.warnings.size());
    for (uint32_t i = 0; i < list.size(); ++i) list.set(i, answer.warnings[i].c_str());
  }

  // Has `decide` run as one change, which counts once however often the request comes.
  template <typename Context, typename F>
  Task<kj::Own<Outcome>> submit(Context context, F decide) {
    auto outcome = kj::refcounted<Outcome>();
    auto requestId = kj::str(context.getParams().getRequestId());
    Decide job = [context, decide = kj::mv(decide), outcome = kj::addRef(*outcome)](
                     View& view) mutable { decide(view, context.getParams(), *outcome); };
    co_await parts.manager.submit(kj::mv(job), requestId);
    co_return kj::mv(outcome);
  }

  // The strategies are only asked for if the spec names one.
  Task<Offer> offerFor(schema::ServiceSpec::Reader spec) {
    Offer offer;
    co_await parts.manager.scheduling().checkTerms(parts.manager.state(), spec);
    offer.maxObjectBytes = parts.manager.limits().maxBytes / 4;  // a service holds two specs
    if (spec.getTask().getPlacement().getStrategy().size() > 0) {
      auto names = co_await parts.manager.scheduling().strategies();
      for (auto& name : names) offer.strategies.push_back(name.cStr());
      offer.strategiesKnown = true;
    }
    co_return offer;
  }

  Task<void> doInit(InitContext context) {
    auto decide = [](View& view, auto params, Outcome& outcome) {
      outcome.answer = initCluster(view, params.getRequestId(), params.getName(), outcome.created);
      setAddressPools(view, params.getAddressPools(), params.getAddressPoolPrefix());
      if (params.getCertificateMs() == 0) return;
      capnp::MallocMessageBuilder message;
      auto change = message.initRoot<schema::ClusterChange>();
      change.setCertificateMs(params.getCertificateMs());
      manager::updateCluster(view, change);
    };
    // What is refused makes no cluster.
    auto trial = kj::refcounted<Outcome>();
    tryOut([&](View& view) { decide(view, context.getParams(), *trial); });
    kj::StringPtr wanted = context.getParams().getAddress();
    auto place = co_await checkInit(parts, context.getParams());
    auto outcome = co_await submit(context, decide);
    auto address =
        co_await parts.members.open(kj::str(wanted), kj::str(parts.self.c_str()), kj::mv(place));
    auto results = context.getResults();
    results.setCreated(outcome->created);
    auto& object = *state().find(Kind::CLUSTER, outcome->answer.id);
    results.setCluster(object.as<schema::Cluster>());
    complete(state(), object, results.getCluster());
    if (context.getParams().getAutolock()) {
      auto key = co_await lockManagers(parts, kj::str(context.getParams().getRequestId(), ".lock"));
      results.setUnlockKey(key.c_str());
    }
    if (address.size() == 0) co_return;
    results.setAddress(address);
    results.setToken(parts.members.token(schema::Role::WORKER));
  }

  Task<void> doJoinToken(JoinTokenContext context) {
    auto role = context.getParams().getRole();
    auto current = parts.members.token(role);
    if (context.getParams().getRotate()) {
      auto decide = [](View& view, auto params, Outcome&) { rotateSecret(view, params.getRole()); };
      co_await submit(context, decide);
    }
    context.getResults().setToken(parts.members.token(role));
    context.getResults().setAddress(parts.members.address());
  }

  Task<void> doCreateNetwork(CreateNetworkContext context) {
    auto decide = [](View& view, auto params, Outcome& outcome) {
      outcome.answer = manager::createNetwork(view, params.getRequestId(), params.getNetwork());
    };
    auto outcome = co_await submit(context, decide);
    auto object = state().find(Kind::NETWORK, outcome->answer.id);
    if (object == nullptr) fail(kj::str("the network was removed again meanwhile"));
    context.getResults().setNetwork(object->as<schema::Network>());
    complete(state(), *object, context.getResults().getNetwork());
  }

  Task<void> doRemoveNetwork(RemoveNetworkContext context) {
    auto typed = context.getParams().getId();
    if (isLocalNetwork(state(), typed)) {
      fail(kj::str("usage: the network '", typed, "' is the nodes' own, and cannot be removed"));
    }
    auto decide = [](View& view, auto params, Outcome& outcome) {
      outcome.answer = manager::removeNetwork(view, params.getRequestId(), params.getId());
    };
    auto outcome = co_await submit(context, decide);
    context.getResults().setNetworkId(outcome->answer.id.c_str());
  }

  Task<void> doPruneNetworks(PruneNetworksContext context) {
    auto decide = [](View& view, auto params, Outcome& outcome) {
      outcome.names = manager::pruneNetworks(view, params.getRequestId(), params.getIds());
    };
    auto outcome = co_await submit(context, decide);
    auto list = context.getResults().initRemoved(outcome->names.size());
    for (uint32_t i = 0; i < list.size(); ++i) list.set(i, outcome->names[i].c_str());
  }

  Task<void> doAddAdmin(AddAdminContext context) {
    co_await parts.members.followAuthority();
    auto params = context.getParams();
    checkName("admin", params.getName());
    auto certificate = co_await parts.members.certificateFor(
        kj::str(params.getRequest()), schema::Role::ADMIN, kj::str(params.getName()));
    auto decide = [certificate](View& view, auto params, Outcome& outcome) {
      outcome.answer =
          manager::addAdmin(view, params.getRequestId(), params.getName(), certificate);
    };
    auto outcome = co_await submit(context, decide);
    auto object = state().find(Kind::ADMIN, outcome->answer.id);
    if (object == nullptr) fail(kj::str("the admin was removed again meanwhile"));
    auto results = context.getResults();
    results.setAdmin(object->as<schema::Admin>());
    complete(state(), *object, results.getAdmin());
    fillAdded(parts.members, results);
  }

  Task<void> doRemoveAdmin(RemoveAdminContext context) {
    auto decide = [](View& view, auto params, Outcome& outcome) {
      outcome.answer = manager::removeAdmin(view, params.getRequestId(), params.getName());
    };
    auto outcome = co_await submit(context, decide);
    context.getResults().setAdminId(outcome->answer.id.c_str());
  }

  Task<void> doMigrate(MigrateContext context) {
    context.allowCancellation();
    auto moved = co_await parts.leadership.migrate(kj::str(context.getParams().getStore()));
    context.getResults().setObjects(moved.objects);
    context.getResults().setPausedMs(moved.paused / kj::MILLISECONDS);
    context.getResults().setName(moved.name.c_str());
  }

  Task<void> doUpdateNode(UpdateNodeContext context) {
    auto id = resolveNode(now(), context.getParams().getId(), parts.self.c_str());
    auto role = context.getParams().getChange().getRole();
    bool promotes = role.isSet() && role.getSet() == schema::Node::Role::MANAGER;
    if (promotes) co_await parts.leadership.preparePromotion(id);
    bool demotes = role.isSet() && role.getSet() == schema::Node::Role::WORKER;
    auto decide = [this, id, demotes](View& view, auto params, Outcome&) {
      manager::updateNode(view, id, params.getChange());
      if (!demotes) return;
      auto couldLead = [this](auto& other) { return parts.leadership.couldLead(other); };
      checkManagers(view, id, couldLead);
    };
    co_await submit(context, decide);
    auto object = state().find(Kind::NODE, id);
    if (object == nullptr) fail(kj::str("the node was removed meanwhile"));
    context.getResults().setNode(object->as<schema::Node>());
    complete(state(), *object, context.getResults().getNode());
  }

  Task<void> doRemoveNode(RemoveNodeContext context) {
    auto id = resolveNode(now(), context.getParams().getId(), parts.self.c_str());
    checkRemoval(state(), id, context.getParams().getId(), context.getParams().getForce());
    auto decide = [id](View& view, auto, Outcome&) { manager::removeNode(view, id); };
    co_await submit(context, decide);
    parts.sessions.forget(id);
    context.getResults().setNodeId(id.c_str());
  }

  // Decides; with `resolveImage` on a view that is thrown away at first, so that what would be
  // refused asks no registry, and then on a spec whose image is pinned.
  template <typename Context, typename F>
  Task<void> change(Context context, kj::StringPtr service, F decide) {
    auto params = context.getParams();
    auto offer = co_await offerFor(params.getSpec());
    kj::Maybe<PinnedSpec> pinned;
    if (params.getResolveImage()) {
      tryOut([&](View& view) { decide(view, params, params.getSpec(), offer); });
      auto pinning = pinFor(parts, service, params.getSpec(), params.getLogin());
      pinned = co_await kj::mv(pinning);
    }
    kj::Array<kj::byte> sealed;
    if (params.getLogin().getUser().size() > 0) {
      sealed = co_await parts.logins.seal(params.getLogin());
    }
    auto job = [decide, offer = kj::mv(offer), pinned = kj::mv(pinned), sealed = kj::mv(sealed)](
                   View& view, auto params, Outcome& outcome) mutable {
      KJ_IF_MAYBE (copy, pinned) {
        outcome.answer = decide(view, params, copy->spec(), offer);
        for (auto& warning : copy->warnings) outcome.answer.warnings.push_back(warning);
      } else {
        outcome.answer = decide(view, params, params.getSpec(), offer);
      }
      keepLogin(view, outcome.answer.id, sealed);
    };
    auto outcome = co_await submit(context, kj::mv(job));
    fillAnswer(outcome->answer, context.getResults());
  }

  template <typename F>
  void tryOut(F decide) {
    View view = now();
    decide(view);
  }

  Task<void> doCreate(CreateServiceContext context) {
    return change(context, "", [](View& view, auto params, auto spec, const Offer& offer) {
      return manager::createService(view, params.getRequestId(), spec, offer);
    });
  }

  Task<void> doUpdate(UpdateServiceContext context) {
    auto id = context.getParams().getId();
    return change(context, id, [](View& view, auto params, auto spec, const Offer& offer) {
      return manager::updateService(view, params.getRequestId(), params.getId(),
                                    params.getVersion(), spec, offer);
    });
  }

  Task<void> doScale(ScaleServiceContext context) {
    auto decide = [](View& view, auto params, Outcome& outcome) {
      outcome.answer =
          manager::scaleService(view, params.getRequestId(), params.getId(), params.getReplicas());
    };
    auto outcome = co_await submit(context, decide);
    fillAnswer(outcome->answer, context.getResults());
  }

  Task<void> doRemove(RemoveServiceContext context) {
    auto decide = [](View& view, auto params, Outcome& outcome) {
      outcome.answer = manager::removeService(view, params.getRequestId(), params.getId());
    };
    auto outcome = co_await submit(context, decide);
    auto results = context.getResults();
    results.setServiceId(outcome->answer.id.c_str());
    auto& warnings = outcome->answer.warnings;
    auto list = results.initWarnings(warnings.size());
    for (uint32_t i = 0; i < list.size(); ++i) list.set(i, warnings[i].c_str());
  }

  Task<void> doRollback(RollbackServiceContext context) {
    auto decide = [](View& view, auto params, Outcome& outcome) {
      outcome.answer =
          manager::rollbackService(view, params.getRequestId(), params.getId(), params.getTo());
    };
    auto outcome = co_await submit(context, decide);
    fillAnswer(outcome->answer, context.getResults());
  }

  Task<void> doWhy(WhyContext context) {
    auto id = kj::str(context.getParams().getId());
    auto answer = context.getResults().initAnswer();
    Manager::Look look = [&](View& view) {
      return explainPlacing(parts.manager.scheduling(), view, id, answer);
    };
    co_await parts.manager.explore(kj::mv(look));
  }

  Task<void> doProgress(ProgressContext context) {
    context.allowCancellation();
    auto id = resolveForProgress(now(), context.getParams().getId());
    auto after = context.getParams().getAfter();
    co_await parts.progress.changedSince(id, after, context.getParams().getTimeoutMs());
    auto results = context.getResults();
    results.setRevision(parts.progress.revisionOf(id));
    describeProgress(now(), id, parts.progress.leftoversOf(id), results.initProgress());
  }

  Task<void> doNodeProgress(NodeProgressContext context) {
    context.allowCancellation();
    auto params = context.getParams();
    auto id = resolveNode(now(), params.getId(), parts.self.c_str());
    co_await parts.progress.changedSince(id, params.getAfter(), params.getTimeoutMs());
    auto results = context.getResults();
    results.setRevision(parts.progress.revisionOf(id));
    describeNodeProgress(now(), resolveNode(now(), id.c_str(), parts.self.c_str()),
                         results.initProgress());
  }

  kj::Own<kj::Refcounted> owner;
  ClusterParts parts;
  Plans plans;
  Replays replays;
};

}  // namespace

schema::ClusterControl::Client newClusterServer(kj::Own<kj::Refcounted> owner, ClusterParts parts) {
  return kj::heap<ClusterServer>(kj::mv(owner), parts);
}

}  // namespace orch::control::manager
