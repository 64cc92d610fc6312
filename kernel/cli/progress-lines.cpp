#include <cctype>

#include "display.h"
#include "human.h"
#include "progress.h"

namespace orch::cli {

namespace {

constexpr unsigned MAX_TASK_LINES = 20;  // as docker
constexpr unsigned BAR_WIDTH = 50;
constexpr size_t ID_LENGTH = 25;

using State = schema::UpdateStatus::State;

kj::String bar(schema::TaskState state) {
  unsigned steps = static_cast<unsigned>(schema::TaskState::RUNNING);
  unsigned done = kj::min(static_cast<unsigned>(state), steps) * BAR_WIDTH / steps;
  auto text = kj::heapString(BAR_WIDTH);
  for (unsigned i = 0; i < BAR_WIDTH; ++i) text[i] = i < done ? '=' : ' ';
  if (done > 0) text[done - 1] = '>';
  return text;
}

bool inWord(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; }

bool inTaskName(char c) { return inWord(c) || c == '.' || c == '-' || c == '_'; }

// 25 letters and digits, with some of both.
bool isId(kj::ArrayPtr<const char> word) {
  bool digits = false;
  bool letters = false;
  for (char c : word) {
    digits |= c >= '0' && c <= '9';
    letters |= c >= 'a' && c <= 'z';
    if (c >= 'A' && c <= 'Z') return false;
  }
  return word.size() == ID_LENGTH && digits && letters;
}

unsigned tasksDone(schema::ServiceProgress::Reader progress) {
  switch (progress.getUpdate().getState()) {
    case State::UPDATING:
    case State::ROLLBACK_STARTED:
      return progress.getUpdated();
    case State::PAUSED:
    case State::ROLLBACK_PAUSED:
      // What runs is of both specs, and stays so.
      return kj::max(progress.getServing(), progress.getUpdated());
    default:
      // Tasks that have completed are done, though they do not run.
      return kj::max(progress.getRunning(), progress.getUpdated());
  }
}

}  // namespace

kj::String overallLine(schema::ServiceProgress::Reader progress, Goal goal) {
  if (goal == Goal::gone) {
    unsigned stopping = progress.getTasks().size();
    unsigned ended = progress.getRemaining() > stopping ? progress.getRemaining() - stopping : 0;
    return kj::str("overall progress: ", stopping, stopping == 1 ? " container" : " containers",
                   " still to stop",
                   ended > 0 ? kj::str(", ", ended, " to clean up") : kj::String());
  }
  if (progress.getJob()) {
    return kj::str("job progress: ", progress.getCompleted(), " out of ", progress.getDesired(),
                   " complete");
  }
  return kj::str("overall progress: ", tasksDone(progress), " out of ", progress.getDesired(),
                 progress.getDesired() == 1 ? " task" : " tasks");
}

kj::Vector<kj::String> progressLines(schema::ServiceProgress::Reader progress, Goal goal,
                                     unsigned columns) {
  kj::Vector<kj::String> lines;
  lines.add(overallLine(progress, goal));
  auto tasks = progress.getTasks();
  if (progress.getJob() && goal == Goal::converged) {
    lines.add(kj::str("active tasks: ", progress.getRunning()));
  }
  bool each = goal == Goal::converged && tasks.size() <= MAX_TASK_LINES;
  if (each) {
    for (auto task : tasks) {
      auto who = task.getSlot() == 0 ? kj::str(shortId(task.getNodeId()), ": ")
                                     : kj::str(task.getSlot(), "/", progress.getDesired(), ": ");
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

kj::String withoutIds(kj::StringPtr text) {
  kj::Vector<char> out;
  for (size_t at = 0; at < text.size();) {
    size_t end = at;
    while (end < text.size() && inWord(text[end])) ++end;
    if (end == at) {
      out.add(text[at++]);
      continue;
    }
    auto word = text.slice(at).slice(0, end - at);
    if (!isId(word)) {
      out.addAll(word);
    } else if (out.size() > 0 && out.back() == '.') {
      // web.1.<id>, which says nothing more than that it is one of them
      while (out.size() > 0 && inTaskName(out.back())) out.removeLast();
      out.addAll("the task"_kj);
    } else {
      out.addAll("…"_kj);
    }
    at = end;
  }
  out.add('\0');
  return kj::String(out.releaseAsArray());
}

kj::Vector<Reason> reasonsOf(schema::ServiceProgress::Reader progress) {
  kj::Vector<Reason> reasons;
  auto count = [&](kj::StringPtr error) {
    auto text = withoutIds(error);
    for (auto& reason : reasons) {
      if (reason.text != text) continue;
      ++reason.tasks;
      return;
    }
    reasons.add(Reason{kj::mv(text), 1});
  };
  for (auto task : progress.getTasks()) {
    if (task.getError().size() > 0) count(task.getError());
  }
  if (reasons.size() == 0 && progress.getProblem().size() > 0) count(progress.getProblem());
  return reasons;
}

}  // namespace orch::cli
