#include "managed/member-process.h"

#include <signal.h>
#include <sys/wait.h>

#include <utility>

#include "etcd/client.h"
#include "orch/attempt.h"

namespace orch::store::etcd {

namespace {

constexpr auto FIRST_RESTART = 100 * kj::MILLISECONDS;
constexpr auto LAST_RESTART = 10 * kj::SECONDS;
// One that has run for so long is started again at once when it ends.
constexpr auto LASTED = 10 * kj::SECONDS;
constexpr auto STOP_LIMIT = 10 * kj::SECONDS;

}  // namespace

MemberProcess::MemberProcess(Env& env, Log& log, Command command, Owner owner)
    : env(env), log(log), command(kj::mv(command)), owner(kj::mv(owner)) {
  running = run().promise().eagerlyEvaluate([this](kj::Exception&& exception) {
    this->log.error("store.member-given-up", {{"reason", plainText(exception)}});
  });
}

MemberProcess::~MemberProcess() noexcept(false) {
  if (process.get() != nullptr) process->signal(SIGKILL);
}

Task<void> MemberProcess::run() {
  for (auto pause = FIRST_RESTART;;) {
    auto began = env.timer().now();
    auto ended = co_await attempt(runOnce());
    if (stopping) co_return;
    // One that was removed from its etcd ends by itself, and in peace.
    if (ended.ok() && wasRemoved && ended.value() == 0) {
      owner.removed();
      co_return;
    }
    if (env.timer().now() - began > LASTED) pause = FIRST_RESTART;
    if (!ended.ok()) {
      reason = std::string(ended.message().cStr()) + "; install the package etcd-server";
    } else {
      auto status = ended.value();
      reason = WIFSIGNALED(status) ? "signal " + std::to_string(WTERMSIG(status))
                                   : "status " + std::to_string(WEXITSTATUS(status));
      reason = "it has ended with " + reason + (last.empty() ? "" : ": " + last);
    }
    log.warn("store.member-ended, starting it again", {{"reason", reason.c_str()}});
    owner.failed(reason);
    co_await env.timer().afterDelay(pause);
    pause = kj::min(pause * 2, LAST_RESTART);
  }
}

Task<int> MemberProcess::runOnce() {
  auto output = env.newChildPipe();
  auto spec = command();
  spec.fds.add(ProcessSpec::Fd{1, output.writeEnd.get()});
  spec.fds.add(ProcessSpec::Fd{2, output.writeEnd.get()});
  spec.dieWithParent = true;
  wasRemoved = false;
  last.clear();
  process = co_await env.processes().spawn(kj::mv(spec));
  output.writeEnd = nullptr;
  reason.clear();
  auto reading = attempt(read(kj::mv(output.stream))).promise().eagerlyEvaluate(nullptr);
  auto status = co_await process->onExit();
  process = nullptr;
  co_await reading;
  co_return status;
}

// Fails at the end of it.
Task<void> MemberProcess::read(kj::Own<kj::AsyncInputStream> output) {
  orch::etcd::LineReader reader(kj::mv(output));
  for (;;) {
    auto line = co_await reader.next();
    take(line);
  }
}

void MemberProcess::take(const std::string& line) {
  auto said = orch::etcd::readLogLine(line);
  if (said.level == "info" || said.level == "debug") return;
  if (said.text.find("permanently removed") != std::string::npos) wasRemoved = true;
  last = said.text;
  // etcd warns of each connection that comes and goes.
  if (said.level == "warn") {
    log.debug("store.member-says", {{"text", said.text.c_str()}});
    return;
  }
  auto untold = lines.admit(said.text, env.timer().now());
  if (!untold) return;
  log.warn("store.member-says", {{"text", said.text.c_str()}, {"moreLikeIt", kj::str(*untold)}});
}

kj::Promise<void> MemberProcess::stop() {
  if (!std::exchange(stopping, true)) ending = end().promise().fork();
  return ending.addBranch();
}

Task<void> MemberProcess::end() {
  if (process.get() == nullptr) {
    running = kj::READY_NOW;
    co_return;
  }
  process->signal(SIGTERM);
  auto late = env.timer().afterDelay(STOP_LIMIT);
  auto killing = late.then([this] {
                       if (process.get() != nullptr) process->signal(SIGKILL);
                     })
                     .eagerlyEvaluate(nullptr);
  auto gone = kj::mv(running);
  running = kj::READY_NOW;
  co_await gone;
}

}  // namespace orch::store::etcd
