#include "plan.h"

#include <algorithm>
#include <cstdio>
#include <random>

namespace orch::testing {

namespace {

using Kind = Step::Kind;

constexpr const char* WORDS[] = {"power off",  "power on",    "crash",     "start",     "freeze",
                                 "thaw",       "cut",         "cut out",   "cut in",    "lose",
                                 "mend",       "reset",       "slow disk", "fast disk", "cut state",
                                 "mend state", "store fault", "remember",  "ghost",     "create",
                                 "scale",      "update",      "remove",    "drain",     "activate"};
constexpr const char* SCRIPTS[] = {"stays", "ends", "fails", "slow", "ends soon"};

class Drawing final {
 public:
  explicit Drawing(uint64_t seed) : generator(seed ^ 0x6f7263682d73696dull) {}

  Plan draw(uint64_t seed) {
    plan.seed = seed;
    plan.hosts = 3 + below(3);
    plan.lengthMs = 12'000 + below(12'000);
    drawRequests();
    if (chance(50)) drawJob("job");
    uint32_t faults = below(9);
    for (uint32_t i = 0; i < faults; ++i) drawFault();
    sort();
    return plan;
  }

  Plan drawManagers(uint64_t seed) {
    plan.managers = 3;
    draw(seed);
    for (uint32_t faults = 1 + below(4); faults > 0; --faults) drawManagerFault();
    sort();
    return plan;
  }

  Plan drawMild(uint64_t seed, uint32_t lengthMs) {
    plan.seed = seed;
    plan.lengthMs = lengthMs;
    plan.mild = true;
    add(0, Kind::CREATE, "web").amount = 6;
    // One after the other on each host: another one begins when the one before has ended.
    for (uint32_t number = 1; number <= plan.hosts; ++number) {
      auto host = "n" + std::to_string(number);
      for (uint32_t at = 5000 + below(5000); at < lengthMs;) at = drawMildFault(host, at);
    }
    sort();
    return plan;
  }

