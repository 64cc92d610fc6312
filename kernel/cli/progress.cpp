#include "progress.h"

#include <capnp/message.h>

#include "arguments.h"
#include "connection.h"
#include "human.h"
#include "orch/amounts.h"

namespace orch::cli {

namespace {

constexpr uint64_t POLL_MS = 30'000;  // the server answers at once if something is new
constexpr uint64_t SECOND_MS = 1000;
// Something of so many tasks is new all the time: they are looked at as often as one can read.
constexpr uint32_t MANY = 1'000;
constexpr kj::Duration BETWEEN_LOOKS = 100 * kj::MILLISECONDS;
// What the server's messages begin with.
constexpr kj::StringPtr PAUSED = "update paused: "_kj;
constexpr kj::StringPtr ROLLBACK_PAUSED = "rollback paused: "_kj;
constexpr kj::StringPtr BY_USER = "rollback in progress"_kj;
constexpr kj::StringPtr ROLLED_BACK = "rolled back, since the update failed: "_kj;

using ProgressResults = schema::ClusterControl::ProgressResults;
using State = schema::UpdateStatus::State;
using schema::Verdict;

kj::String verifyLine(uint64_t leftMs) {
  auto time = leftMs % SECOND_MS == 0 ? kj::str(leftMs / SECOND_MS, " s") : durationText(leftMs);
  return kj::str("verify: waiting ", time, " to see that the tasks stay up");
}

// Shows lines and replaces them by the next ones.
class Screen {
 public:
  Screen(Output& out, Goal goal) : out(out), goal(goal) {}

  // `there`: whether it has converged. `verifyMs`: how long it has to stay so from now.
  void show(schema::ServiceProgress::Reader progress, bool there, uint64_t verifyMs) {
    if (out.terminal()) {
      redraw(progress, verifyMs);
    } else {
      append(progress, there, verifyMs);
    }
    out.flush();
  }

 private:
  void redraw(schema::ServiceProgress::Reader progress, uint64_t verifyMs) {
    if (drawn > 0) out.write(kj::str("\x1b[", drawn, "A"));
    auto lines = progressLines(progress, goal, out.columns());
    if (verifyMs > 0) {
      lines.add(verifyLine((verifyMs + SECOND_MS - 1) / SECOND_MS * SECOND_MS));
    }
    for (auto& line : lines) out.line("\x1b[2K", line);
    for (size_t i = lines.size(); i < drawn; ++i) out.line("\x1b[2K");
    drawn = kj::max(drawn, lines.size());
  }

  void append(schema::ServiceProgress::Reader progress, bool there, uint64_t verifyMs) {
    // Each line once: tasks that crash again and again would fill the log with the same ones.
    auto tell = [&](kj::String key, auto&&... more) {
      for (auto& text : told) {
        if (text == key) return;
      }
      out.line(key, more...);
      told.add(kj::mv(key));
    };
    tell(overallLine(progress, goal));
    for (auto& reason : reasonsOf(progress)) {
      tell(kj::str("problem: ", reason.text),
           reason.tasks > 1 ? kj::str(" (on ", reason.tasks, " tasks)") : kj::String());
    }
    if (verifyMs > 0 && !verifying) tell(verifyLine(totalMs = kj::max(totalMs, verifyMs)));
    if (!there && verifying) tell(kj::str("verify: not all stayed up, beginning anew"));
    verifying = verifyMs > 0;
  }

