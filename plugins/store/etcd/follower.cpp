#include "follower.h"

#include <utility>

#include "lib/seal.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::store::etcd {

namespace {

constexpr kj::Duration FIRST_WATCH_PAUSE = 20 * kj::MILLISECONDS;
constexpr kj::Duration LAST_WATCH_PAUSE = 1 * kj::SECONDS;
// A member that has lost the others accepts a watch and is silent for ever: so the rest are asked
// whether there is anything to tell.
constexpr kj::Duration SILENCE_CHECK = 5 * kj::SECONDS;

}  // namespace

Follower::Follower(Env& env, Client& client, EtcdStore& store, const Layout& layout, Log& log,
                   uint64_t from, schema::ChangeSink::Client sink)
    : env(env),
      client(client),
      store(store),
      layout(layout),
      log(log),
      position(from),
      sink(kj::mv(sink)) {
  // One whose sink fails has nobody left to tell.
  running = run().promise().eagerlyEvaluate([](kj::Exception&&) {});
}

Task<void> Follower::run() {
  auto pause = FIRST_WATCH_PAUSE;
  for (;;) {
    auto before = position;
    auto joined = watch().promise().exclusiveJoin(noticeSilence());
    auto outcome = co_await attempt(kj::mv(joined));
    waiting = false;
    open = Group();
    if (sinkFailed) co_return;
    if (outcome.ok()) continue;  // from another place
    pause = position > before ? FIRST_WATCH_PAUSE : kj::min(pause * 2, LAST_WATCH_PAUSE);
    if (!told) log.warn("store.watch-lost, retrying", {{"reason", outcome.message()}});
    told = true;
    client.leave();
    co_await env.timer().afterDelay(pause);
  }
}

Task<void> Follower::watch() {
  auto at = co_await store.look();
  auto before = std::exchange(stateId, store.known().id);
  bool another = !before.empty() && before != stateId;  // an etcd was made anew, see `forget`
  // Or from a revision that this store never had: its history is another one.
  if (another || position > at.revision) co_await resync(at.revision);
  // Others' changes may be compacted, but nothing of ours is missed.
  auto start = at.revision <= position ? at.now + 1 : position + 1;
  auto lines = co_await client.watch(watchRequest(layout.all(), start));
  for (;;) {
    waiting = true;
    auto line = co_await lines->next();
    waiting = false;
    auto message = readWatch(line);
    if (told) log.info("store.watch-works");
    told = false;
    if (message.canceled && message.compactRevision == 0) {
      fail(kj::str("the watch was ended: ", message.reason.c_str()));
    }
    if (message.canceled) {
      auto now = co_await store.look();
      co_await resync(now.revision);
      co_return;
    }
    co_await take(kj::mv(message));
  }
}

Task<void> Follower::noticeSilence() {
  for (;;) {
    co_await env.timer().afterDelay(SILENCE_CHECK);
    auto outcome = co_await attempt(store.look());
    if (!outcome.ok()) continue;
    auto there = outcome.value().revision;
    if (position >= there) continue;
    co_await env.timer().afterDelay(SILENCE_CHECK);
    if (waiting && position < there) fail(kj::str("a watch tells nothing of revision ", there));
  }
}

void Follower::add(WatchEvent& event, Group& group) const {
  auto& kv = event.kv;
  if (event.deleted) kv.value.clear();
  if (kv.key.starts_with(layout.objects())) {
    group.objects.push_back(kj::mv(kv));
  } else if (!event.deleted && layout.batchIdOf(kv.key)) {
    group.record = kj::mv(kv);
  }
}

Task<void> Follower::take(WatchMessage message) {
  for (auto& event : message.events) {
    if (event.kv.modRevision != open.revision) {
      auto whole = kj::mv(open);
      open = Group();
      open.revision = event.kv.modRevision;
      co_await finish(kj::mv(whole));
    }
    add(event, open);
  }
  if (message.fragment) co_return;
  auto whole = kj::mv(open);
  open = Group();
  co_await finish(kj::mv(whole));
}

bool Follower::fill(schema::ChangeSink::ChangesParams::Builder params, const Group& group) const {
  auto& record = KJ_ASSERT_NONNULL(group.record);
  auto content = layout.unseal(record.key, record.value);
  if (!content) return false;
  auto words = wordsOf(*content);
  BatchReader reader(words);
  auto ops = reader.get().getOps();
  if (ops.size() != group.objects.size()) return false;
  params.setRevision(group.revision);
  auto list = params.initOps(ops.size());
  for (uint32_t i = 0; i < ops.size(); ++i) {
    auto& object = group.objects[i];
    if (layout.object(viewOf(ops[i].getKind()), viewOf(ops[i].getKey())) != object.key) {
      return false;
    }
    list.setWithCaveats(i, ops[i]);
    if (ops[i].isDelete()) continue;
    auto value = layout.unseal(object.key, object.value);
    if (!value) return false;
    list[i].setPut(kj::arrayPtr(value->data(), value->size()).asBytes());
  }
  return true;
}

Task<void> Follower::finish(Group group) {
  // Everything else is not a batch: elections, trimmed records, what others write.
  bool isBatch = group.revision > position && group.record != nullptr;
  if (!isBatch) co_return;
  auto record =
      layout.unseal(KJ_ASSERT_NONNULL(group.record).key, KJ_ASSERT_NONNULL(group.record).value);
  bool givenUp = record && record->empty();
  if (givenUp) co_return;
  auto request = sink.changesRequest();
  if (!fill(request, group)) {
    // A load says by name what is damaged.
    auto now = co_await store.look();
    co_await resync(now.revision);
    co_return;
  }
  position = group.revision;
  auto sent = co_await attempt(request.send());
  sinkFailed = !sent.ok();
  if (sinkFailed) kj::throwFatalException(kj::mv(sent.error()));
}

Task<void> Follower::resync(uint64_t revision) {
  position = revision;
  auto request = sink.resyncRequest();
  request.setRevision(revision);
  auto sent = co_await attempt(request.send());
  sinkFailed = !sent.ok();
  if (sinkFailed) kj::throwFatalException(kj::mv(sent.error()));
}

}  // namespace orch::store::etcd
