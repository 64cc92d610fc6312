#include "change-feed.h"

#include <kj/debug.h>

#include <algorithm>

namespace orch::store::local {

namespace {
FlatBatch batchOf(const std::string& bytes) {
  auto words = kj::heapArray<capnp::word>(bytes.size() / sizeof(capnp::word));
  memcpy(words.begin(), bytes.data(), words.asBytes().size());
  return std::make_shared<const kj::Array<capnp::word>>(kj::mv(words));
}
}  // namespace

Follower::Follower(ChangeFeed& feed, uint64_t from, schema::ChangeSink::Client sink)
    : feed(feed), position(from), sink(kj::mv(sink)) {
  if (feed.followers.size() >= ChangeFeed::MAX_FOLLOWERS) {
    kj::throwFatalException(KJ_EXCEPTION(OVERLOADED, "too many followers of one store"));
  }
  feed.followers.push_back(this);
  // One that fails has nobody left to tell.
  running = run().promise().eagerlyEvaluate([](kj::Exception&&) {});
}

Follower::~Follower() noexcept(false) {
  auto& all = feed.followers;
  all.erase(std::find(all.begin(), all.end(), this));
  if (all.empty()) {
    feed.recent.clear();
    feed.recentBytes = 0;
  }
}

Task<void> Follower::run() {
  // From a revision that this store never had: its history is another one.
  if (position > feed.revision) co_await resync(feed.revision);
  for (;;) {
    if (position >= feed.revision) {
      auto pair = kj::newPromiseAndFulfiller<void>();
      wake = kj::mv(pair.fulfiller);
      co_await pair.promise;
      continue;
    }
    auto batch = feed.recentAt(position + 1);
    if (batch != nullptr) {
      co_await send(position + 1, kj::mv(batch));
    } else {
      co_await readOn();
    }
  }
}

Task<void> Follower::send(uint64_t revision, FlatBatch batch) {
  BatchReader reader(*batch);
  auto ops = reader.get().getOps();
  auto request = sink.changesRequest();
  request.setRevision(revision);
  request.setOps(ops);
  co_await request.send();
  position = revision;
}

Task<void> Follower::readOn() {
  auto from = position;
  auto reading = feed.queue.call([from](LocalStore& store) { return store.changesAfter(from); });
  auto chunk = co_await reading;
  if (chunk.gone) co_await resync(chunk.revision);
  for (auto& row : chunk.rows) co_await send(row.revision, batchOf(row.ops));
}

Task<void> Follower::resync(uint64_t revision) {
  auto request = sink.resyncRequest();
  request.setRevision(revision);
  co_await request.send();
  position = revision;
}

void ChangeFeed::committed(uint64_t committed, const FlatBatch& batch) {
  if (!followers.empty()) {
    if (!recent.empty() && recent.back().revision + 1 != committed) {
      recent.clear();
      recentBytes = 0;
    }
    recent.push_back(Recent{committed, batch});
    recentBytes += batch->asBytes().size();
    while (recent.size() > MAX_RECENT || recentBytes > MAX_RECENT_BYTES) {
      recentBytes -= recent.front().batch->asBytes().size();
      recent.pop_front();
    }
  }
  revision = committed;
  for (auto* follower : followers) {
    KJ_IF_MAYBE (fulfiller, follower->wake) {
      (*fulfiller)->fulfill();
      follower->wake = nullptr;
    }
  }
}

FlatBatch ChangeFeed::recentAt(uint64_t wanted) const {
  if (recent.empty() || wanted < recent.front().revision || wanted > recent.back().revision) {
    return nullptr;
  }
  return recent[wanted - recent.front().revision].batch;
}

}  // namespace orch::store::local