 private:
  void sort() {
    std::stable_sort(plan.steps.begin(), plan.steps.end(),
                     [](auto& a, auto& b) { return a.atMs < b.atMs; });
  }
  // When the next one may come.
  uint32_t drawMildFault(const std::string& host, uint32_t at) {
    constexpr uint32_t STOPPED_MS = 1000, SYNC_MS = 300, LOST_PER_MILLE = 50;
    bool manages = host == "n1";
    uint32_t kind = below(manages ? 2 : 3);
    uint32_t end = at + (kind == 0 ? STOPPED_MS : 1000 + below(20'000));
    if (kind == 0) {
      add(at, Kind::FREEZE, host);
      add(end, Kind::THAW, host);
    } else if (kind == 1) {
      add(at, Kind::SLOW_DISK, host).amount = SYNC_MS;
      add(end, Kind::FAST_DISK, host);
    } else {
      add(at, Kind::LOSE, host).amount = LOST_PER_MILLE;
      add(end, Kind::MEND, host);
    }
    return end + below(5000);
  }

  uint32_t below(uint32_t limit) { return static_cast<uint32_t>(generator() % limit); }
  bool chance(uint32_t percent) { return below(100) < percent; }
  uint32_t someTime() { return below(plan.lengthMs); }
  std::string anyHost() { return "n" + std::to_string(1 + below(plan.hosts)); }
  std::string manager() { return "n" + std::to_string(1 + below(plan.managers)); }
  std::string worker() { return "n" + std::to_string(2 + below(plan.hosts - 1)); }
  Step& add(uint32_t atMs, Kind kind, std::string host) {
    auto& step = plan.steps.emplace_back();
    step.atMs = atMs;
    step.kind = kind;
    step.host = std::move(host);
    return step;
  }

  void drawRequests() {
    uint32_t services = 1 + below(4);
    for (uint32_t i = 0; i < services; ++i) drawService(std::string(1, static_cast<char>('a' + i)));
    for (uint32_t drains = below(3); drains > 0; --drains) {
      auto host = anyHost();
      uint32_t at = someTime();
      add(at, Kind::DRAIN, host);
      add(at + 1000 + below(8000), Kind::ACTIVATE, host);
    }
  }

  void fill(Step& step) {
    step.startFirst = chance(35);
    step.parallelism = below(4);
    step.failureAction = below(2);  // pause, continue
  }

  void drawService(const std::string& name) {
    uint32_t at = below(5000);
    auto& create = add(at, Kind::CREATE, name);
    create.amount = 1 + below(6);
    create.global = chance(20);
    uint32_t script = below(10);
    create.script = script < 6   ? Step::Script::STAYS
                    : script < 7 ? Step::Script::ENDS
                    : script < 8 ? Step::Script::FAILS
                                 : Step::Script::SLOW;
    create.reserve = chance(50) ? 0 : below(800);
    fill(create);
    bool global = create.global;
    uint32_t image = 1;
    for (uint32_t changes = below(5); changes > 0; --changes) {
      at += below(6000);
      if (!global && chance(50)) {
        add(at, Kind::SCALE, name).amount = below(7);
        continue;
      }
      auto& update = add(at, Kind::UPDATE, name);
      update.amount = ++image;
      update.bad = chance(20);
      fill(update);
    }
    if (chance(25)) add(at + below(6000), Kind::REMOVE, name);
  }

  // Each update is another run.
  void drawJob(const std::string& name) {
    uint32_t at = below(5000);
    auto& create = add(at, Kind::CREATE, name);
    create.job = true;
    create.amount = 1 + below(6);
    create.global = chance(30);
    create.script = Step::Script::BRIEF;
    create.parallelism = below(4);
    uint32_t image = 1;
    for (uint32_t changes = below(4); changes > 0; --changes) {
      at += below(6000);
      auto& update = add(at, Kind::UPDATE, name);
      update.amount = ++image;
      update.parallelism = below(4);
    }
    if (chance(20)) add(at + below(6000), Kind::REMOVE, name);
  }

  // A fault that begins at some time and ends some time later.
  void drawPair(Kind begin, Kind end, const std::string& host, uint32_t mostMs) {
    uint32_t at = someTime();
    auto& step = add(at, begin, host);
    if (begin == Kind::LOSE) step.amount = 20 + below(400);
    if (begin == Kind::SLOW_DISK) step.amount = 50 + below(3000);
    add(at + 1 + below(mostMs), end, host);
  }

  void drawFault() {
    switch (below(13)) {
      case 0:
        return drawPair(Kind::POWER_OFF, Kind::POWER_ON, worker(), 12'000);
      case 1:
        return drawPair(Kind::POWER_OFF, Kind::POWER_ON, anyHost(), 4'000);
      case 2:
        return drawPair(Kind::CRASH, Kind::START, anyHost(), 2'000);
      case 3:
        return drawPair(Kind::CRASH, Kind::START, "n1", 3'000);
      case 4:
        return drawPair(Kind::FREEZE, Kind::THAW, anyHost(), 8'000);
      case 5:
        return drawPair(Kind::CUT, Kind::MEND, worker(), 10'000);
      case 6:
        return drawPair(Kind::CUT_OUT, Kind::MEND, worker(), 8'000);
      case 7:
        return drawPair(Kind::CUT_IN, Kind::MEND, worker(), 8'000);
      case 8:
        return drawPair(Kind::LOSE, Kind::MEND, worker(), 10'000);
      case 9:
        add(someTime(), Kind::RESET, worker());
        return;
      case 10:
        return drawPair(Kind::SLOW_DISK, Kind::FAST_DISK, anyHost(), 10'000);
      case 11:
        add(someTime(), Kind::STORE_FAULT, anyHost()).amount = below(5);
        return;
      default:
        return drawGhost();
    }
  }

  void drawManagerFault() {
    switch (below(7)) {
      case 0:
        return drawPair(Kind::POWER_OFF, Kind::POWER_ON, manager(), 15'000);
      case 1:
        return drawPair(Kind::CRASH, Kind::START, manager(), 10'000);
      case 2:
        return drawPair(Kind::FREEZE, Kind::THAW, manager(), 8'000);
      case 3:
        return drawPair(Kind::CUT, Kind::MEND, manager(), 10'000);
      case 4:
        return drawPair(Kind::CUT_STATE, Kind::MEND_STATE, manager(), 10'000);
      case 5:
        return drawStateLost();
      default:
        add(someTime(), Kind::RESET, manager());
    }
  }

  // From all managers, so that nobody leads.
  void drawStateLost() {
    uint32_t at = someTime();
    uint32_t end = at + 1 + below(12'000);
    for (uint32_t number = 1; number <= plan.managers; ++number) {
      auto host = "n" + std::to_string(number);
      add(at, Kind::CUT_STATE, host);
      add(end, Kind::MEND_STATE, host);
    }
  }

  // Something has to happen between what is remembered and the ghost: the manager starts again.
  void drawGhost() {
    auto host = worker();
    uint32_t at = someTime();
    add(at, Kind::REMEMBER, host);
    uint32_t crash = at + below(4000);
    add(crash, Kind::CRASH, "n1");
    add(crash + 50 + below(1000), Kind::START, "n1");
    add(crash + 2500 + below(8000), Kind::GHOST, host);
  }

  std::mt19937_64 generator;
  Plan plan;
};

}  // namespace

std::string Step::text() const {
  char time[16];
  snprintf(time, sizeof(time), "%6.3f ", atMs / 1000.0);
  std::string line = time;
  line += WORDS[static_cast<size_t>(kind)];
  line += " " + host;
  bool counted = kind == Kind::LOSE || kind == Kind::SLOW_DISK || kind == Kind::STORE_FAULT ||
                 kind == Kind::SCALE;
  if (counted) line += " " + std::to_string(amount);
  if (kind == Kind::CREATE) {
    if (job) line += " as a job,";
    line += global ? " global" : " " + std::to_string(amount) + " replicas";
    line += std::string(", each ") + SCRIPTS[static_cast<size_t>(script)];
    if (reserve > 0) line += ", reserves " + std::to_string(reserve) + " m";
  }
  if (kind == Kind::UPDATE) {
    line += " to image " + std::to_string(amount) + (bad ? ", which fails" : "");
  }
  if (kind == Kind::CREATE || kind == Kind::UPDATE) {
    line += startFirst ? ", start-first" : ", stop-first";
    line += ", " + std::to_string(parallelism) + " at once";
  }
  return line;
}

std::string Plan::text() const {
  std::string all = "seed " + std::to_string(seed) + ", " + std::to_string(hosts) + " hosts";
  all += managers == 1 ? "\n" : ", " + std::to_string(managers) + " managers\n";
  for (size_t i = 0; i < steps.size(); ++i) {
    all += "  " + std::to_string(i) + ": " + steps[i].text() + "\n";
  }
  return all;
}

Plan drawPlan(uint64_t seed) { return Drawing(seed).draw(seed); }

Plan drawManagersPlan(uint64_t seed) { return Drawing(seed).drawManagers(seed); }

Plan drawMildPlan(uint64_t seed, uint32_t lengthMs) {
  return Drawing(seed).drawMild(seed, lengthMs);
}

}  // namespace orch::testing
