// What OciRuntime does about the logs of its containers: reading, following, rotating.
#include <kj/debug.h>
#include <sys/inotify.h>

#include "log-file.h"
#include "oci-runtime.h"

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

struct RotationJob {
  std::string folder;
  std::string bundle;
  uint64_t maxBytes;
  uint32_t maxFiles;
};

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
    if (!follow || ended) co_return;
    auto more = bell->next().exclusiveJoin(container->whenExited());
    co_await more;
  }
}

void OciRuntime::startKeepingLogs() {
  if (keepingLogs) return;
  keepingLogs = true;
  tasks.add(keepLogs().promise());
}

Task<void> OciRuntime::keepLogs() {
  for (;;) {
    co_await env.timer().afterDelay(maker->options.logCheckMs * kj::MILLISECONDS);
    std::vector<RotationJob> jobs;
    for (auto& entry : containers) {
      auto& container = *entry.second.container;
      if (container.stage != Stage::RUNNING) continue;
      jobs.push_back({maker->layout.disk(container.id), maker->layout.bundle(container.id),
                      container.logMaxBytes, container.logMaxFiles});
    }
    if (jobs.empty()) break;
    auto rotating = env.workers().run([jobs] {
      for (auto& job : jobs) rotateLog(job.folder, job.bundle, job.maxBytes, job.maxFiles);
    });
    co_await rotating;
  }
  keepingLogs = false;
}

}  // namespace orch::runtime
