// What happens to a simulated cluster, as data: drawn from a seed, printed when a rule is broken,
// and run again with steps left out.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace orch::testing {

struct Step {
  enum class Kind {
    // Faults. Each has its end in another step.
    POWER_OFF,
    POWER_ON,
    CRASH,  // of orchd; its containers go on
    START,
    FREEZE,
    THAW,
    CUT,        // `host` and the managers', both ways
    CUT_OUT,    // only what `host` sends to the managers'
    CUT_IN,     // only what it is sent
    LOSE,       // `amount` of a thousand pieces between them come up to a second late
    MEND,       // of the four above
    RESET,      // the connections between them, at once
    SLOW_DISK,  // syncs take up to `amount` ms
    FAST_DISK,
    CUT_STATE,  // a manager, from the state
    MEND_STATE,
    STORE_FAULT,  // the `amount`-th kind, on the next commit
    REMEMBER,     // what the node is told now is told to it again at
    GHOST,        // as by a manager of that time that does not know that it leads no longer
    // Requests of users.
    CREATE,
    SCALE,
    UPDATE,
    REMOVE,
    DRAIN,
    ACTIVATE
  };
  // Of a service's tasks.
  enum class Script { STAYS, ENDS, FAILS, SLOW, BRIEF };
  uint32_t atMs = 0;
  Kind kind = Kind::POWER_OFF;
  std::string host;     // or the service's name
  uint32_t amount = 0;  // or replicas, or the image's number
  bool global = false;
  bool job = false;  // whose tasks have to complete, `parallelism` at a time
  bool startFirst = false;
  bool bad = false;  // the image's tasks fail at once
  uint32_t parallelism = 1;
  uint32_t failureAction = 0;
  uint32_t reserve = 0;  // thousandths of a core
  Script script = Script::STAYS;

  bool isRequest() const { return kind >= Kind::CREATE; }
  std::string text() const;
};

struct Plan {
  uint64_t seed = 0;
  uint32_t hosts = 4;     // n1 and so on
  uint32_t managers = 1;  // the first of them
  uint32_t lengthMs = 0;
  std::vector<Step> steps;  // by time
  bool mild = false;        // no fault is a reason to take a node for down

  // One step a line.
  std::string text() const;
};

Plan drawPlan(uint64_t seed);
// With three managers, of which any may be gone or cut off from the others, or from the state.
Plan drawManagersPlan(uint64_t seed);
// So long, with a service on all hosts, and every few seconds one of what hosts go through without
// being dead: all their processes stand still for a second (a busy processor, a debugger), a
// twentieth of what goes to and from them is lost, their disks take 300 ms to sync.
Plan drawMildPlan(uint64_t seed, uint32_t lengthMs);

}  // namespace orch::testing
