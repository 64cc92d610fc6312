#include "commit-queue.h"

#include <kj/debug.h>

#include "orch/attempt.h"

namespace orch::store::local {

namespace {
size_t bytesOf(const PendingCommit& commit) { return commit.batch->asBytes().size(); }
}  // namespace

CommitQueue::CommitQueue(Workers& workers, kj::Timer& timer, std::shared_ptr<LocalStore> store,
                         Callbacks callbacks)
    : workers(workers), timer(timer), store(kj::mv(store)), callbacks(kj::mv(callbacks)) {}

kj::Maybe<kj::Exception> CommitQueue::whyNot() const {
  if (closing) return KJ_EXCEPTION(DISCONNECTED, "the store has stopped");
  if (items.size() >= MAX_WAITING || waitingBytes >= MAX_WAITING_BYTES) {
    return KJ_EXCEPTION(OVERLOADED, "the store has too much to write; try again later");
  }
  return nullptr;
}

kj::Promise<CommitAnswer> CommitQueue::commit(PendingCommit commit) {
  KJ_IF_MAYBE (exception, whyNot()) return kj::mv(*exception);
  auto pair = kj::newPromiseAndFulfiller<CommitAnswer>();
  waitingBytes += bytesOf(commit);
  Item item;
  item.commit = kj::mv(commit);
  item.answer = kj::mv(pair.fulfiller);
  items.push_back(kj::mv(item));
  kick();
  return kj::mv(pair.promise);
}

kj::Promise<void> CommitQueue::callErased(kj::Function<void(LocalStore&)> work) {
  KJ_IF_MAYBE (exception, whyNot()) return kj::mv(*exception);
  auto pair = kj::newPromiseAndFulfiller<void>();
  Item item;
  item.work = kj::mv(work);
  item.done = kj::mv(pair.fulfiller);
  items.push_back(kj::mv(item));
  kick();
  return kj::mv(pair.promise);
}

kj::Promise<void> CommitQueue::close() {
  if (closing) return kj::READY_NOW;
  auto closed = callErased([](LocalStore& store) { store.close(); });
  closing = true;
  return closed;
}

void CommitQueue::kick() {
  if (serving) return;
  serving = true;
  running = serve().promise().eagerlyEvaluate(nullptr);
}

Task<void> CommitQueue::serve() {
  for (;;) {
    bool checkpoint = !closing && !checkpointTried && store->checkpointDue() &&
                      (items.empty() || store->checkpointOverdue());
    if (noteDue) {
      co_await serveNote();
    } else if (checkpoint) {
      co_await serveCheckpoint();
    } else if (items.empty()) {
      break;
    } else if (items.front().commit) {
      co_await serveGroup();
      noteSoon();
    } else {
      co_await serveCall();
    }
  }
  serving = false;
}

Task<void> CommitQueue::serveGroup() {
  std::vector<kj::Own<kj::PromiseFulfiller<CommitAnswer>>> waiting;
  std::vector<PendingCommit> group;
  size_t bytes = 0;
  while (!items.empty() && items.front().commit && group.size() < MAX_GROUP &&
         bytes < MAX_GROUP_BYTES) {
    bytes += bytesOf(*items.front().commit);
    group.push_back(kj::mv(*items.front().commit));
    waiting.push_back(kj::mv(items.front().answer));
    items.pop_front();
  }
  waitingBytes -= bytes;
  checkpointTried = false;
  auto batches = group;
  auto written = workers.run([store = store, group = kj::mv(group)]() {
    return store->commit(kj::arrayPtr(group.data(), group.size()));
  });
  auto outcome = co_await attempt(kj::mv(written));
  for (size_t i = 0; i < waiting.size(); ++i) {
    if (!outcome.ok()) {
      waiting[i]->reject(kj::cp(outcome.error()));
      continue;
    }
    auto& answer = outcome.value()[i];
    if (answer.kind == CommitAnswer::Kind::COMMITTED) {
      callbacks.committed(answer.revision, batches[i].batch);
    }
    waiting[i]->fulfill(kj::mv(answer));
  }
}

Task<void> CommitQueue::serveCall() {
  auto item = kj::mv(items.front());
  items.pop_front();
  auto& work = KJ_ASSERT_NONNULL(item.work);
  auto done = workers.run([store = store, work = kj::mv(work)]() mutable { work(*store); });
  auto outcome = co_await attempt(kj::mv(done));
  if (outcome.ok()) {
    item.done->fulfill();
  } else {
    item.done->reject(kj::mv(outcome.error()));
  }
}

void CommitQueue::noteSoon() {
  if (noteWaits || closing || store->isNoted()) return;
  noteWaits = true;
  noting = timer.afterDelay(NOTED_AFTER)
               .then([this]() {
                 noteDue = true;
                 kick();
               })
               .eagerlyEvaluate(nullptr);
}

Task<void> CommitQueue::serveNote() {
  noteDue = false;
  noteWaits = false;
  if (closing) co_return;  // close() does it
  auto noted = workers.run([store = store]() { store->note(); });
  co_await noted;
}

Task<void> CommitQueue::serveCheckpoint() {
  checkpointTried = true;
  auto done = workers.run([store = store]() { store->checkpoint(); });
  auto outcome = co_await attempt(kj::mv(done));
  callbacks.checkpointEnded(outcome.ok() ? kj::StringPtr("") : outcome.message());
}

}  // namespace orch::store::local
