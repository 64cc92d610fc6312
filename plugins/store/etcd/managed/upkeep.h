// What a managed etcd's member needs beside running: its database is made smaller when most of it
// is unused, alarms are told, and taken back when there is space again, also for one that is away,
// and a disk that is full or slow is told before it is the end.
#pragma once

#include <kj/time.h>

#include <string>
#include <vector>

#include "managed/managed-settings.h"
#include "orch/host.h"

namespace orch::store::etcd {

// Which of the conditions hold, at one look. Pure.
struct Findings {
  bool full = false;                 // etcd's alarm: no member takes any more writes
  std::vector<uint64_t> othersFull;  // the same alarm, of these
  bool corrupt = false;              // etcd's alarm: this member's data are not the others'
  bool wasteful = false;
  bool diskLow = false;
  bool diskSlow = false;

  // For a user, in one line; empty: nothing is wrong.
  std::string text(const ManagedSettings& settings) const;
};
// Whether so much of the database is unused that it is worth the time without this member.
bool isWasteful(const orch::etcd::Status& status);
// Whether it is to be made smaller now: nobody is answered meanwhile, and it takes a write.
// `needed`: its host's manager leads.
bool canShrink(const Findings& findings, bool needed);
// Of a histogram of etcd's metrics, since the last look.
struct SyncTimes {
  double seconds = 0;
  double count = 0;
  // From the text of /metrics.
  static SyncTimes read(std::string_view metrics);
};

// When a full one is made smaller once more: it answers nobody meanwhile, so that each time in vain
// is followed by a longer pause. Pure.
class SpaceTries final {
 public:
  static constexpr kj::Duration FIRST_PAUSE = 10 * kj::SECONDS;
  static constexpr kj::Duration LAST_PAUSE = 10 * kj::MINUTES;

  bool isDue(kj::TimePoint now) const { return now >= next; }
  void wasInVain(kj::TimePoint now) {
    next = now + pause;
    pause = kj::min(2 * pause, LAST_PAUSE);
  }

 private:
  kj::TimePoint next = kj::origin<kj::TimePoint>();
  kj::Duration pause = FIRST_PAUSE;
};

// When an alarm of others has stood for so long that they do not see to it themselves. Pure.
class OthersAlarm final {
 public:
  static constexpr kj::Duration PATIENCE = 1 * kj::MINUTES;

  bool hasStood(kj::TimePoint now, bool raised) {
    if (!raised) since = nullptr;
    if (raised && since == nullptr) since = now;
    KJ_IF_MAYBE (from, since) return now - *from >= PATIENCE;
    return false;
  }

 private:
  kj::Maybe<kj::TimePoint> since;
};

// On the loop. One look at a time.
class Upkeep final {
 public:
  // All outlive it.
  Upkeep(Env& env, Log& log, const ManagedSettings& settings);

  // At this host's member, which has a vote. `needed`: it must not be silent for a while.
  Task<void> look(orch::etcd::Status status, std::string self, bool needed);
  const std::string& trouble() const { return told; }

 private:
  Task<Findings> find(const orch::etcd::Status& status);
  Task<bool> isSlow();
  // Whether it did. `full`: whose alarms are taken back then.
  Task<bool> makeSpace(orch::etcd::Status status, std::vector<uint64_t> full);
  bool isRoomy(const orch::etcd::Status& status) const;
  // One member at a time: false if another one is at it.
  Task<bool> defragment(std::string self);
  void tell(std::string trouble);

  Env& env;
  Log& log;
  const ManagedSettings& settings;
  orch::etcd::Client client;  // a patient one
  http::EndpointClient metrics;
  SyncTimes before;
  kj::TimePoint measuredAt;
  bool slow = false;
  SpaceTries tries;
  OthersAlarm othersAlarm;
  std::string told;
};

}  // namespace orch::store::etcd
