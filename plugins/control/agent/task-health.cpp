// The health of a task's container: its check is run again and again, and what it says is noted.
#include <algorithm>

#include "orch/fail.h"
#include "task-controller.h"

namespace orch::control::agent {

using schema::Health;
using schema::TaskState;

namespace {

// Of a check's output: what docker keeps is four times as much, and in no replicated store.
constexpr uint32_t OUTPUT_BYTES = 1000;
constexpr size_t LINE_BYTES = 200;
// So many checks do not come together: each pause is up to a tenth shorter.
constexpr uint64_t JITTER = 10;

// For a text: without bytes that are none.
kj::String textOf(capnp::Data::Reader output) {
  auto text = kj::heapString(output.asChars());
  for (auto& c : text) {
    bool plain = (c >= ' ' && c < 127) || c == '\n' || c == '\t';
    if (!plain) c = '?';
  }
  size_t end = text.size();
  while (end > 0 && (text[end - 1] == '\n' || text[end - 1] == ' ')) --end;
  return kj::heapString(text.begin(), end);
}

kj::String lastLine(kj::StringPtr text) {
  size_t begin = text.findLast('\n').map([](size_t at) { return at + 1; }).orDefault(0);
  return kj::heapString(text.begin() + begin, std::min(text.size() - begin, LINE_BYTES));
}

}  // namespace

bool TaskController::isChecked() {
  return task->task().asReader().getSpec().getContainer().getHealth().getTest().size() > 1;
}

// It stays with the record: a later agent has no image to ask.
void TaskController::settleHealth(kj::Maybe<schema::ImageInfo::Reader> image) {
  auto container = task->task().getSpec().getContainer();
  schema::HealthCheck::Reader ofImage;
  KJ_IF_MAYBE (present, image) ofImage = present->getConfig().getHealth();
  capnp::MallocMessageBuilder message;
  auto settled = message.initRoot<schema::HealthCheck>();
  settleHealthCheck(container.asReader().getHealth(), ofImage, settled);
  if (settled.getTest().size() > 0) container.setHealth(settled);
}

void TaskController::beginHealth(int64_t startedAtNs) {
  if (health != nullptr || !isChecked()) return;
  auto known = task->state() >= TaskState::RUNNING ? Health::HEALTHY : Health::STARTING;
  // The agent before ended while it was stopping it.
  if (containerStatus().getHealth() == Health::UNHEALTHY) known = Health::UNHEALTHY;
  auto& env = services.env;
  auto ranNs = startedAtNs == 0 ? 0 : std::max<int64_t>(env.nowNs() - startedAtNs, 0);
  startedAt = env.timer().now() - ranNs * kj::NANOSECONDS;
  health.emplace(task->task().asReader().getSpec().getContainer().getHealth(), known);
  containerStatus().setHealth(known);
  if (known != Health::STARTING) return;
  task->status().setMessage("started, not healthy yet");
  observer.statusChanged(*task);
}

bool TaskController::isHealthy() {
  KJ_IF_MAYBE (state, health) return state->health() == Health::HEALTHY;
  return true;
}

uint64_t TaskController::sinceStartMs() {
  return (services.env.timer().now() - startedAt) / kj::MILLISECONDS;
}

// Those of tasks that one agent takes over have all begun at once.
kj::Duration TaskController::pauseBeforeCheck() {
  auto& state = KJ_ASSERT_NONNULL(health);
  uint64_t pauseMs = state.pauseMs(sinceStartMs());
  bool adopted = !looked && state.health() == Health::HEALTHY;
  uint64_t rangeMs = adopted ? pauseMs : pauseMs / JITTER;
  return (pauseMs - (rangeMs > 0 ? services.env.random() % rangeMs : 0)) * kj::MILLISECONDS;
}

// Until its health is another, as `ending` says.
Task<void> TaskController::keepChecking() {
  auto& state = KJ_ASSERT_NONNULL(health);
  if (state.health() == Health::UNHEALTHY) {
    ending = Ending::UNHEALTHY;
    co_return;
  }
  for (;;) {
    co_await services.env.timer().afterDelay(pauseBeforeCheck());
    auto beganMs = sinceStartMs();
    auto checked = co_await attempt(runCheck());
    looked = true;
    if (!checked.ok() && isPassing(checked.error())) continue;  // it says nothing of the container
    auto trouble = checked.ok() ? troubleOf(checked.value()) : kj::str(checked.message());
    auto change = trouble.size() == 0 ? state.passed() : state.failed(beganMs);
    auto output = checked.ok() ? textOf(checked.value().getOutput()) : kj::str();
    noteCheck(trouble, output, change);
    if (change == HealthState::Change::NONE) continue;
    bool healthy = change == HealthState::Change::HEALTHY;
    ending = healthy ? Ending::HEALTHY : Ending::UNHEALTHY;
    co_return;
  }
}

kj::Promise<TaskController::Checked> TaskController::runCheck() {
  auto check = task->task().asReader().getSpec().getContainer().getHealth();
  auto test = check.getTest();
  capnp::MessageSize size{SMALL.wordCount + test.totalSize().wordCount, 0};
  auto request = runtime().runRequest(size);
  request.setId(task->id());
  request.setTimeoutMs(check.getTimeoutMs());
  request.setMaxOutputBytes(OUTPUT_BYTES);
  bool shell = test[0] == "CMD-SHELL";
  auto command = request.initCommand(shell ? 3 : test.size() - 1);
  if (shell) {
    command.set(0, "/bin/sh");
    command.set(1, "-c");
    command.set(2, test[1]);
  } else {
    for (uint32_t i = 0; i < command.size(); ++i) command.set(i, test[i + 1]);
  }
  return request.send();
}

// Empty: it succeeded.
kj::String TaskController::troubleOf(schema::Runtime::RunResults::Reader checked) {
  auto limitMs = task->task().asReader().getSpec().getContainer().getHealth().getTimeoutMs();
  if (checked.getTimedOut()) return kj::str("not done within ", limitMs, " ms");
  if (checked.getExitCode() == 0) return kj::str();
  auto line = lastLine(textOf(checked.getOutput()));
  return kj::str("exit ", checked.getExitCode(), line.size() > 0 ? ": " : "", line);
}

// A row of failures is told of when it begins, and when it has become too long.
void TaskController::noteCheck(kj::StringPtr trouble, kj::StringPtr output,
                               HealthState::Change change) {
  bool failed = trouble.size() > 0;
  bool changed = change != HealthState::Change::NONE;
  bool begins = failed && !failing;
  bool ends = !failed && failing;
  failing = failed;
  if (!changed && !begins && !ends) return;
  if (begins) {
    services.host.log().warn("task.check-failed", {{"task", task->name()}, {"reason", trouble}});
  }
  auto text = failed ? kj::str("health check: ", trouble) : kj::str();
  task->status().setError(text);
  auto container = containerStatus();
  container.setHealth(KJ_ASSERT_NONNULL(health).health());
  if (failed) container.setHealthOutput(output.size() > 0 ? output : trouble);
  task->compact();
  store.saveSoon(*task);
  observer.statusChanged(*task);
}

kj::String TaskController::whyUnhealthy() {
  auto why = task->status().asReader().getError();
  return kj::str("task: unhealthy container", why.size() > 0 ? ": " : "", why);
}

// Nobody is led to it any more; nobody waits for it to end what it is at.
Task<void> TaskController::endUnhealthy() {
  auto reason = whyUnhealthy();
  services.host.log().error("task.unhealthy", {{"task", task->name()}, {"reason", reason}});
  co_await retire();
  co_await leadPortsElsewhere();
  co_await endContainer();
  co_await finish(TaskState::FAILED, "unhealthy", kj::mv(reason));
}

}  // namespace orch::control::agent
