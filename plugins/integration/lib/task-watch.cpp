#include "lib/task-watch.h"

#include <utility>

#include "orch/attempt.h"

namespace orch::integration {

namespace {
constexpr kj::Duration FIRST_WATCH_PAUSE = 1 * kj::SECONDS;
constexpr kj::Duration LAST_WATCH_PAUSE = 10 * kj::SECONDS;
}  // namespace

void TaskView::take(schema::TaskSink::UpdateParams::Reader update) {
  if (update.getComplete()) tasks.clear();
  for (auto entry : update.getTasks()) {
    auto message = std::make_unique<capnp::MallocMessageBuilder>(entry.totalSize().wordCount + 1);
    message->setRoot(entry);
    tasks[entry.getTask().getMeta().getId().cStr()] = Known{++taken, std::move(message)};
  }
  for (auto id : update.getGone()) tasks.erase(id.cStr());
}

class TaskWatch::Sink final : public schema::TaskSink::Server {
 public:
  explicit Sink(kj::Own<TaskWatch> watch) : watch(kj::mv(watch)) {}
  kj::Promise<void> update(UpdateContext context) override {
    watch->note("");
    watch->view.take(context.getParams());
    context.releaseParams();
    KJ_IF_MAYBE (user, watch->user) {
      context.getResults().setNoticedMs(user->noticedMs());
      return user->tasksChanged(watch->view);
    }
    return kj::READY_NOW;
  }

 private:
  kj::Own<TaskWatch> watch;
};

TaskWatch::TaskWatch(Env& env, Host& host, TaskUser& user, std::string service)
    : env(env), host(host), user(user), service(std::move(service)) {}

void TaskWatch::start() {
  following = follow().promise().eagerlyEvaluate(
      [this](kj::Exception&& e) { note(kj::str(e.getDescription())); });
}

void TaskWatch::end() {
  user = nullptr;
  following = nullptr;
}

// Each once, until it answers again.
void TaskWatch::note(kj::StringPtr text) {
  if (user == nullptr || trouble == text) return;
  if (text.size() > 0) {
    KJ_ASSERT_NONNULL(user).tasksUnknown(text);
    host.log().warn("integration.no-tasks, what was known stays",
                    {{"service", service.c_str()}, {"reason", text}});
  }
  trouble = kj::str(text);
}

Task<void> TaskWatch::follow() {
  for (auto pause = FIRST_WATCH_PAUSE;; pause = kj::min(pause * 2, LAST_WATCH_PAUSE)) {
    auto offered = host.service<schema::TaskFeed>(service.c_str());
    auto request = offered.watchRequest();
    request.setSink(kj::heap<Sink>(kj::addRef(*this)));
    auto begun = env.timer().now();
    auto ended = co_await attempt(request.send());
    note(ended.ok() ? "it has ended the watch"_kj : ended.message());
    if (env.timer().now() - begun > LAST_WATCH_PAUSE) pause = FIRST_WATCH_PAUSE;
    co_await env.timer().afterDelay(pause);
  }
}

}  // namespace orch::integration
