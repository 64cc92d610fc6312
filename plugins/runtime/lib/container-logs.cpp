// What OciRuntime does about the logs of its containers: reading, following, rotating.
#include <kj/debug.h>
#include <sys/inotify.h>
#include <sys/statvfs.h>

#include "log-file.h"
#include "oci-runtime.h"
#include "orch/attempt.h"

namespace orch::runtime {

namespace {

using Stage = Container::Stage;

// Of the loop's thread and one worker job at a time.
using Cursor = std::shared_ptr<LogCursor>;

struct Batch {
  std::vector<LogEntry> entries;
  bool atEnd = false;
};

// A signal that is set by a callback and waited for by one coroutine.
struct Bell {
  bool rung = false;
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> waiting;

  void ring() {
    rung = true;
    KJ_IF_MAYBE (fulfiller, waiting) (*fulfiller)->fulfill();
    waiting = nullptr;
  }
  kj::Promise<void> next() {
    if (rung) return kj::READY_NOW;
    auto pair = kj::newPromiseAndFulfiller<void>();
    waiting = kj::mv(pair.fulfiller);
    return kj::mv(pair.promise);
  }
};

kj::Promise<void> send(schema::LogSink::Client& sink, const Batch& batch,
                       const Container& container, kj::StringPtr nodeId) {
  auto request = sink.linesRequest();
  auto lines = request.initLines(batch.entries.size());
  for (uint32_t i = 0; i < lines.size(); ++i) {
    auto& entry = batch.entries[i];
    lines[i].setTimeNs(entry.timeNs);
    lines[i].setStream(entry.isError ? schema::LogLine::Stream::STDERR
                                     : schema::LogLine::Stream::STDOUT);
    lines[i].setText(
        kj::arrayPtr(reinterpret_cast<const kj::byte*>(entry.text.data()), entry.text.size()));
    lines[i].setTaskId(container.id.c_str());
    lines[i].setTaskName(container.taskName.c_str());
    lines[i].setNodeId(nodeId);
    lines[i].setPartial(entry.partial);
  }
  return request.send().ignoreResult();
}

// A look at one container's log, for a worker thread.
struct LookJob {
  std::string id;
  std::string folder;
  std::string bundle;
  uint64_t maxBytes;
  uint32_t maxFiles;
  bool askAgain;
  LogLook look;
  kj::String trouble;
};

// A request to conmon that has not been heeded for so long has been lost.
constexpr auto ASK_AGAIN_AFTER = 2 * kj::SECONDS;
// Of a file system with less than that no line is written any more.
constexpr uint64_t FULL_BYTES = 4096;

bool isFull(const std::string& folder) {
  struct statvfs info;
  if (statvfs(folder.c_str(), &info) != 0) return false;
  return uint64_t(info.f_bfree) * info.f_frsize < FULL_BYTES;
}

struct Looked {
  std::vector<LookJob> jobs;
  bool full = false;
};
Looked lookAtLogs(const std::string& disk, std::vector<LookJob> jobs) {
  Looked looked;
  looked.full = isFull(disk);
  for (auto& job : jobs) {
    auto look = attemptNow([&] {
      return rotateLog(job.folder, job.bundle, job.maxBytes, job.maxFiles, job.askAgain);
    });
    if (look.ok()) {
      job.look = look.value();
    } else {
      job.trouble = kj::str(look.message());
    }
  }
  looked.jobs = std::move(jobs);
  return looked;
}

}  // namespace

Task<void> OciRuntime::logs(kj::String id, schema::LogOptions::Reader options,
                            schema::LogSink::Client sink) {
  auto container = kj::addRef(*find(id).container);
  auto folder = maker->layout.disk(container->id);
  bool follow = options.getFollow();
  auto tail = options.getTail();
  auto sinceNs = options.getSinceNs();
  auto bell = kj::heap<Bell>();
  kj::Maybe<kj::Own<Inotify::Watch>> watch;
  if (follow && container->stage != Stage::EXITED) {
    watch = KJ_ASSERT_NONNULL(inotify).watch(folder, IN_MODIFY | IN_CREATE | IN_MOVED_TO,
                                             [&bell = *bell](kj::StringPtr) { bell.ring(); });
  }
  auto opening = env.workers().run(
      [folder, tail, sinceNs] { return std::make_shared<LogCursor>(folder, tail, sinceNs); });
  Cursor cursor = co_await opening;
  for (;;) {
    bell->rung = false;
    bool ended = container->stage == Stage::EXITED;  // asked before reading: then all is there
    auto reading = env.workers().run([cursor] {
      Batch batch;
      batch.entries = cursor->read(batch.atEnd);
      return batch;
    });
    Batch batch = co_await reading;
    if (!batch.entries.empty()) {
      // The next batch is read when this one has been taken: a slow reader costs only itself.
      co_await send(sink, batch, *container, host.node().id);
    }
    if (!batch.atEnd) continue;
    if (ended) {
      batch.entries = cursor->readCutOff();
      if (!batch.entries.empty()) co_await send(sink, batch, *container, host.node().id);
    }
    if (!follow || ended) co_return;
    auto more = bell->next().exclusiveJoin(container->whenExited());
    co_await more;
  }
}

// ---- limits -------------------------------------------------------------------------------------

void OciRuntime::keepLogOf(Container& container) {
  auto now = env.timer().now();
  auto& watch = container.log;
  watch.everyMs = kj::min(FIRST_LOOK_MS, maker->options.logCheckMs);
  watch.lookedAt = now;
  watch.due = now + watch.everyMs * kj::MILLISECONDS;
  if (!keepingLogs) {
    keepingLogs = true;
    tasks.add(keepLogs().promise());
  } else if (watch.due < nextLook) {
    KJ_IF_MAYBE (sooner, lookSooner) (*sooner)->fulfill();
  }
}

Task<void> OciRuntime::keepLogs() {
  for (;;) {
    bool any = false;
    for (auto& entry : containers) {
      auto& container = *entry.second.container;
      if (container.stage != Stage::RUNNING) continue;
      if (!any || container.log.due < nextLook) nextLook = container.log.due;
      any = true;
    }
    if (!any) break;
    auto bell = kj::newPromiseAndFulfiller<void>();
    lookSooner = kj::mv(bell.fulfiller);
    auto due = env.timer().atTime(nextLook).exclusiveJoin(kj::mv(bell.promise));
    co_await due;
    auto looked = co_await attempt(lookAtDueLogs());
    if (looked.ok()) continue;
    // Without a thread for it, say: the next look may have one.
    host.log().warn("runtime.log-not-rotated", {{"reason", looked.message()}});
    co_await afterMs(maker->options.logCheckMs);
  }
  keepingLogs = false;
}

Task<void> OciRuntime::lookAtDueLogs() {
  auto now = env.timer().now();
  std::vector<LookJob> jobs;
  for (auto& entry : containers) {
    auto& container = *entry.second.container;
    if (container.stage != Stage::RUNNING || container.log.due > now) continue;
    auto missing = container.log.missingSince;
    bool askAgain = missing != kj::origin<kj::TimePoint>() && now - missing > ASK_AGAIN_AFTER;
    if (askAgain) container.log.missingSince = now;
    jobs.push_back({container.id,
                    maker->layout.disk(container.id),
                    maker->layout.bundle(container.id),
                    container.logMaxBytes,
                    container.logMaxFiles,
                    askAgain,
                    {},
                    nullptr});
  }
  if (jobs.empty()) co_return;
  auto disk = maker->layout.containers();
  auto looking = env.workers().run(
      [disk, jobs = std::move(jobs)]() mutable { return lookAtLogs(disk, std::move(jobs)); });
  auto looked = co_await looking;
  for (auto& job : looked.jobs) {
    auto found = containers.find(job.id);
    if (found == containers.end()) continue;
    if (job.trouble.size() == 0) noteLook(*found->second.container, job.look);
    noteLogTrouble(*found->second.container, job.trouble);
  }
  if (looked.full != diskFull) {
    diskFull = looked.full;
    host.log().warn("runtime.log-full",
                    {{"folder", disk.c_str()},
                     {"reason", diskFull ? "no space left: what containers write to their logs is "
                                           "lost, until there is some again"
                                         : "over: there is space again, logs go on"}});
  }
}

void OciRuntime::noteLook(Container& container, const LogLook& look) {
  auto now = env.timer().now();
  auto& watch = container.log;
  if (look.missing) {
    if (watch.missingSince == kj::origin<kj::TimePoint>()) watch.missingSince = now;
    watch.everyMs = kj::min(2 * watch.everyMs, maker->options.logCheckMs);
  } else {
    uint64_t elapsedMs = kj::max((now - watch.lookedAt) / kj::MILLISECONDS, 1);
    uint64_t grown = look.bytes >= watch.bytes ? look.bytes - watch.bytes : look.bytes;
    watch.bytes = look.rotated ? 0 : look.bytes;
    uint64_t limit = container.logMaxBytes == 0 ? uint64_t(1) << 60 : container.logMaxBytes;
    uint64_t left = limit > watch.bytes ? limit - watch.bytes : 0;
    watch.everyMs = nextLookMs(grown, elapsedMs, left, watch.everyMs, maker->options.logCheckMs);
    watch.lookedAt = now;
    watch.missingSince = kj::origin<kj::TimePoint>();
  }
  watch.due = dueAfter(now, watch.everyMs, maker->options.logCheckMs);
}

// One container's trouble is not another's: it is said once, and tried again at the usual pace.
void OciRuntime::noteLogTrouble(Container& container, kj::StringPtr trouble) {
  auto& watch = container.log;
  if (trouble.size() > 0) {
    if (!watch.failing) {
      host.log().warn("runtime.log-not-rotated",
                      {{"container", container.id.c_str()}, {"reason", trouble}});
    }
    watch.everyMs = maker->options.logCheckMs;
    watch.lookedAt = env.timer().now();
    watch.due = dueAfter(watch.lookedAt, watch.everyMs, maker->options.logCheckMs);
  }
  watch.failing = trouble.size() > 0;
}

}  // namespace orch::runtime
