#include "manager.h"

#include <kj/debug.h>

#include <algorithm>

#include "decide/reconcile.h"
#include "decide/slot-rules.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::control::manager {

namespace {
constexpr size_t MAX_QUEUED = 20'000;
constexpr int64_t SLICE_NS = 5 * NS_PER_MS;  // of work in one pass before the loop turns
// DESIGN: a leader that cannot reach its store for so long says nothing more to agents.
constexpr kj::Duration STORE_SILENCE = 2 * kj::SECONDS;
constexpr int64_t FIRST_PAUSE_NS = 100 * NS_PER_MS;
constexpr int64_t LAST_PAUSE_NS = 10'000 * NS_PER_MS;

std::set<std::string> servicesIn(const std::map<Key, Change>& changes, const State& state) {
  std::set<std::string> result;
  for (auto& [key, change] : changes) {
    if (key.kind == Kind::SERVICE) result.insert(key.id);
    if (key.kind != Kind::TASK) continue;
    auto task = change.isDelete() ? state.find(Kind::TASK, key.id)->as<schema::Task>()
                                  : change.as<schema::Task>();
    result.insert(text(task.getServiceId()));
  }
  return result;
}
}  // namespace

Manager::Manager(Env& env, Host& host, Config::Reader settings)
    : env(env),
      host(host),
      settings(settings),
      store(nullptr),
      placer(env, host, settings.getScheduler(),
             // If it is refused, or not saved, the tasks still wait and are placed again.
             [this](Decide decide) { submit(kj::mv(decide)).detach([](kj::Exception&&) {}); }),
      committer(env, settings.getStoreTimeoutMs() * kj::MILLISECONDS),
      timer(kj::READY_NOW),
      loop(kj::READY_NOW) {}

Manager::~Manager() noexcept(false) {}

Task<void> Manager::start() {
  store = host.service<schema::Store>(settings.getStore());
  committer.connect(store);
  co_await load();
  loop = run().promise().eagerlyEvaluate([this](kj::Exception&& e) {
    host.log().error("manager.loop-ended", {{"reason", plainText(e)}});
  });
}

Task<void> Manager::stop() {
  stopping = true;
  leading = false;
  notLeading = kj::str("the manager is being stopped");
  refuseAll(queue, notLeading);
  poke();
  timer = kj::READY_NOW;
  co_await loop;
  loop = kj::READY_NOW;
}

kj::Promise<void> Manager::submit(Decide decide, kj::StringPtr requestId) {
  if (!leading) return KJ_EXCEPTION(DISCONNECTED, notLeading);
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

void Manager::retryUnplaced() {
  retryAll = true;
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
  if (!queue.empty()) return true;
  int64_t nowNs = env.nowNs();
  if (nowNs < pausedUntilNs) return false;
  if (!dirty.empty() || !waiting.empty() || retryAll) return true;
  if (nodesAgainNs <= nowNs || requestsAgainNs <= nowNs) return true;
  for (auto& wake : wakes) {
    if (wake.second <= nowNs) return true;
  }
  return false;
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
    auto done = co_await attempt(pass());
    if (!done.ok()) {
      host.log().error("manager.pass-failed", {{"reason", plainText(done.error())}});
      pauseNs = std::clamp(pauseNs * 2, FIRST_PAUSE_NS, LAST_PAUSE_NS);
      pausedUntilNs = env.nowNs() + pauseNs;
    }
  }
}

Task<void> Manager::pass() {
  int64_t nowNs = env.nowNs();
  Seed seed = {env.random(), env.random(), env.random(), env.random()};
  View view(current, nowNs, seed);
  auto jobs = decideJobs(view);
  if (nowNs >= pausedUntilNs) {
    takeDueWakes(nowNs);
    for (auto& id : view.takeTouched()) dirty.insert(id);
    reconcile(view);
    co_await placeTasks(view);
  } else {
    for (auto& id : view.takeTouched()) dirty.insert(id);
  }
  keepWakes(view);
  co_await commitAll(view, jobs);
}

Manager::Jobs Manager::decideJobs(View& view) {
  Jobs jobs = std::exchange(queue, {});
  Jobs accepted;
  for (auto& job : jobs) {
    auto decided = attemptNow([&] { job.decide(view); });
    if (decided.ok()) {
      accepted.push_back(kj::mv(job));
    } else {
      job.done->reject(kj::mv(decided.error()));
    }
  }
  return accepted;
}

void Manager::takeDueWakes(int64_t nowNs) {
  for (auto it = wakes.begin(); it != wakes.end();) {
    if (it->second <= nowNs) {
      dirty.insert(it->first);
      it = wakes.erase(it);
    } else {
      ++it;
    }
  }
}

void Manager::keepWakes(const View& view) {
  for (auto& wake : view.wakeUps()) {
    auto it = wakes.try_emplace(wake.first, wake.second).first;
    it->second = std::min(it->second, wake.second);
  }
}

