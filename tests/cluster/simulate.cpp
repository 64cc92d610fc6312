// Runs seeds of the simulation, several processes side by side. A seed that breaks a rule prints
// its plan, made as short as it still breaks it, the end of the log, and the command that runs it
// again.
#include <kj/debug.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "simulation.h"

namespace {

using namespace orch::testing;

constexpr size_t TAIL_LINES = 60;
constexpr const char* USAGE =
    "usage: orch_simulate [--seed N | --seeds FROM-TO] [--jobs N] [--skip I,J,...] [--log]\n"
    "                     [--no-shrink] [--bug old-epoch|lost-delta|early-replace]\n"
    "  --seeds      all of these; 1-200 if nothing is said\n"
    "  --jobs       so many processes\n"
    "  --skip       leaves these steps of the plan out\n"
    "  --log        prints the whole log of a seed\n"
    "  --no-shrink  prints the plan of a seed that fails as it is\n"
    "  --bug        plants one, and looks for the first seed that finds it\n";

struct Wanted {
  uint64_t from = 1, to = 200;
  unsigned jobs = 1;
  std::vector<size_t> skip;
  bool log = false;
  bool shrinks = true;
  Bug bug = Bug::NONE;
  std::string bugName;
  std::string program;
};

[[noreturn]] void refuse() {
  fputs(USAGE, stderr);
  exit(2);
}

uint64_t number(const char* text, char** end) {
  auto value = strtoull(text, end, 10);
  if (*end == text) refuse();
  return value;
}

Wanted parse(int argc, char** argv) {
  Wanted wanted;
  wanted.program = argv[0];
  for (int i = 1; i < argc; ++i) {
    std::string flag = argv[i];
    char* end = nullptr;
    auto value = [&]() -> const char* {
      if (++i == argc) refuse();
      return argv[i];
    };
    if (flag == "--log") {
      wanted.log = true;
    } else if (flag == "--no-shrink") {
      wanted.shrinks = false;
    } else if (flag == "--seed") {
      wanted.from = wanted.to = number(value(), &end);
    } else if (flag == "--seeds") {
      wanted.from = number(value(), &end);
      if (*end != '-') refuse();
      wanted.to = number(end + 1, &end);
    } else if (flag == "--jobs") {
      wanted.jobs = number(value(), &end);
    } else if (flag == "--skip") {
      for (const char* at = value();; at = end + 1) {
        wanted.skip.push_back(number(at, &end));
        if (*end != ',') break;
      }
    } else if (flag == "--bug") {
      wanted.bugName = value();
      wanted.bug = wanted.bugName == "old-epoch"       ? Bug::OLD_EPOCH
                   : wanted.bugName == "lost-delta"    ? Bug::LOST_DELTA
                   : wanted.bugName == "early-replace" ? Bug::EARLY_REPLACE
                                                       : Bug::NONE;
      if (wanted.bug == Bug::NONE) refuse();
    } else {
      refuse();
    }
  }
  if (wanted.jobs == 0 || wanted.from > wanted.to) refuse();
  return wanted;
}

Plan without(const Plan& plan, const std::vector<size_t>& skip) {
  Plan left = plan;
  left.steps.clear();
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    bool skipped = std::find(skip.begin(), skip.end(), i) != skip.end();
    if (!skipped) left.steps.push_back(plan.steps[i]);
  }
  return left;
}

// Leaves out each step that the violation does without.
std::vector<size_t> shrink(const Plan& plan, const Wanted& wanted) {
  auto skip = wanted.skip;
  for (size_t i = plan.steps.size(); i-- > 0;) {
    auto more = skip;
    more.push_back(i);
    if (!simulate(without(plan, more), wanted.bug).violation.empty()) skip = more;
  }
  return skip;
}

// Whether the seed kept all rules.
bool runSeed(uint64_t seed, const Wanted& wanted) {
  auto plan = drawPlan(seed);
  auto outcome = simulate(without(plan, wanted.skip), wanted.bug);
  if (wanted.log) {
    fputs(plan.text().c_str(), stdout);
    fputs(outcome.log.c_str(), stdout);
    printf("%llu ms, settled after %llu ms, %llu bytes, %llu commits\n",
           static_cast<unsigned long long>(outcome.virtualMs),
           static_cast<unsigned long long>(outcome.settledMs),
           static_cast<unsigned long long>(outcome.bytes),
           static_cast<unsigned long long>(outcome.commits));
  }
  if (outcome.violation.empty()) return true;
  auto skip = wanted.skip;
  if (wanted.shrinks && wanted.bug == Bug::NONE) {
    skip = shrink(plan, wanted);
    if (skip != wanted.skip) outcome = simulate(without(plan, skip), wanted.bug);
  }
  std::string report = "\nseed " + std::to_string(seed) + ": " + outcome.violation + "\n";
  report += without(plan, skip).text();
  std::string log = outcome.log;
  size_t begin = log.size();
  for (size_t lines = 0; begin > 0 && lines <= TAIL_LINES; ++lines) {
    begin = log.rfind('\n', begin - 1);
    if (begin == std::string::npos) begin = 0;
  }
  report += log.substr(begin) + "again: " + wanted.program + " --seed " + std::to_string(seed);
  if (!skip.empty()) {
    report += " --skip ";
    for (auto& step : skip) report += (&step == &skip[0] ? "" : ",") + std::to_string(step);
  }
  if (wanted.bug != Bug::NONE) report += " --bug " + wanted.bugName;
  fprintf(stderr, "%s --log\n", report.c_str());
  return false;
}

// Every `jobs`-th seed from the `job`-th on. With a bug, until one finds it.
int runShare(unsigned job, const Wanted& wanted) {
  bool kept = true;
  for (uint64_t seed = wanted.from + job; seed <= wanted.to; seed += wanted.jobs) {
    kept &= runSeed(seed, wanted);
    if (!kept && wanted.bug != Bug::NONE) break;
  }
  return kept ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  auto wanted = parse(argc, argv);
  bool kept = true;
  std::vector<pid_t> children;
  for (unsigned job = 0; job < wanted.jobs; ++job) {
    fflush(stdout);
    pid_t child = fork();
    KJ_REQUIRE(child >= 0, "cannot start another process");
    if (child == 0) exit(runShare(job, wanted));
    children.push_back(child);
  }
  for (auto child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status))
      fprintf(stderr, "a process was ended by signal %d\n", WTERMSIG(status));
    kept &= WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }
  if (kept) {
    printf("seeds %llu to %llu keep all rules\n", static_cast<unsigned long long>(wanted.from),
           static_cast<unsigned long long>(wanted.to));
  }
  return kept ? 0 : 1;
}
