// Runs seeds of the simulation, several processes side by side. A seed that breaks a rule prints
// its plan, made as short as it still breaks it, the end of the log, and the command that runs it
// again.
#include <kj/debug.h>
#include <sys/mman.h>
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
    "                     [--managers] [--no-shrink] [--bug NAME]\n"
    "  --seeds      all of these; 1-200 if nothing is said\n"
    "  --jobs       so many processes\n"
    "  --managers   three of them\n"
    "  --skip       leaves these steps of the plan out\n"
    "  --log        prints the whole log of a seed\n"
    "  --no-shrink  prints the plan of a seed that fails as it is\n"
    "  --bug        plants one, and looks for the first seed that finds it, and keeps all rules\n"
    "               without it: old-epoch, lost-delta, early-replace, and with --managers\n"
    "               blind-commit, unknown-refused, stale-lead, skipped-change\n";

struct NamedBug {
  const char* name;
  Bug bug;
};
constexpr NamedBug BUGS[] = {{"old-epoch", Bug::OLD_EPOCH},
                             {"lost-delta", Bug::LOST_DELTA},
                             {"early-replace", Bug::EARLY_REPLACE},
                             {"blind-commit", Bug::BLIND_COMMIT},
                             {"unknown-refused", Bug::UNKNOWN_REFUSED},
                             {"stale-lead", Bug::STALE_LEAD},
                             {"skipped-change", Bug::SKIPPED_CHANGE}};

struct Wanted {
  uint64_t from = 1, to = 200;
  unsigned jobs = 1;
  std::vector<size_t> skip;
  bool log = false;
  bool shrinks = true;
  bool managers = false;
  Bug bug = Bug::NONE;
  std::string bugName;
  std::string program;
};

// What a process has done so far, in memory that it shares with its parent: it may end at once.
struct Done {
  uint64_t seed = 0;  // that it is at
  uint64_t seeds = 0, faults = 0, requests = 0, virtualMs = 0, commits = 0, starts = 0, leads = 0;
  void add(const Plan& plan, const Outcome& outcome) {
    ++seeds;
    for (auto& step : plan.steps) ++(step.isRequest() ? requests : faults);
    virtualMs += outcome.virtualMs;
    commits += outcome.commits;
    starts += outcome.starts;
    leads += outcome.leads;
  }
  void add(const Done& other) {
    seeds += other.seeds;
    faults += other.faults;
    requests += other.requests;
    virtualMs += other.virtualMs;
    commits += other.commits;
    starts += other.starts;
    leads += other.leads;
  }
};

Done* shareDone(size_t jobs) {
  auto* memory =
      mmap(nullptr, jobs * sizeof(Done), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  KJ_REQUIRE(memory != MAP_FAILED, "no memory");
  return static_cast<Done*>(memory);
}

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
    } else if (flag == "--managers") {
      wanted.managers = true;
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
      for (auto& known : BUGS) {
        if (wanted.bugName == known.name) wanted.bug = known.bug;
      }
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
bool runSeed(uint64_t seed, const Wanted& wanted, Done& done) {
  auto plan = wanted.managers ? drawManagersPlan(seed) : drawPlan(seed);
  auto run = without(plan, wanted.skip);
  auto outcome = simulate(run, wanted.bug);
  done.add(run, outcome);
  if (wanted.log) {
    fputs(plan.text().c_str(), stdout);
    fputs(outcome.log.c_str(), stdout);
    printf("%llu ms, settled after %llu ms, %llu bytes, %llu commits, %llu placements judged\n",
           static_cast<unsigned long long>(outcome.virtualMs),
           static_cast<unsigned long long>(outcome.settledMs),
           static_cast<unsigned long long>(outcome.bytes),
           static_cast<unsigned long long>(outcome.commits),
           static_cast<unsigned long long>(outcome.judged));
  }
  if (outcome.violation.empty()) return true;
  // What is found without the bug as well is not found for it.
  if (wanted.bug != Bug::NONE && !simulate(run, Bug::NONE).violation.empty()) return true;
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
  if (wanted.managers) report += " --managers";
  if (wanted.bug != Bug::NONE) report += " --bug " + wanted.bugName;
  fprintf(stderr, "%s --log\n", report.c_str());
  return false;
}

// Every `jobs`-th seed from the `job`-th on. With a bug, until one finds it.
int runShare(unsigned job, const Wanted& wanted, Done& done) {
  bool kept = true;
  for (uint64_t seed = wanted.from + job; seed <= wanted.to; seed += wanted.jobs) {
    done.seed = seed;
    kept &= runSeed(seed, wanted, done);
    if (!kept && wanted.bug != Bug::NONE) break;
  }
  return kept ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  auto wanted = parse(argc, argv);
  bool kept = true;
  std::vector<pid_t> children;
  auto* done = shareDone(wanted.jobs);
  for (unsigned job = 0; job < wanted.jobs; ++job) {
    fflush(stdout);
    pid_t child = fork();
    KJ_REQUIRE(child >= 0, "cannot start another process");
    if (child == 0) exit(runShare(job, wanted, done[job]));
    children.push_back(child);
  }
  Done all;
  for (size_t job = 0; job < children.size(); ++job) {
    int status = 0;
    waitpid(children[job], &status, 0);
    if (WIFSIGNALED(status)) {
      fprintf(stderr, "seed %llu: its process was ended by signal %d\n",
              static_cast<unsigned long long>(done[job].seed), WTERMSIG(status));
    }
    kept &= WIFEXITED(status) && WEXITSTATUS(status) == 0;
    all.add(done[job]);
  }
  printf(
      "%llu seeds: %llu faults, %llu requests, %llu leaders, %llu commits, %llu containers, "
      "%llu s of virtual time\n",
      static_cast<unsigned long long>(all.seeds), static_cast<unsigned long long>(all.faults),
      static_cast<unsigned long long>(all.requests), static_cast<unsigned long long>(all.leads),
      static_cast<unsigned long long>(all.commits), static_cast<unsigned long long>(all.starts),
      static_cast<unsigned long long>(all.virtualMs / 1000));
  if (kept) {
    printf("seeds %llu to %llu keep all rules\n", static_cast<unsigned long long>(wanted.from),
           static_cast<unsigned long long>(wanted.to));
  }
  return kept ? 0 : 1;
}