  Output& out;
  Goal goal;
  size_t drawn = 0;
  kj::Vector<kj::String> told;
  bool verifying = false;
  uint64_t totalMs = 0;
};

bool pausedBefore(schema::ServiceProgress::Reader progress, const Wait& wait) {
  auto update = progress.getUpdate();
  return wait.pausedBeforeNs != 0 && update.getState() == State::PAUSED &&
         update.getStartedAtNs() == wait.pausedBeforeNs;
}

bool isRollback(State state) {
  return state == State::ROLLBACK_STARTED || state == State::ROLLBACK_PAUSED ||
         state == State::ROLLBACK_COMPLETED;
}

bool reached(schema::ServiceProgress::Reader progress, const Wait& wait) {
  if (wait.goal == Goal::gone) return progress.getVerdict() == Verdict::GONE;
  return progress.getVerdict() == Verdict::CONVERGED ||
         (pausedBefore(progress, wait) && progress.getAllRun());
}

// Whether nothing more can be learnt by looking on.
bool settled(schema::ServiceProgress::Reader progress, const Wait& wait) {
  if (wait.goal == Goal::gone || wait.verifyMs == 0 || progress.getEnded()) return true;
  auto update = progress.getUpdate();
  bool over =
      update.getState() == State::COMPLETED || update.getState() == State::ROLLBACK_COMPLETED;
  return wait.updateNs != 0 && over && update.getStartedAtNs() == wait.updateNs;
}

kj::String reasonText(kj::StringPtr text) {
  for (auto beginning : {PAUSED, ROLLBACK_PAUSED, ROLLED_BACK}) {
    if (text.startsWith(beginning)) text = text.slice(beginning.size());
  }
  return text.size() > 0 ? kj::str(": ", withoutIds(text)) : kj::String();
}

// How to take an update back, if the service has been another before.
Task<kj::String> wayBack(Context& context, const Wait& wait) {
  auto cluster = co_await context.connection.cluster();
  auto request = cluster.serviceRequest();
  request.setId(wait.id);
  auto answer = co_await attempt(request.send());
  if (!answer.ok() || !answer.value().getService().hasPreviousSpec()) co_return kj::String();
  co_return kj::str("; the way back: 'orch service rollback ", wait.name, "'");
}

kj::String whatServes(schema::ServiceProgress::Reader progress) {
  uint32_t running = progress.getServing();
  if (running <= progress.getRunning()) return kj::String();
  return kj::str("; the old spec still serves, in ", running - progress.getRunning(), " of ",
                 progress.getDesired(), " tasks");
}

// Why the service will not get to its goal and what to do, or empty.
Task<kj::String> obstacle(Context& context, schema::ServiceProgress::Reader progress,
                          const Wait& wait) {
  if (wait.goal == Goal::gone) co_return kj::String();
  auto verdict = progress.getVerdict();
  bool removed = verdict == Verdict::STOPPING || verdict == Verdict::GONE;
  if (removed) co_return kj::str("service '", wait.name, "' was removed meanwhile");
  auto look = kj::str("; see 'orch service ps ", wait.name, "'");
  auto update = progress.getUpdate();
  kj::StringPtr message = update.getMessage();
  kj::StringPtr problem = progress.getProblem();
  bool replaced = wait.updateNs != 0 && update.getStartedAtNs() > wait.updateNs;
  bool byItself = replaced && isRollback(update.getState()) && message != BY_USER;
  if (byItself && update.getState() == State::ROLLBACK_STARTED) co_return kj::String();
  if (byItself && update.getState() == State::ROLLBACK_COMPLETED) {
    co_return kj::str("the update of service '", wait.name, "' failed and was rolled back",
                      reasonText(message), "; the old spec serves", look);
  }
  if (update.getState() == State::ROLLBACK_PAUSED) {
    co_return kj::str("the rollback of service '", wait.name, "' is paused",
                      reasonText(message.size() > 0 ? message : problem), whatServes(progress),
                      look);
  }
  if (replaced) {
    co_return kj::str("another update of service '", wait.name, "' took the place of this one",
                      look);
  }
  if (update.getState() == State::PAUSED && !pausedBefore(progress, wait)) {
    auto back = co_await wayBack(context, wait);
    co_return kj::str("the update of service '", wait.name, "' is paused",
                      reasonText(message.size() > 0 ? message : problem), whatServes(progress),
                      look, back);
  }
  // It may be stuck for another reason than a pause that was there before.
  bool stuck = verdict == Verdict::STUCK || (verdict == Verdict::PAUSED && problem != message);
  if (!stuck) co_return kj::String();
  auto stays = kj::str("; it stays and goes on trying: see 'orch service ps ", wait.name,
                       "', end it with 'orch service rm ", wait.name, "'");
  if (progress.getJob() && !progress.getTrying()) {
    co_return kj::str("job '", wait.name, "' failed", reasonText(problem), look);
  }
  co_return kj::str("service '", wait.name, "' cannot converge",
                    reasonText(problem.size() > 0 ? problem : message),
                    progress.getTrying() ? kj::StringPtr(stays) : kj::StringPtr(look));
}

kj::String whatGoesOn(const Wait& wait, kj::StringPtr problem) {
  if (wait.goal == Goal::gone) {
    return kj::str("service '", wait.name, "' is removed; its containers go on stopping");
  }
  auto last = problem.size() > 0 ? kj::str("; so far: ", withoutIds(problem)) : kj::String();
  return kj::str("service '", wait.name, "' goes on without being watched", last,
                 "; see 'orch service ps ", wait.name, "'");
}

uint64_t millisecondsOf(kj::Duration time) {
  return (time + 999 * kj::MICROSECONDS) / kj::MILLISECONDS;
}

}  // namespace

Task<int> waitFor(Context& context, Wait wait) {
  Output& out = context.out;
  context.waitsFor = whatGoesOn(wait, "");
  Screen screen(out, wait.goal);
  auto& timer = context.env.timer();
  kj::Maybe<kj::TimePoint> stableUntil;
  uint64_t after = 0;
  uint64_t timeoutMs = POLL_MS;
  bool job = false;
  for (;;) {
    auto response = co_await context.connection.change<ProgressResults>(
        [&](schema::ClusterControl::Client& cluster) {
          auto request = cluster.progressRequest();
          request.setId(wait.id);
          request.setAfter(after);
          request.setTimeoutMs(static_cast<uint32_t>(timeoutMs));
          return request.send();
        },
        "the change was made: look with 'orch service ls'");
    after = response.getRevision();
    auto progress = response.getProgress();
    job = progress.getJob() && wait.goal == Goal::converged;
    context.waitsFor = whatGoesOn(wait, progress.getProblem());
    auto why = co_await obstacle(context, progress, wait);
    uint64_t leftMs = 0;
    bool there = reached(progress, wait) && why.size() == 0;
    if (there && !settled(progress, wait)) {
      // A change for the worse begins it anew.
      auto until = stableUntil.orDefault(timer.now() + wait.verifyMs * kj::MILLISECONDS);
      stableUntil = until;
      leftMs = until > timer.now() ? millisecondsOf(until - timer.now()) : 0;
    }
    if (!there) stableUntil = nullptr;
    if (!wait.quiet) screen.show(progress, there, leftMs);
    if (why.size() > 0) {
      out.error(why);
      co_return 1;
    }
    if (there && leftMs == 0) {
      for (auto port : progress.getUnanswered()) out.error(kj::str("warning: ", port));
      break;
    }
    if (progress.getDesired() > MANY) co_await timer.afterDelay(BETWEEN_LOOKS);
    timeoutMs = leftMs == 0 ? POLL_MS : kj::min(leftMs, out.terminal() ? SECOND_MS : POLL_MS);
  }
  if (!wait.quiet) {
    if (job) {
      out.line("job complete");
    } else {
      out.line("verify: service ", wait.name,
               wait.goal == Goal::converged ? " converged" : " is gone");
    }
    out.flush();
  }
  context.waitsFor = kj::String();
  co_return 0;
}

}  // namespace orch::cli
