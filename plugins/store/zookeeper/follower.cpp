#include "follower.h"

#include <algorithm>

#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::store::zookeeper {

namespace {

constexpr kj::Duration FIRST_FOLLOW_PAUSE = 20 * kj::MILLISECONDS;
constexpr kj::Duration LAST_FOLLOW_PAUSE = 1 * kj::SECONDS;
// Records that are asked for at once.
constexpr uint64_t AHEAD = 32;

}  // namespace

Follower::Follower(Env& env, ZookeeperStore& store, Log& log, uint64_t from,
                   schema::ChangeSink::Client sink)
    : env(env), store(store), log(log), position(from), sink(kj::mv(sink)) {
  // One whose sink fails has nobody left to tell.
  running = run().promise().eagerlyEvaluate([](kj::Exception&&) {});
}

Task<void> Follower::run() {
  auto pause = FIRST_FOLLOW_PAUSE;
  for (;;) {
    auto before = position;
    auto watching = store.servers().connected().then([this] { return watch().promise(); });
    auto outcome = co_await attempt(kj::mv(watching));
    if (sinkFailed || outcome.ok()) co_return;
    pause = position > before ? FIRST_FOLLOW_PAUSE : kj::min(pause * 2, LAST_FOLLOW_PAUSE);
    // That the connection is lost is told by the store.
    bool strange = outcome.error().getType() != kj::Exception::Type::DISCONNECTED;
    if (strange && !told) log.warn("store.watch-lost, retrying", {{"reason", outcome.message()}});
    told = told || strange;
    co_await env.timer().afterDelay(pause);
  }
}

Task<void> Follower::waitForState() {
  auto made = store.servers().watchMade(store.paths().head());
  auto read = co_await made.read;
  if (read.code != Code::OK) co_await made.changed;
}

Task<void> Follower::watch() {
  auto at = co_await store.glance();
  while (!at.there) {
    if (position > 0) co_await resync();
    co_await waitForState();
    at = co_await store.glance();
  }
  // From a revision that this store never had: its history is another one.
  if (position > at.head.number) co_await resync();
  for (;;) {
    auto watched = store.servers().watch(store.paths().head());
    auto read = co_await watched.read;
    if (read.code != Code::OK) store.servers().failWith(read.code);
    auto head = Head::read(read.value);
    if (!head) fail(kj::str("the node 'head' is damaged"));
    if (told) log.info("store.watch-works");
    told = false;
    bool gone = position + 1 < head->first;
    if (gone) {
      co_await resync();
    } else {
      co_await tell(head->number);
      co_await compare(*head);
    }
    co_await watched.changed;
  }
}

Task<void> Follower::tell(uint64_t to) {
  while (position < to) {
    auto end = std::min(to, position + AHEAD);
    std::vector<kj::Promise<std::optional<Change>>> reads;
    for (auto number = position + 1; number <= end; ++number) {
      reads.push_back(store.change(number));
    }
    for (size_t i = 0; i < reads.size(); ++i) {
      auto outcome = co_await attempt(kj::mv(reads[i]));
      bool lost = !outcome.ok() && outcome.error().getType() == kj::Exception::Type::DISCONNECTED;
      if (lost) kj::throwFatalException(kj::mv(outcome.error()));
      bool good = false;
      if (outcome.ok()) good = co_await tellOne(position + 1, kj::mv(outcome.value()));
      if (good) continue;
      // Of what is damaged a load says more.
      co_await resync();
      co_return;
    }
  }
}

Task<bool> Follower::tellOne(uint64_t number, std::optional<Change> change) {
  if (!change) co_return false;
  if (!change->applied) {
    position = number;
    co_return true;
  }
  BatchReader reader(change->batch);
  auto ops = reader.get().getOps();
  auto request = sink.changesRequest();
  request.setRevision(number);
  auto list = request.initOps(ops.size());
  for (uint32_t i = 0; i < ops.size(); ++i) {
    list.setWithCaveats(i, ops[i]);
    if (!change->left[i]) continue;
    auto name = nameOf(viewOf(ops[i].getKind()), viewOf(ops[i].getKey()));
    auto object = co_await store.object(name);
    bool same = object && object->revision == number;
    if (!same) co_return false;
    list[i].setPut(kj::arrayPtr(object->value.data(), object->value.size()).asBytes());
  }
  position = number;
  sum = sumAfter(sum, number, reader.get());
  co_await send(kj::mv(request));
  co_return true;
}

Task<void> Follower::compare(const Head& head) {
  if (position != head.number) co_return;  // it has been told to begin anew
  bool differs = sum && head.sum && *sum != *head.sum;
  if (differs) {
    co_await resync();
    store.leaveServer("has records that do not lead to revision " + std::to_string(head.revision));
  }
  sum = head.sum;
  store.followedTo(position);
}

Task<void> Follower::resync() {
  auto at = co_await store.glance();
  position = at.head.number;
  sum = at.head.sum;
  auto request = sink.resyncRequest();
  request.setRevision(at.head.revision);
  co_await send(kj::mv(request));
}

template <typename R>
Task<void> Follower::send(R request) {
  auto sent = co_await attempt(request.send());
  sinkFailed = !sent.ok();
  if (sinkFailed) kj::throwFatalException(kj::mv(sent.error()));
}

}  // namespace orch::store::zookeeper
