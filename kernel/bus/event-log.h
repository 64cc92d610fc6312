// The events of a node on disk: zstd frames in numbered segments. A frame is closed a second after
// its first event at the latest, or at 64 KiB. Past the size limit the oldest segment goes. After a
// crash the torn end of the last segment is cut off and reported.
#pragma once

#include <capnp/message.h>
#include <kj/filesystem.h>

#include <string>
#include <vector>

#include "orch/env.h"
#include "orch/schema/plugin.capnp.h"

namespace orch::bus {

// A serialised Event, as it is kept and sent.
using EventWords = kj::Array<capnp::word>;

class EventLog final : private kj::TaskSet::ErrorHandler {
 public:
  static constexpr uint64_t SEGMENT_BYTES = 4 << 20;
  static constexpr uint32_t FRAME_MS = 1000;
  static constexpr size_t FRAME_BYTES = 64 << 10;

  // `folder` is made if it is not there. `maxBytes` counts all segments.
  EventLog(Env& env, kj::PathPtr folder, uint64_t maxBytes);

  // Reads what is there. Bytes cut off the torn end: 0 after a clean stop.
  Task<uint64_t> open();
  uint64_t lastSequence() const { return last; }

  void append(kj::ArrayPtr<const capnp::word> event, uint64_t sequence);
  // Everything appended so far is written.
  Task<void> flush();
  // The events since `sinceNs`, oldest first, one batch per frame.
  Task<std::vector<kj::Array<EventWords>>> read(int64_t sinceNs);

 private:
  void taskFailed(kj::Exception&& exception) override;
  Task<void> flushLater();
  kj::Promise<void> write();

  Env& env;
  kj::Path folder;
  kj::Own<const kj::Directory> directory;
  uint64_t maxBytes;
  uint64_t last = 0;
  uint64_t segment = 1;  // the one that is written to
  uint64_t segmentSize = 0;
  kj::Vector<kj::byte> frame;  // not yet written
  bool timerSet = false;
  kj::ForkedPromise<void> writing;
  kj::TaskSet tasks;
};

}  // namespace orch::bus
