#include "lib/task-feed.h"

#include <algorithm>
#include <utility>

namespace orch::control {

TaskFeed::TaskFeed(Env& env, Source& source, uint64_t limitMs)
    : env(env), source(source), limitMs(limitMs) {}

void TaskFeed::changed(kj::StringPtr id) {
  ++version;
  for (auto* watch : watches) {
    watch->dirty.insert(id.cStr());
    if (watch->wanted.get() != nullptr) watch->wanted->fulfill();
  }
}

Task<bool> TaskFeed::settled() {
  if (watches.empty()) co_return true;
  auto pair = kj::newPromiseAndFulfiller<uint32_t>();
  waiters.push_back(Waiter{version, kj::mv(pair.fulfiller)});
  release();
  auto answered = pair.promise.then([](uint32_t ms) { return kj::Maybe<uint32_t>(ms); });
  auto late = env.timer().afterDelay(limitMs * kj::MILLISECONDS).then([]() {
    return kj::Maybe<uint32_t>();
  });
  auto noticed = co_await answered.exclusiveJoin(kj::mv(late));
  auto moreMs = kj::min(noticed.orDefault(0), limitMs);
  if (moreMs > 0) co_await env.timer().afterDelay(moreMs * kj::MILLISECONDS);
  co_return noticed != nullptr;
}

Task<void> TaskFeed::watch(schema::TaskSink::Client sink) {
  Watch watch;
  watches.push_back(&watch);
  KJ_DEFER(end(watch));
  for (;;) {
    if (!watch.whole && watch.dirty.empty()) {
      auto pair = kj::newPromiseAndFulfiller<void>();
      watch.wanted = kj::mv(pair.fulfiller);
      co_await pair.promise;
    }
    // What changes in one turn of the loop is one call.
    co_await kj::evalLast([]() {});
    auto including = version;
    auto noticedMs = co_await tell(watch, sink);
    watch.told = including;
    watch.noticedMs = noticedMs;
    release();
  }
}

kj::Promise<uint32_t> TaskFeed::tell(Watch& watch, schema::TaskSink::Client& sink) {
  bool whole = std::exchange(watch.whole, false);
  auto dirty = std::exchange(watch.dirty, {});
  auto ids = whole ? source.fedTasks() : std::vector<std::string>(dirty.begin(), dirty.end());
  auto there = std::stable_partition(ids.begin(), ids.end(),
                                     [&](const std::string& id) { return source.isFed(id); });
  auto request = sink.updateRequest();
  request.setComplete(whole);
  auto entries = request.initTasks(there - ids.begin());
  for (uint32_t i = 0; i < entries.size(); ++i) source.feed(ids[i], entries[i]);
  auto gone = request.initGone(ids.end() - there);
  for (uint32_t i = 0; i < gone.size(); ++i) gone.set(i, there[i].c_str());
  return request.send().then([](auto&& answer) { return answer.getNoticedMs(); });
}

void TaskFeed::end(Watch& watch) {
  std::erase(watches, &watch);
  release();
}

void TaskFeed::release() {
  uint64_t least = version;
  uint32_t noticedMs = 0;
  for (auto* watch : watches) {
    least = std::min(least, watch->told);
    noticedMs = std::max(noticedMs, watch->noticedMs);
  }
  std::erase_if(waiters, [&](Waiter& waiter) {
    if (waiter.version > least) return false;
    waiter.fulfiller->fulfill(kj::cp(noticedMs));
    return true;
  });
}

}  // namespace orch::control
