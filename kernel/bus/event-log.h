// The events of a node on disk: zstd frames in numbered segments. A frame is closed a second after
// its first event at the latest, or at 64 KiB. Past the size limit the oldest segment goes. After a
// crash the torn end of the last segment is cut off and reported; what is damaged elsewhere is
// passed over and reported.
#pragma once

#include <kj/filesystem.h>

#include <deque>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "orch/env.h"
#include "orch/schema/plugin.capnp.h"
#include "orch/segments/frames.h"

namespace orch::bus {

// A serialised Event, as it is kept and sent.
using EventWords = segments::MessageWords;

// Hears of the log's troubles, each once. On the loop.
class EventLogWatcher {
 public:
  virtual ~EventLogWatcher() noexcept(false) {}
  // Writing fails; it is tried again every second.
  virtual void writeFailed(kj::StringPtr reason) = 0;
  // It works again, or has caught up; so many events were lost meanwhile.
  virtual void writeWorks(uint64_t dropped) = 0;
};

struct LogPosition {
  uint64_t segment = 0;
  uint64_t offset = 0;
  bool operator==(const LogPosition&) const = default;
  auto operator<=>(const LogPosition&) const = default;
};

struct LogDamage {
  LogPosition at;
  uint64_t bytes = 0;
};

struct LogFilter {
  int64_t sinceNs = 0;
  std::vector<std::string> topics;  // as Bus::subscribe takes them
};

struct LogPiece {
  std::vector<EventWords> events;
  LogPosition next;           // where to go on
  uint64_t lastSequence = 0;  // of all that was looked at, whether it was wanted or not
  std::vector<LogDamage> damages;
};

class EventLog final : private kj::TaskSet::ErrorHandler {
 public:
  static constexpr uint64_t SEGMENT_BYTES = 4 << 20;
  static constexpr uint32_t FRAME_MS = 1000;
  static constexpr size_t FRAME_BYTES = 64 << 10;
  static constexpr size_t MAX_WAITING_BYTES = 4 << 20;  // closed frames that are not written yet
  static constexpr size_t PIECE_BYTES = 256 << 10;      // of events, in one answer of read()
  static constexpr size_t MAX_REPORTS = 1000;           // damages that are remembered

  // `folder` is made if it is not there. `maxBytes` counts all segments.
  EventLog(Env& env, kj::PathPtr folder, uint64_t maxBytes);

  struct Opened {
    uint64_t cutBytes = 0;      // off the torn end: 0 after a clean stop
    uint64_t damagedBytes = 0;  // before it, in the last segment
  };
  // Reads what is there and removes what is over the limit.
  Task<Opened> open();
  // Before the first append; outlives the log's use.
  void watch(EventLogWatcher& observer) { watcher = observer; }
  uint64_t lastSequence() const { return last; }

  void append(kj::ArrayPtr<const capnp::word> event, uint64_t sequence);
  // Everything appended so far is written, or has failed to be.
  Task<void> flush();

  // Where the log ends now, with everything appended so far. The beginning is LogPosition().
  Task<LogPosition> end();
  // What is wanted of a stretch from `from`, at most about PIECE_BYTES, oldest first. The stretch
  // ends at `next`, which is `to` at last.
  kj::Promise<LogPiece> read(LogPosition from, LogPosition to, LogFilter filter);
  // False if this damage has been reported before.
  bool isNews(const LogDamage& damage);

 private:
  struct ClosedFrame {
    std::shared_ptr<const kj::Array<kj::byte>> content;  // the queue's and the running job's
    uint64_t events = 0;
  };
  void taskFailed(kj::Exception&& exception) override;
  Task<void> flushLater();
  void closeFrame();
  void kick();
  Task<void> serve();
  kj::Promise<void> write(const ClosedFrame& closed);

  Env& env;
  kj::Path folder;
  kj::Own<const kj::Directory> directory;
  uint64_t maxBytes;
  kj::Maybe<EventLogWatcher&> watcher;
  uint64_t last = 0;
  uint64_t segment = 1;  // the one that is written to
  uint64_t segmentSize = 0;
  kj::Vector<kj::byte> frame;  // not yet closed
  uint64_t frameEvents = 0;
  std::deque<ClosedFrame> waiting;
  size_t waitingBytes = 0;
  uint64_t dropped = 0;  // events, since writing began to fail
  bool timerSet = false;
  bool serving = false;
  bool failing = false;
  std::vector<kj::Own<kj::PromiseFulfiller<void>>> idleWaiters;
  std::set<LogPosition> reported;
  kj::TaskSet tasks;
};

}  // namespace orch::bus
