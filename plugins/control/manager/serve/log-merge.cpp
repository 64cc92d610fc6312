#include "serve/log-merge.h"

#include <kj/debug.h>

#include <algorithm>

namespace orch::control::manager {

namespace {
constexpr size_t LINES_AT_ONCE = 256;
}  // namespace

class LogMerge::Sink final : public schema::LogSink::Server {
 public:
  Sink(kj::Own<LogMerge> merge, uint64_t log) : merge(kj::mv(merge)), log(log) {}
  kj::Promise<void> lines(LinesContext context) override { return merge->take(log, context); }

 private:
  kj::Own<LogMerge> merge;
  const uint64_t log;
};

uint64_t LogMerge::begin(bool late) {
  auto id = ++lastId;
  auto patience = follow ? FIRST_PATIENCE : END_PATIENCE;
  logs[id].quietUntil = env.timer().now() + (late ? 0 * kj::SECONDS : patience);
  return id;
}

schema::LogSink::Client LogMerge::sinkOf(uint64_t log) {
  return kj::heap<Sink>(kj::addRef(*this), log);
}

void LogMerge::end(uint64_t log) {
  auto it = logs.find(log);
  if (it == logs.end()) return;
  if (it->second.call != nullptr) heads.erase({it->second.timeNs, log});
  logs.erase(it);
  wake();
}

void LogMerge::finish() {
  finishing = true;
  wake();
}

void LogMerge::close() {
  closed = true;
  heads.clear();
  logs.clear();
}

void LogMerge::wake() {
  if (changed.get() != nullptr) changed->fulfill();
}

kj::Promise<void> LogMerge::take(uint64_t id, LinesContext context) {
  auto it = logs.find(id);
  if (closed || it == logs.end()) {
    return KJ_EXCEPTION(DISCONNECTED, "nobody reads these logs any more");
  }
  auto& log = it->second;
  KJ_REQUIRE(log.call == nullptr, "one call at a time");
  if (context.getParams().getLines().size() == 0) return kj::READY_NOW;
  auto pair = kj::newPromiseAndFulfiller<void>();
  log.passedOn = kj::mv(pair.fulfiller);
  log.call = context;
  log.next = 0;
  log.since = env.timer().now();
  place(id, log);
  wake();
  return kj::mv(pair.promise);
}

void LogMerge::place(uint64_t id, Log& log) {
  auto lines = KJ_ASSERT_NONNULL(log.call).getParams().getLines();
  log.timeNs = std::max(log.timeNs, lines[log.next].getTimeNs());
  heads.emplace(log.timeNs, id);
}

LogMerge::Logs::iterator LogMerge::nextOne(kj::TimePoint now, kj::TimePoint& look) {
  if (heads.empty()) return logs.end();
  auto first = logs.find(heads.begin()->second);
  if (heads.size() == logs.size()) return first;
  // Some say nothing: whatever they say next may be earlier.
  look = kj::origin<kj::TimePoint>();
  for (auto& entry : logs) {
    if (entry.second.call == nullptr) look = std::max(look, entry.second.quietUntil);
  }
  if (follow) look = std::max(look, first->second.since + PATIENCE);
  return look <= now ? first : logs.end();
}

Task<void> LogMerge::run() {
  for (;;) {
    auto pair = kj::newPromiseAndFulfiller<void>();
    changed = kj::mv(pair.fulfiller);
    auto now = env.timer().now();
    auto look = now;
    std::vector<Part> parts;
    while (parts.size() < LINES_AT_ONCE) {
      auto it = nextOne(now, look);
      if (it == logs.end()) break;
      auto& log = it->second;
      heads.erase({log.timeNs, it->first});
      parts.push_back({it->first, log.next++});
      bool more = log.next < KJ_ASSERT_NONNULL(log.call).getParams().getLines().size();
      if (!more) break;  // what it says next is not known
      place(it->first, log);
    }
    if (!parts.empty()) {
      co_await send(parts);
      continue;
    }
    if (finishing && logs.empty()) co_return;
    auto woken = kj::mv(pair.promise);
    if (!heads.empty()) {
      auto late = env.timer().atTime(look);
      woken = woken.exclusiveJoin(kj::mv(late));
    }
    co_await woken;
  }
}

kj::Promise<void> LogMerge::send(const std::vector<Part>& parts) {
  auto request = sink.linesRequest();
  auto lines = request.initLines(parts.size());
  for (uint32_t i = 0; i < lines.size(); ++i) {
    auto& log = logs.at(parts[i].log);
    lines.setWithCaveats(i, KJ_ASSERT_NONNULL(log.call).getParams().getLines()[parts[i].line]);
  }
  return request.send().ignoreResult().then([this, last = parts.back().log]() {
    auto it = logs.find(last);
    if (it == logs.end()) return;
    auto& log = it->second;
    KJ_IF_MAYBE (call, log.call) {
      if (log.next < call->getParams().getLines().size()) return;
      log.call = nullptr;
      if (!follow) log.quietUntil = env.timer().now() + END_PATIENCE;
      log.passedOn->fulfill();
    }
  });
}

}  // namespace orch::control::manager
