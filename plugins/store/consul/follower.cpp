#include "follower.h"

#include <algorithm>

#include "lib/seal.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::store::consul {

namespace {

constexpr kj::Duration FIRST_FOLLOW_PAUSE = 20 * kj::MILLISECONDS;
constexpr kj::Duration LAST_FOLLOW_PAUSE = 1 * kj::SECONDS;
// A server that has lost the others keeps a question for as long: after that it has to know better.
constexpr kj::Duration FOLLOW_WAIT = 5 * kj::SECONDS;
// Changes that are read at once, of up to VALUES_IN_CHANGE each.
constexpr uint64_t CHANGES_AT_ONCE = 32;

}  // namespace

Follower::Follower(ConsulStore& store, uint64_t from, schema::ChangeSink::Client sink)
    : store(store), layout(store.layout), position(from), sink(kj::mv(sink)) {
  // One whose sink fails has nobody left to tell.
  running = run().promise().eagerlyEvaluate([](kj::Exception&&) {});
}

Task<void> Follower::run() {
  auto pause = FIRST_FOLLOW_PAUSE;
  for (;;) {
    auto before = position;
    auto outcome = co_await attempt(watch());
    if (sinkFailed) co_return;
    if (outcome.ok()) continue;
    pause = position > before ? FIRST_FOLLOW_PAUSE : kj::min(pause * 2, LAST_FOLLOW_PAUSE);
    if (!told) store.log.warn("store.watch-lost, retrying", {{"reason", outcome.message()}});
    told = true;
    store.client.leave();
    co_await store.env.timer().afterDelay(pause);
  }
}

Task<void> Follower::watch() {
  co_await store.look();
  uint64_t index = store.head() ? store.head()->index : 0;
  for (;;) {
    if (store.head()) {
      if (!number) number = co_await locate();
      if (!number) co_await resync();
      co_await catchUp();
      index = store.head()->index;
    }
    auto path = "/v1/kv/" + layout.head() + "?consistent&index=" + std::to_string(index);
    auto reply = co_await store.client.block(path, FOLLOW_WAIT);
    if (told) store.log.info("store.watch-works");
    told = false;
    // Also who waits in vain looks whether the state is still the one that was known.
    co_await store.look();
    index = store.head() ? store.head()->index : reply.index;
  }
}

Task<std::optional<uint64_t>> Follower::indexOf(uint64_t of) {
  auto key = layout.change(of);
  TxnRequest txn;
  txn.get(key);
  auto answer = co_await store.client.transact(txn);
  auto* change = answer.of(key);
  if (change == nullptr) co_return std::nullopt;
  co_return change->modifyIndex;
}

Task<std::optional<uint64_t>> Follower::locate() {
  auto head = *store.head();
  auto first = store.founding()->trimmed;
  // From a revision that this store never had: its history is another one.
  if (position > head.revision()) co_return std::nullopt;
  if (position == head.revision()) co_return head.number;
  if (position == 0) co_return first == 0 ? std::optional<uint64_t>(0) : std::nullopt;
  // The last batch that is not after the position is between these two.
  uint64_t low = first, high = head.number;
  while (low + 1 < high) {
    auto middle = low + (high - low) / 2;
    auto index = co_await indexOf(middle);
    if (!index) co_return std::nullopt;  // forgotten meanwhile
    (*index <= position ? low : high) = middle;
  }
  // Whether the last one of those that are forgotten is known to the follower, nobody can tell.
  if (low == first && first > 0) co_return std::nullopt;
  co_return low;
}

Task<void> Follower::catchUp() {
  while (*number < store.head()->number) {
    auto last = std::min(store.head()->number, *number + CHANGES_AT_ONCE);
    TxnRequest txn;
    for (auto i = *number + 1; i <= last; ++i) txn.get(layout.change(i));
    auto answer = co_await store.client.transact(txn);
    if (!answer.errors.empty()) {
      auto missing = *number + 1 + answer.errors[0].index;
      co_await store.look();
      if (store.founding()->trimmed < missing) {
        store.failDamaged("the state without one of its changes", layout.change(missing), 0);
      }
      co_await resync();
      continue;
    }
    for (auto i = *number + 1; i <= last; ++i) {
      auto* change = answer.of(layout.change(i));
      if (change == nullptr) fail(kj::str(store.client.refusal("Permission denied").c_str()));
      auto before = *number;
      co_await tell(*change);
      if (*number != before + 1) break;  // it was told to resync
    }
  }
}

bool Follower::fill(schema::ChangeSink::ChangesParams::Builder params,
                    const KeyValue& change) const {
  auto content = layout.unsealed(change.key, change.value);
  if (!content || content->empty()) return false;
  auto words = wordsOf(content->substr(1));
  BatchReader reader(words);
  params.setRevision(change.modifyIndex);
  params.setOps(reader.get().getOps());
  return true;
}

Task<bool> Follower::fetch(schema::ChangeSink::ChangesParams::Builder params) {
  auto revision = params.getRevision();
  auto ops = params.getOps();
  TxnRequest txn;
  for (auto op : ops) {
    if (op.isPut()) txn.get(layout.object(viewOf(op.getKind()), viewOf(op.getKey())));
  }
  auto answer = co_await store.client.transact(txn);
  if (!answer.errors.empty()) co_return false;
  for (auto op : ops) {
    if (!op.isPut()) continue;
    auto* object = answer.of(layout.object(viewOf(op.getKind()), viewOf(op.getKey())));
    bool same = object != nullptr && object->modifyIndex == revision;
    if (!same) co_return false;
    auto value = layout.unsealed(object->key, object->value);
    bool good = value && value->size() >= NUMBER_BYTES;
    if (!good) co_return false;
    auto rest = value->substr(NUMBER_BYTES);
    op.setPut(kj::arrayPtr(rest.data(), rest.size()).asBytes());
  }
  co_return true;
}

Task<void> Follower::tell(const KeyValue& change) {
  auto request = sink.changesRequest();
  bool good = fill(request, change);
  auto content = layout.unsealed(change.key, change.value);
  bool names = good && content->front() == NAMES;
  if (names) good = co_await fetch(request);
  if (!good) {
    // A load says by name what is damaged; it has the newest values as well.
    co_await store.look();
    co_await resync();
    co_return;
  }
  position = change.modifyIndex;
  ++*number;
  auto sent = co_await attempt(request.send());
  sinkFailed = !sent.ok();
  if (sinkFailed) kj::throwFatalException(kj::mv(sent.error()));
}

Task<void> Follower::resync() {
  position = store.head()->revision();
  number = store.head()->number;
  auto request = sink.resyncRequest();
  request.setRevision(position);
  auto sent = co_await attempt(request.send());
  sinkFailed = !sent.ok();
  if (sinkFailed) kj::throwFatalException(kj::mv(sent.error()));
}

}  // namespace orch::store::consul
