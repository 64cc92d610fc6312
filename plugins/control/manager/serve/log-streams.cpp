#include "serve/log-streams.h"

#include <kj/debug.h>

#include "decide/slot-rules.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "serve/log-merge.h"
#include "serve/resolve.h"

namespace orch::control::manager {

namespace {
using schema::TaskState;
constexpr size_t MAX_FOLLOWERS = 1000;

kj::String logName(const TaskReader& task) {
  return kj::str(task.getServiceName(), ".", nameOf(task.slot()).c_str(), ".",
                 task.getMeta().getId());
}

bool mayHaveLogs(const TaskReader& task) {
  auto state = task.getStatus().getState();
  return task.getNodeId().size() > 0 && state >= TaskState::STARTING &&
         state != TaskState::REJECTED && state != TaskState::ORPHANED;
}
}  // namespace

// One caller's request.
class LogStreams::Subscription final : private kj::TaskSet::ErrorHandler {
 public:
  Subscription(Env& env, Sessions& sessions, schema::LogOptions::Reader options,
               schema::LogSink::Client sink)
      : sessions(sessions),
        follow(options.getFollow()),
        tail(options.getTail()),
        sinceNs(options.getSinceNs()),
        merge(kj::refcounted<LogMerge>(env, kj::mv(sink), follow)),
        tasks(*this) {}
  ~Subscription() noexcept(false) { merge->close(); }

  std::string serviceId;  // of all its tasks, or
  std::string taskId;     // of this one
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> serviceGone;

  void add(const TaskReader& task, bool late) {
    if (!mayHaveLogs(task)) return;
    if (!started.insert(task.id()).second) return;
    tasks.add(read(logName(task), task, late));
  }
  void addAll(const State& state, bool late) {
    if (!taskId.empty()) {
      if (auto object = state.find(Kind::TASK, taskId)) add(TaskReader(*object), late);
      return;
    }
    auto slots = state.slots(serviceId);
    if (slots == nullptr) return;
    for (auto& slot : slots->all()) {
      for (auto object : slot.second.tasks) add(TaskReader(*object), late);
    }
  }
  // All lines have been passed on, of whatever ends; fails if their reader does.
  kj::Promise<void> onEnd() {
    return tasks.onEmpty().then([this]() {
      merge->finish();
      return kj::Promise<void>(kj::NEVER_DONE);
    });
  }
  kj::Promise<void> passOn() { return merge->run(); }
  bool follows() const { return follow; }
  void check() {
    if (missing.empty()) return;
    fail(kj::str("logs are missing of ", missing.size(),
                 missing.size() == 1 ? " task: " : " tasks: ", missing[0].c_str()));
  }

 private:
  Task<void> read(kj::String name, TaskReader task, bool late) {
    auto agent = sessions.agentOf(manager::view(task.getNodeId()));
    bool ended = isTerminal(task);
    KJ_IF_MAYBE (present, agent) {
      auto log = merge->begin(late);
      KJ_DEFER(merge->end(log));
      auto request = present->logsRequest();
      request.setTaskId(task.getMeta().getId());
      auto options = request.initOptions();
      options.setFollow(follow);
      options.setTail(late ? -1 : tail);  // of a task that starts later everything is new
      options.setSinceNs(sinceNs);
      request.setSink(merge->sinkOf(log));
      auto sent = attempt(request.send().ignoreResult());
      auto done = co_await kj::mv(sent);
      // One that ended without ever having had a container has no logs, which is no fault.
      bool none = !done.ok() && plainText(done.error()).startsWith("no such container");
      if (!done.ok() && !(ended && none)) {
        missing.push_back(kj::str(name, ": ", plainText(done.error())).cStr());
      }
    } else {
      missing.push_back(kj::str(name, ": its node has no session with the manager").cStr());
    }
  }
  void taskFailed(kj::Exception&& exception) override {
    missing.push_back(plainText(exception).cStr());
  }

  Sessions& sessions;
  const bool follow;
  const int64_t tail;
  const int64_t sinceNs;
  kj::Own<LogMerge> merge;
  std::set<std::string> started;
  std::vector<std::string> missing;
  kj::TaskSet tasks;
};

LogStreams::LogStreams(Env& env, Manager& manager, Sessions& sessions)
    : env(env), manager(manager), sessions(sessions) {
  manager.observe(*this);
}
LogStreams::~LogStreams() noexcept(false) {}

kj::Promise<void> LogStreams::stream(kj::StringPtr typed, schema::LogOptions::Reader options,
                                     schema::LogSink::Client sink) {
  View view(manager.state(), env.nowNs(), Seed{});
  auto subscription = kj::heap<Subscription>(env, sessions, options, kj::mv(sink));
  // A service's name may hold dots, so it is looked for first.
  auto asService = attemptNow([&] { return resolveService(view, typed); });
  if (asService.ok()) {
    subscription->serviceId = asService.value();
  } else {
    auto asTask = attemptNow([&] { return resolveTask(view, typed); });
    if (!asTask.ok()) fail(kj::str(asService.message()));
    subscription->taskId = asTask.value();
  }
  if (subscription->follows() && followers.size() >= MAX_FOLLOWERS) {
    fail(
        kj::str("the manager follows logs for ", MAX_FOLLOWERS, " callers already; end one first"));
  }
  return run(kj::mv(subscription));
}

Task<void> LogStreams::run(kj::Own<Subscription> subscription) {
  subscription->addAll(manager.state(), false);
  auto self = subscription.get();
  kj::Promise<void> over = kj::READY_NOW;
  if (subscription->follows() && subscription->taskId.empty()) {
    auto pair = kj::newPromiseAndFulfiller<void>();
    subscription->serviceGone = kj::mv(pair.fulfiller);
    over = kj::mv(pair.promise);
    followers.insert(self);
  }
  KJ_DEFER(followers.erase(self));
  auto ended = over.then([self]() { return self->onEnd(); });
  co_await subscription->passOn().exclusiveJoin(kj::mv(ended));
  subscription->check();
}

void LogStreams::changing(const Key& key, const Snapshot&, const Snapshot& after) {
  if (followers.empty()) return;
  if (key.kind == Kind::SERVICE && !after) touched.insert(key.id);
  if (key.kind == Kind::TASK && after) touched.insert(text(TaskReader(after).getServiceId()));
}

void LogStreams::applied() {
  for (auto& id : std::exchange(touched, {})) {
    for (auto follower : followers) {
      if (follower->serviceId != id) continue;
      follower->addAll(manager.state(), true);
      if (manager.state().find(Kind::SERVICE, id) == nullptr) {
        KJ_IF_MAYBE (fulfiller, follower->serviceGone) (*fulfiller)->fulfill();
      }
    }
  }
}

}  // namespace orch::control::manager
