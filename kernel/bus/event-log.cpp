#include "kernel/bus/event-log.h"

#include <capnp/serialize.h>
#include <kj/debug.h>

#include <utility>

#include "orch/attempt.h"
#include "orch/segments/segments.h"

namespace orch::bus {

namespace {

struct Scanned {
  kj::Own<const kj::Directory> directory;
  uint64_t segment = 1;
  uint64_t size = 0;
  uint64_t last = 0;
  EventLog::Opened opened;
};

uint64_t segmentsKept(uint64_t maxBytes) {
  return kj::max<uint64_t>(1, maxBytes / EventLog::SEGMENT_BYTES);
}

// Reads one segment for its last sequence; cuts the newest after its last intact frame.
void scanSegment(Scanned& found, uint64_t number) {
  auto opened = found.directory->tryOpenFile(segments::segmentName(number), kj::WriteMode::MODIFY);
  if (opened == nullptr) return;
  auto& file = *KJ_ASSERT_NONNULL(opened);
  auto bytes = file.readAllBytes();
  size_t at = 0;
  uint64_t damaged = 0;
  for (auto frame = segments::nextFrame(bytes, at); frame; frame = segments::nextFrame(bytes, at)) {
    damaged += frame->begin - at;
    at = frame->end;
    segments::eachMessage(frame->content, [&](EventWords words) {
      capnp::FlatArrayMessageReader reader(words);
      found.last = kj::max(found.last, reader.getRoot<schema::Event>().getSequence());
    });
  }
  if (number != found.segment) return;
  found.opened = {bytes.size() - at, damaged};
  if (found.opened.cutBytes > 0) file.truncate(at);
  found.size = at;
}

Scanned scan(const kj::Filesystem& files, kj::PathPtr path, uint64_t maxBytes) {
  Scanned found;
  found.directory = files.getRoot().openSubdir(
      path, kj::WriteMode::CREATE | kj::WriteMode::MODIFY | kj::WriteMode::CREATE_PARENT);
  auto numbers = segments::segmentNumbers(*found.directory);
  if (numbers.empty()) return found;
  found.segment = kj::max<uint64_t>(1, numbers.back());
  for (auto number : numbers) {
    if (number + segmentsKept(maxBytes) <= found.segment) {
      found.directory->tryRemove(segments::segmentName(number));
    }
  }
  // The newest segment may hold nothing yet: then the last sequence is in one before.
  for (auto i = numbers.rbegin(); i != numbers.rend() && found.last == 0; ++i) {
    scanSegment(found, *i);
  }
  return found;
}

}  // namespace

EventLog::EventLog(Env& env, kj::PathPtr folder, uint64_t maxBytes)
    : env(env), folder(folder.clone()), maxBytes(maxBytes), tasks(*this) {}

Task<EventLog::Opened> EventLog::open() {
  auto work = [&files = env.files(), path = folder.clone(), maxBytes = maxBytes]() {
    return scan(files, path, maxBytes);
  };
  auto found = co_await env.workers().run(kj::mv(work));
  directory = kj::mv(found.directory);
  segment = found.segment;
  segmentSize = found.size;
  last = found.last;
  co_return found.opened;
}

void EventLog::append(kj::ArrayPtr<const capnp::word> event, uint64_t sequence) {
  last = sequence;
  if (event.asBytes().size() > segments::MAX_MESSAGE_BYTES) {
    ++dropped;
    return;
  }
  segments::addMessage(frame, event);
  ++frameEvents;
  if (frame.size() >= FRAME_BYTES) {
    closeFrame();
    kick();
  } else if (!std::exchange(timerSet, true)) {
    tasks.add(flushLater());
  }
}

Task<void> EventLog::flushLater() {
  co_await env.timer().afterDelay(FRAME_MS * kj::MILLISECONDS);
  timerSet = false;
  closeFrame();
  kick();
}

// Past the limit the new ones go: those that say how the trouble began stay.
void EventLog::closeFrame() {
  if (frame.size() == 0) return;
  auto events = frameEvents;
  frameEvents = 0;
  auto content = frame.releaseAsArray();
  if (waitingBytes + content.size() > MAX_WAITING_BYTES) {
    dropped += events;
    return;
  }
  waitingBytes += content.size();
  waiting.push_back({std::make_shared<const kj::Array<kj::byte>>(kj::mv(content)), events});
}

void EventLog::kick() {
  if (serving || waiting.empty() || directory.get() == nullptr) return;
  serving = true;
  tasks.add(serve());
}

Task<void> EventLog::flush() {
  closeFrame();
  kick();
  if (!serving) co_return;
  auto pair = kj::newPromiseAndFulfiller<void>();
  idleWaiters.push_back(kj::mv(pair.fulfiller));
  co_await pair.promise;
}

// Frames are written one after the other, in the order of their events.
Task<void> EventLog::serve() {
  while (!waiting.empty()) {
    auto outcome = co_await attempt(write(waiting.front()));
    if (!outcome.ok()) {
      KJ_IF_MAYBE (observer, watcher) {
        if (!failing) observer->writeFailed(outcome.message());
      }
      failing = true;
      if (!std::exchange(timerSet, true)) tasks.add(flushLater());
      break;
    }
    waitingBytes -= waiting.front().content->size();
    waiting.pop_front();
    if (!failing && dropped == 0) continue;
    failing = false;
    KJ_IF_MAYBE (observer, watcher) observer->writeWorks(dropped);
    dropped = 0;
  }
  serving = false;
  for (auto& waiter : std::exchange(idleWaiters, {})) waiter->fulfill();
}

kj::Promise<void> EventLog::write(const ClosedFrame& closed) {
  bool full = segmentSize >= SEGMENT_BYTES;
  LogPosition at = full ? LogPosition{segment + 1, 0} : LogPosition{segment, segmentSize};
  auto job = [dir = directory->clone(), at, keep = segmentsKept(maxBytes),
              content = closed.content]() {
    auto packed = segments::packFrame(*content);
    auto name = segments::segmentName(at.segment);
    auto file = dir->openFile(name, kj::WriteMode::CREATE | kj::WriteMode::MODIFY);
    file->write(at.offset, packed);
    if (at.segment > keep) dir->tryRemove(segments::segmentName(at.segment - keep));
    return packed.size();
  };
  return env.workers().run(kj::mv(job)).then([this, at](size_t n) {
    segment = at.segment;
    segmentSize = at.offset + n;
  });
}

Task<LogPosition> EventLog::end() {
  co_await flush();
  co_return LogPosition{segment, segmentSize};
}

bool EventLog::isNews(const LogDamage& damage) {
  return reported.size() < MAX_REPORTS && reported.insert(damage.at).second;
}

void EventLog::taskFailed(kj::Exception&& exception) {
  KJ_LOG(ERROR, "events.log-failed", exception);
}

}  // namespace orch::bus
