#include "progress.h"

#include "arguments.h"
#include "connection.h"
#include "display.h"
#include "output.h"

namespace orch::cli {

namespace {

constexpr unsigned MAX_TASK_LINES = 20;  // as docker
constexpr unsigned BAR_WIDTH = 50;
constexpr uint32_t POLL_MS = 30'000;  // the server answers at once if something is new

using Results = schema::ClusterControl::ProgressResults;
using State = schema::UpdateStatus::State;

kj::String bar(schema::TaskState state) {
  unsigned steps = static_cast<unsigned>(schema::TaskState::RUNNING);
  unsigned done = kj::min(static_cast<unsigned>(state), steps) * BAR_WIDTH / steps;
  auto text = kj::heapString(BAR_WIDTH);
  for (unsigned i = 0; i < BAR_WIDTH; ++i) text[i] = i < done ? '=' : ' ';
  if (done > 0) text[done - 1] = '>';
  return text;
}

// Shows lines and replaces them by the next ones.
class Screen {
 public:
  explicit Screen(Output& out) : out(out) {}

  void show(schema::ServiceProgress::Reader progress, Goal goal) {
    if (out.terminal()) {
      if (drawn > 0) out.write(kj::str("\x1b[", drawn, "A"));
      auto lines = progressLines(progress, goal, out.columns());
      for (auto& line : lines) out.line("\x1b[2K", line);
      for (size_t i = lines.size(); i < drawn; ++i) out.line("\x1b[2K");
      drawn = kj::max(drawn, lines.size());
    } else {
      auto overall = overallLine(progress, goal);
      if (overall != lastOverall) out.line(overall);
      if (progress.getProblem() != lastProblem && progress.getProblem().size() > 0) {
        out.line("problem: ", progress.getProblem());
      }
      lastOverall = kj::mv(overall);
      lastProblem = kj::str(progress.getProblem());
    }
    out.flush();
  }

 private:
  Output& out;
  size_t drawn = 0;
  kj::String lastOverall;
  kj::String lastProblem;
};

// Why the service will not get to its goal, or empty.
kj::String obstacle(schema::ServiceProgress::Reader progress, kj::StringPtr name, Goal goal) {
  if (goal == Goal::gone) return kj::String();
  if (progress.getRemoved()) return kj::str("service '", name, "' was removed meanwhile");
  auto update = progress.getUpdate();
  kj::StringPtr why = update.getMessage().size() > 0 ? update.getMessage() : progress.getProblem();
  auto because = why.size() > 0 ? kj::str(": ", why) : kj::String();
  switch (update.getState()) {
    case State::PAUSED:
      return kj::str("the update of service '", name, "' is paused", because);
    case State::ROLLBACK_PAUSED:
      return kj::str("the rollback of service '", name, "' is paused", because);
    case State::ROLLBACK_COMPLETED:
      return kj::str("the update of service '", name, "' was rolled back", because);
    default:
      break;
  }
  if (!progress.getStuck()) return kj::String();
  kj::StringPtr problem = progress.getProblem().size() > 0 ? progress.getProblem() : why;
  return kj::str("service '", name, "' cannot converge",
                 problem.size() > 0 ? kj::str(": ", problem) : kj::String());
}

bool reached(schema::ServiceProgress::Reader progress, Goal goal) {
  if (goal == Goal::gone) return progress.getRemoved() && progress.getRemaining() == 0;
  return progress.getConverged();
}

}  // namespace

kj::String overallLine(schema::ServiceProgress::Reader progress, Goal goal) {
  if (goal == Goal::gone) {
    return kj::str("overall progress: ", progress.getRemaining(),
                   progress.getRemaining() == 1 ? " container" : " containers", " still to stop");
  }
  bool updating = progress.getUpdate().getState() == State::UPDATING;
  return kj::str("overall progress: ", updating ? progress.getUpdated() : progress.getRunning(),
                 " out of ", progress.getDesired(),
                 progress.getDesired() == 1 ? " task" : " tasks");
}

kj::Vector<kj::String> progressLines(schema::ServiceProgress::Reader progress, Goal goal,
                                     unsigned columns) {
  kj::Vector<kj::String> lines;
  lines.add(overallLine(progress, goal));
  auto tasks = progress.getTasks();
  bool each = goal == Goal::converged && tasks.size() <= MAX_TASK_LINES;
  if (each) {
    for (auto task : tasks) {
      auto who = kj::str(task.getSlot(), "/", progress.getDesired(), ": ");
      if (task.getError().size() > 0) {
        lines.add(kj::str(who, task.getError()));
        continue;
      }
      auto state = nameOf(task.getState());
      auto gap = kj::heapString(state.size() < 9 ? 9 - state.size() : 0);
      for (char& c : gap) c = ' ';
      lines.add(kj::str(who, state, gap, " [", bar(task.getState()), "]"));
    }
  }
  if (progress.getProblem().size() > 0 && (!each || tasks.size() == 0)) {
    lines.add(kj::str(progress.getProblem()));
  }
  for (auto& line : lines) {
    for (char& c : line) {
      if (static_cast<unsigned char>(c) < ' ') c = ' ';
    }
    line = ellipsis(line, kj::max(columns, 20u) - 1);
  }
  return lines;
}

Task<int> waitFor(Context& context, kj::String id, kj::String name, Goal goal, bool quiet) {
  Output& out = context.out;
  context.waitsFor =
      goal == Goal::converged
          ? kj::str("service '", name, "' goes on without being watched; see 'orch service ps ",
                    name, "'")
          : kj::str("service '", name, "' is removed; its containers go on stopping");
  Screen screen(out);
  uint64_t after = 0;
  for (;;) {
    auto response = co_await context.connection.change<Results>(
        [&](schema::ClusterControl::Client& cluster) {
          auto request = cluster.progressRequest();
          request.setId(id);
          request.setAfter(after);
          request.setTimeoutMs(POLL_MS);
          return request.send();
        },
        "the change was made: look with 'orch service ls'");
    after = response.getRevision();
    auto progress = response.getProgress();
    if (!quiet) screen.show(progress, goal);
    if (reached(progress, goal)) break;
    auto why = obstacle(progress, name, goal);
    if (why.size() > 0) {
      out.error(kj::str(why, "; see 'orch service ps ", name, "'"));
      co_return 1;
    }
  }
  if (!quiet) {
    out.line("verify: service ", name, goal == Goal::converged ? " converged" : " is gone");
    out.flush();
  }
  context.waitsFor = kj::String();
  co_return 0;
}

}  // namespace orch::cli