void Manager::reconcile(View& view) {
  if (nodesAgainNs <= view.now()) {
    nodesAgainNs = reconcileNodes(view, settings.getOrphanAfterMs() * NS_PER_MS);
    for (auto& id : view.takeTouched()) dirty.insert(id);
  }
  requestsAgainNs = forgetRequests(view, settings.getRequestMemoryMs() * NS_PER_MS,
                                   settings.getRequestMemoryCount());
  int64_t untilNs = env.nowNs() + SLICE_NS;
  std::set<std::string> unfinished;
  while (!dirty.empty() && env.nowNs() <= untilNs) {
    auto id = *dirty.begin();
    dirty.erase(dirty.begin());
    wakes.erase(id);
    if (reconcileService(view, id)) unfinished.insert(id);
    if (view.unplaced(id) > 0) waiting.insert(id);
  }
  dirty.insert(unfinished.begin(), unfinished.end());
  view.takeTouched();  // by the reconcilers themselves
}

Task<void> Manager::placeTasks(View& view) {
  if (std::exchange(retryAll, false)) {
    for (auto& entry : current.usage().allServices()) {
      if (entry.second.unplaced > 0) waiting.insert(entry.first);
    }
  }
  auto ids = std::exchange(waiting, {});
  for (auto& id : ids) {
    if (view.unplaced(id) <= 0) continue;
    co_await placer.place(view, id);
  }
}

Task<void> Manager::commitAll(View& view, Jobs& jobs) {
  std::set<std::string> touched = servicesIn(view.changes(), current);
  auto batches = cutBatches(view.takeChanges(), current, storeLimits);
  if (batches.empty() && view.mustConfirm()) batches.emplace_back();
  for (auto& batch : batches) {
    auto outcome = co_await commitOrFallSilent(batch);
    if (outcome.kind != CommitOutcome::Kind::COMMITTED) {
      // What was decided has not happened: decide again.
      dirty.insert(touched.begin(), touched.end());
      retryAll = true;
      co_await commitFailed(kj::mv(outcome), jobs);
      co_return;
    }
    apply(kj::mv(batch), outcome.revision, jobs);
  }
  pauseNs = 0;
  for (auto& job : jobs) job.done->fulfill();
}

Task<CommitOutcome> Manager::commitOrFallSilent(const Batch& batch) {
  auto patience = env.timer().afterDelay(STORE_SILENCE).then([this] {
    host.log().warn("manager.store-silent, waiting for it; agents open new sessions afterwards");
    silence();
  });
  patience = patience.eagerlyEvaluate(nullptr);
  co_return co_await committer.commit(batch, current, currentEpoch);
}

void Manager::silence() {
  for (auto observer : observers) observer->silenced();
}

void Manager::apply(Batch batch, uint64_t revision, Jobs& jobs) {
  std::set<std::string> requests;
  for (auto& [key, change] : batch) {
    for (auto observer : observers) observer->changing(key, current.find(key.kind, key.id), change);
    if (key.kind == Kind::REQUEST) requests.insert(key.id);
    if (key.kind == Kind::TASK) {
      // Room may have become free.
      auto before = current.find(Kind::TASK, key.id);
      bool held = before != nullptr && before->as<schema::Task>().getNodeId().size() > 0 &&
                  !isTerminal(before->as<schema::Task>());
      if (held && (change.isDelete() || isTerminal(change.as<schema::Task>()))) retryAll = true;
    }
    if (key.kind == Kind::NODE) {
      retryAll = true;
      nodesAgainNs = 0;
    }
    current.apply(key, kj::mv(change), revision);
  }
  std::erase_if(jobs, [&](Job& job) {
    if (job.requestId.size() == 0 || requests.count(job.requestId.cStr()) == 0) return false;
    job.done->fulfill();
    return true;
  });
  for (auto observer : observers) observer->applied();
}

Task<void> Manager::commitFailed(CommitOutcome outcome, Jobs& jobs) {
  using Kind = CommitOutcome::Kind;
  host.log().error("manager.commit-failed", {{"reason", outcome.reason}});
  if (outcome.kind == Kind::FAILED) {
    pauseNs = std::clamp(pauseNs * 2, FIRST_PAUSE_NS, LAST_PAUSE_NS);
    pausedUntilNs = env.nowNs() + pauseNs;
    auto why = kj::str("cannot save the change: ", outcome.reason);
    refuseAll(jobs, why);
    co_return;
  }
  leading = false;
  if (outcome.kind == Kind::DEPOSED) {
    notLeading = kj::str("this manager no longer leads the cluster: ", outcome.reason);
    refuseAll(jobs, notLeading);
    refuseAll(queue, notLeading);
    silence();
    co_return;
  }
  notLeading =
      kj::str("the state of the cluster is being loaded again (", outcome.reason, "); try again");
  refuseAll(jobs, notLeading);
  refuseAll(queue, notLeading);
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

void Manager::armTimer() {
  int64_t atNs = std::min(nodesAgainNs, requestsAgainNs);
  for (auto& wake : wakes) atNs = std::min(atNs, wake.second);
  bool work = !dirty.empty() || !waiting.empty() || retryAll;
  if (work) atNs = 0;
  atNs = std::max(atNs, pausedUntilNs);
  if (atNs == timerAtNs) return;
  timerAtNs = atNs;
  timer = kj::READY_NOW;
  if (atNs == INT64_MAX || !leading) return;
  timer = wakeLater(atNs).promise().eagerlyEvaluate(nullptr);
}

Task<void> Manager::wakeLater(int64_t atNs) {
  int64_t delayNs = std::max<int64_t>(0, atNs - env.nowNs());
  co_await env.timer().afterDelay(delayNs * kj::NANOSECONDS);
  timerAtNs = INT64_MAX;
  poke();
}

}  // namespace orch::control::manager
