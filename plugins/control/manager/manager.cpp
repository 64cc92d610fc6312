#include "manager.h"

#include <kj/debug.h>

#include <algorithm>

#include "decide/address-allocator.h"
#include "decide/dependencies.h"
#include "decide/reconcile.h"
#include "decide/slot-rules.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "schedule/assigning.h"
#include "state/events.h"

namespace orch::control::manager {

namespace {
constexpr size_t MAX_QUEUED = 20'000;
// Of work in one pass before the loop turns: by the clock, and by nodes that were looked at or
// objects that requests and reports have changed.
constexpr int64_t SLICE_NS = 5 * NS_PER_MS;
constexpr uint64_t SLICE_LOOKS = 2'500;
constexpr size_t SLICE_CHANGES = 128;
constexpr size_t SLICE_JOBS = 32;
// What is committed at once is applied at once.
constexpr size_t BATCH_OPS = 128;
// DESIGN: a leader that cannot reach its store for so long says nothing more to agents.
constexpr kj::Duration STORE_SILENCE = 2 * kj::SECONDS;
constexpr int64_t FIRST_PAUSE_NS = 100 * NS_PER_MS;
constexpr int64_t LONGEST_SLEEP_NS = 30'000 * NS_PER_MS;
constexpr int64_t LAST_PAUSE_NS = 10'000 * NS_PER_MS;

}  // namespace

Manager::Manager(Env& env, Host& host, Config::Reader settings)
    : env(env),
      host(host),
      settings(settings),
      placer(env, host, settings.getScheduler(),
             // If it is refused, or not saved, the tasks still wait and are placed again.
             [this](Decide decide) { submit(kj::mv(decide)).detach([](kj::Exception&&) {}); }),
      timer(kj::READY_NOW),
      loop(kj::READY_NOW) {}

Manager::~Manager() noexcept(false) {}

void Manager::useStore(kj::StringPtr name) {
  store = kj::heap<StoreClient>(env, host.service<schema::Store>(name),
                                settings.getStoreTimeoutMs() * kj::MILLISECONDS);
}

Task<void> Manager::start(kj::StringPtr name, Check whether, kj::Maybe<EndCopy> endCopy) {
  check = kj::mv(whether);
  useStore(name);
  co_await load(kj::mv(endCopy));
  loop = run().promise().eagerlyEvaluate([this](kj::Exception&& e) {
    host.log().error("manager.loop-ended", {{"reason", plainText(e)}});
  });
}

Task<void> Manager::stop() {
  stopping = true;
  leading = false;
  notLeading = kj::str("the manager is being stopped");
  refuseAll(notLeading);
  poke();
  timer = kj::READY_NOW;
  co_await loop;
  loop = kj::READY_NOW;
}

void Manager::abandon(kj::StringPtr why) {
  leading = false;
  notLeading = kj::str(why);
  timer = kj::READY_NOW;
  if (deciding != nullptr) {
    auto unknown = kj::str("it is not known whether it was done: ", why);
    refuseAll(*deciding, committing ? unknown.asPtr() : why);
  }
  loop = kj::READY_NOW;
  sleeper = nullptr;
  timerAtNs = INT64_MAX;
  refuseAll(notLeading);
  silence();
}

kj::Exception Manager::whyNot() const {
  return kj::Exception(kj::Exception::Type::DISCONNECTED, __FILE__, __LINE__, kj::str(notLeading));
}

kj::Promise<void> Manager::submit(Decide decide, kj::StringPtr requestId) {
  if (!leading) return whyNot();
  if (queue.size() >= MAX_QUEUED) {
    return kj::Exception(
        kj::Exception::Type::OVERLOADED, __FILE__, __LINE__,
        kj::str("the manager has ", MAX_QUEUED, " requests waiting; try again later"));
  }
  auto pair = kj::newPromiseAndFulfiller<void>();
  queue.push_back(Job{kj::mv(decide), kj::mv(pair.fulfiller), kj::str(requestId)});
  poke();
  return kj::mv(pair.promise);
}

kj::Promise<void> Manager::explore(Look look) {
  if (!leading) return whyNot();
  auto pair = kj::newPromiseAndFulfiller<void>();
  explorations.push_back(Exploration{kj::mv(look), kj::mv(pair.fulfiller)});
  poke();
  return kj::mv(pair.promise);
}

Task<void> Manager::exploreOne() {
  auto next = kj::mv(explorations.front());
  explorations.erase(explorations.begin());
  KJ_DEFER(if (next.done->isWaiting()) next.done->reject(whyNot()));
  View view(current, env.nowNs(), Seed{1, 2, 3, 4});
  auto done = co_await attempt(next.look(view));
  if (done.ok()) {
    next.done->fulfill();
  } else {
    next.done->reject(kj::mv(done.error()));
  }
}

void Manager::noteNode(const std::string& nodeId, Presence presence, std::string reason) {
  auto nowNs = env.nowNs();
  if (!leading || !current.setPresence(nodeId, {presence, nowNs, reason})) return;
  for (auto observer : observers) observer->sighted(nodeId);
  dirty.add({Concern::NODE, nodeId}, nowNs);
  if (presence == Presence::HEARD) {
    dirty.add({Concern::PLACEMENT, {}}, nowNs);
    dirty.add({Concern::REBALANCE, {}}, nowNs);
  }
  auto object = current.find(Kind::NODE, nodeId);
  // That it is down is told when it is stored.
  bool up = object != nullptr && !isDown(object->as<schema::Node>());
  if (up && presence != Presence::MISSED) {
    auto node = object->as<schema::Node>();
    tellNodeState(host, node, current.stateOf(node), reason.c_str());
  }
  poke();
}

void Manager::poke() {
  KJ_IF_MAYBE (fulfiller, sleeper) {
    (*fulfiller)->fulfill();
    sleeper = nullptr;
  }
}

bool Manager::hasWork() {
  if (stopping || !leading) return false;
  if (!queue.empty() || !explorations.empty() || moving != nullptr) return true;
  int64_t nowNs = env.nowNs();
  return nowNs >= pausedUntilNs && dirty.nextNs() <= nowNs;
}

Task<void> Manager::run() {
  while (!stopping) {
    if (!hasWork()) {
      armTimer();
      auto pair = kj::newPromiseAndFulfiller<void>();
      sleeper = kj::mv(pair.fulfiller);
      co_await pair.promise;
      // What else arrived in the same turn of the loop joins this pass.
      co_await kj::evalLater([] {});
      continue;
    }
    if (!explorations.empty()) co_await exploreOne();
    if (moving != nullptr) co_await moveNow();
    auto done = co_await attempt(pass());
    if (!done.ok()) {
      host.log().error("manager.pass-failed", {{"reason", plainText(done.error())}});
      lookAgain();
      pauseNs = std::clamp(pauseNs * 2, FIRST_PAUSE_NS, LAST_PAUSE_NS);
      pausedUntilNs = env.nowNs() + pauseNs;
    } else if (!done.value() && dirty.nextNs() <= env.nowNs()) {
      co_await others();  // nothing was waited for
    }
  }
}

// Lets others have their turn. Nobody else changes the state meanwhile.
kj::Promise<void> Manager::others() { return env.timer().afterDelay(0 * kj::NANOSECONDS); }

// Whether it waited for a commit.
Task<bool> Manager::pass() {
  Seed seed = {env.random(), env.random(), env.random(), env.random()};
  View view(current, env.nowNs(), seed);
  inHand.clear();
  placed.clear();
  auto jobs = decideJobs(view);
  deciding = &jobs;
  committing = false;
  KJ_DEFER(deciding = nullptr);
  markTouched(view);
  if (view.now() >= pausedUntilNs) co_await reconcileDirty(view);
  for (auto& wake : view.wakeUps()) dirty.add({Concern::SERVICE, wake.first}, wake.second);
  noteReleases(view);
  bool commits = !view.changes().empty() || view.mustConfirm();
  co_await commitAll(view, jobs);
  for (auto observer : observers) observer->passed(view.now(), placed);
  co_return commits;
}

// A slice of what has arrived, in order. The rest is for the next pass: while a commit takes a
// second on a busy disk, a thousand nodes may report.
Manager::Jobs Manager::decideJobs(View& view) {
  int64_t untilNs = env.nowNs() + SLICE_NS;
  Jobs accepted;
  size_t taken = 0;
  while (taken < std::min(queue.size(), SLICE_JOBS) && env.nowNs() <= untilNs &&
         view.changes().size() < SLICE_CHANGES) {
    auto job = kj::mv(queue[taken++]);
    auto decided = attemptNow([&] { job.decide(view); });
    if (decided.ok()) {
      accepted.push_back(kj::mv(job));
    } else {
      job.done->reject(kj::mv(decided.error()));
    }
  }
  queue.erase(queue.begin(), queue.begin() + static_cast<ptrdiff_t>(taken));
  return accepted;
}

void Manager::markTouched(View& view) {
  for (auto& id : view.takeTouched()) dirty.add({Concern::SERVICE, id}, view.now());
}

// A slice of what is dirty. What a service's reconcilers made is placed at once, so that a new task
// is written together with its node.
Task<void> Manager::reconcileDirty(View& view) {
  int64_t untilNs = env.nowNs() + SLICE_NS;
  std::vector<std::pair<DirtyKey, int64_t>> again;  // in the next pass
  DirtyKey key;
  while (env.nowNs() <= untilNs && view.looked() < SLICE_LOOKS && dirty.take(view.now(), key)) {
    if (key.concern == Concern::PLACEMENT && key.id.empty()) {
      for (auto& entry : current.usage().allServices()) {
        if (entry.second.unplaced > 0) dirty.add({Concern::PLACEMENT, entry.first}, view.now());
      }
      continue;
    }
    inHand.push_back(key);
    if (key.concern != Concern::PLACEMENT) {
      auto againNs = co_await workOff(view, key);
      again.emplace_back(key, againNs);
      if (key.concern == Concern::SERVICE) view.takeTouched();  // by the reconcilers themselves
      markTouched(view);
    }
    if (view.unplaced(key.id) > 0) {
      co_await others();
      placed.push_back(key.id);
      bool more = co_await placer.place(view, key.id);
      if (more) again.emplace_back(DirtyKey{Concern::PLACEMENT, key.id}, view.now());
      co_await others();
    }
    view.takeTouched();
  }
  for (auto& entry : again) dirty.add(kj::mv(entry.first), entry.second);
}

// When to look again. What filters had not said yet, and was asked for, is done once more.
Task<int64_t> Manager::workOff(View& view, DirtyKey key) {
  if (key.concern == Concern::SERVICE) co_await placer.judgeFor(view, key.id);
  for (;;) {
    Reconciliation work(view, settings, key);
    int64_t turnUntilNs = env.nowNs() + SLICE_NS;
    while (work.step()) {
      if (env.nowNs() <= turnUntilNs) continue;
      co_await others();
      turnUntilNs = env.nowNs() + SLICE_NS;
    }
    if (!current.verdicts().open()) co_return work.againNs();
    auto serviceId = key.concern == Concern::SERVICE ? key.id : std::string();
    bool answered = co_await placer.filters().answer(current, serviceId);
    if (!answered) co_return std::min(work.againNs(), view.now() + ASK_AGAIN_NS);
  }
}

Task<void> Manager::commitAll(View& view, Jobs& jobs) {
  StoreLimits limits = storeLimits;
  limits.maxOps = std::min(limits.maxOps, BATCH_OPS);
  auto batches = cutBatches(view.takeChanges(), current, limits);
  if (batches.empty() && view.mustConfirm()) batches.emplace_back();
  committing = !batches.empty();
  for (size_t i = 0; i < batches.size(); ++i) {
    auto outcome = co_await commitOrFallSilent(batches[i]);
    if (outcome.kind != CommitOutcome::Kind::COMMITTED) {
      lookAgain();
      co_await commitFailed(kj::mv(outcome), jobs);
      co_return;
    }
    apply(kj::mv(batches[i]), outcome.revision, jobs);
  }
  pauseNs = 0;
  if (!batches.empty()) unsaved = nullptr;
  for (auto& job : jobs) job.done->fulfill();
}

Task<CommitOutcome> Manager::commitOrFallSilent(const Batch& batch) {
  auto patience = env.timer().afterDelay(STORE_SILENCE).then([this] {
    host.log().warn("manager.store-silent, waiting for it; agents open new sessions afterwards");
    silence();
  });
  patience = patience.eagerlyEvaluate(nullptr);
  auto ops = storeOps(batch, current);
  co_return co_await store->commit(kj::arrayPtr(ops.data(), ops.size()), currentEpoch);
}

void Manager::silence() {
  for (auto observer : observers) observer->silenced();
}

void Manager::apply(Batch batch, uint64_t revision, Jobs& jobs) {
  std::set<std::string> requests;
  std::set<std::string> changed;  // services that others depend on
  bool freed = false;
  bool nodes = false;
  bool placed = false;   // some task has a node now
  bool balance = false;  // there may be another one to even out
  auto leftDrained = [&](const TaskReader& task) {
    auto node = current.find(Kind::NODE, manager::view(task.getNodeId()));
    return node != nullptr &&
           node->as<schema::Node>().getAvailability() == schema::Node::Availability::DRAIN;
  };
  current.tick(env.nowNs());
  for (auto& [key, change] : batch) {
    auto before = current.snapshot(key);
    Snapshot after = change.over(before);
    auto publish = traitsOf(key.kind).publish;
    if (publish != nullptr) publish(host, before, after);
    for (auto observer : observers) observer->changing(key, before, after);
    if (key.kind == Kind::REQUEST) requests.insert(key.id);
    bool now = key.kind == Kind::TASK && after && isAssigned(TaskReader(after));
    placed |= now && !(before && isAssigned(TaskReader(before)));
    if (key.kind == Kind::TASK && before) {
      // Room may have become free.
      TaskReader old(before);
      bool held = isAssigned(old) && !isTerminal(old);
      bool ended = held && (!after || isTerminal(TaskReader(after)));
      freed |= ended;
      nodes |= ended && leftDrained(old);
    }
    nodes |= key.kind == Kind::NODE;
    balance |= key.kind == Kind::NODE || key.kind == Kind::CLUSTER;
    noteForDependents(key, after ? after : before, changed);
    current.apply(key, kj::mv(change), revision);
  }
  wakeDependents(changed);
  if (balance) dirty.add({Concern::REBALANCE, {}}, env.nowNs());
  freed |= nodes;
  if (nodes) {
    for (auto& entry : current.services().global) {
      dirty.add({Concern::SERVICE, entry.first}, env.nowNs());
    }
  }
  if (freed) dirty.add({Concern::PLACEMENT, {}}, env.nowNs());
  if (placed) {
    for (auto& id : placer.takeLonely()) dirty.add({Concern::PLACEMENT, id}, env.nowNs());
  }
  if (!requests.empty()) {
    bool many = current.requestsByAge().size() > settings.getRequestMemoryCount();
    int64_t memoryNs = settings.getRequestMemoryMs() * NS_PER_MS;
    dirty.add({Concern::REQUESTS, {}}, env.nowNs() + (many ? 0 : memoryNs));
  }
  std::erase_if(jobs, [&](Job& job) {
    if (job.requestId.size() == 0 || requests.count(job.requestId.cStr()) == 0) return false;
    job.done->fulfill();
    return true;
  });
  for (auto observer : observers) observer->applied();
}

void Manager::noteForDependents(const Key& key, const Snapshot& object,
                                std::set<std::string>& changed) {
  auto& dependents = current.services().dependents;
  if (dependents.empty()) return;
  std::string name;
  if (key.kind == Kind::SERVICE) name = text(object.as<schema::Service>().getSpec().getName());
  if (key.kind == Kind::TASK) name = text(TaskReader(object).getServiceName());
  if (dependents.count(name) > 0) changed.insert(name);
}

void Manager::wakeDependents(const std::set<std::string>& changed) {
  if (changed.empty()) return;
  View view(current, env.nowNs(), Seed{});
  for (auto& name : changed) {
    for (auto& id : waitingFor(view, name)) dirty.add({Concern::SERVICE, id}, env.nowNs());
  }
}

// What was decided has not happened.
void Manager::lookAgain() {
  for (auto& key : inHand) dirty.add(key, env.nowNs());
  dirty.add({Concern::PLACEMENT, {}}, env.nowNs());
}

Task<void> Manager::commitFailed(CommitOutcome outcome, Jobs& jobs) {
  using Kind = CommitOutcome::Kind;
  host.log().error("manager.commit-failed", {{"reason", outcome.reason}});
  if (outcome.kind == Kind::FAILED) {
    pauseNs = std::clamp(pauseNs * 2, FIRST_PAUSE_NS, LAST_PAUSE_NS);
    pausedUntilNs = env.nowNs() + pauseNs;
    auto why = kj::str("cannot save the change: ", outcome.reason);
    unsaved = kj::str(outcome.reason);
    refuseAll(jobs, why);
    co_return;
  }
  leading = false;
  if (outcome.kind == Kind::DEPOSED) {
    notLeading = kj::str("this manager no longer leads the cluster: ", outcome.reason);
    refuseAll(jobs, notLeading);
    refuseAll(notLeading);
    silence();
    for (auto observer : observers) observer->deposed();
    co_return;
  }
  notLeading =
      kj::str("the state of the cluster is being loaded again (", outcome.reason, "); try again");
  refuseAll(jobs, notLeading);
  refuseAll(notLeading);
  co_await reloadUntilItWorks();
}

Task<void> Manager::reloadUntilItWorks() {
  int64_t pause = FIRST_PAUSE_NS;
  while (!stopping) {
    auto loaded = co_await attempt(load());
    if (loaded.ok()) co_return;
    host.log().error("manager.load-failed", {{"reason", plainText(loaded.error())}});
    notLeading = kj::str("the state of the cluster cannot be loaded: ", plainText(loaded.error()));
    co_await env.timer().afterDelay(pause * kj::NANOSECONDS);
    pause = std::min(pause * 2, LAST_PAUSE_NS);
  }
}

void Manager::refuseAll(Jobs& jobs, kj::StringPtr why) {
  for (auto& job : jobs) {
    job.done->reject(kj::Exception(kj::Exception::Type::FAILED, __FILE__, __LINE__, kj::str(why)));
  }
  jobs.clear();
}

void Manager::refuseAll(kj::StringPtr why) {
  refuseAll(queue, why);
  for (auto& one : explorations) {
    one.done->reject(kj::Exception(kj::Exception::Type::FAILED, __FILE__, __LINE__, kj::str(why)));
  }
  explorations.clear();
  KJ_IF_MAYBE (one, moving) {
    one->done->reject(kj::Exception(kj::Exception::Type::FAILED, __FILE__, __LINE__, kj::str(why)));
  }
  moving = nullptr;
}

void Manager::armTimer() {
  int64_t atNs = std::max(dirty.nextNs(), pausedUntilNs);
  if (atNs == timerAtNs) return;
  timerAtNs = atNs;
  timer = kj::READY_NOW;
  if (atNs == INT64_MAX || !leading) return;
  timer = wakeLater(atNs).promise().eagerlyEvaluate(nullptr);
}

Task<void> Manager::wakeLater(int64_t atNs) {
  // A clock may be put forward meanwhile, which a timer does not see.
  int64_t delayNs = std::clamp<int64_t>(atNs - env.nowNs(), 0, LONGEST_SLEEP_NS);
  co_await env.timer().afterDelay(delayNs * kj::NANOSECONDS);
  timerAtNs = INT64_MAX;
  poke();
}

}  // namespace orch::control::manager
