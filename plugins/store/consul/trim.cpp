// What consul holds of the past is kept within bounds: records of batches, and their changes.
#include <algorithm>
#include <vector>

#include "consul-store.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::store::consul {

namespace {
// Conditions, and the key `state`; of each batch go the record and the change.
constexpr size_t TRIM_AT_ONCE = (TxnRequest::MAX_OPS - 3) / 2;
constexpr int MAX_FORGET_TRIES = 20;
}  // namespace

void ConsulStore::committed() {
  bool due = ++sinceTrim >= TRIM_EVERY && lastHead->number > KEPT_BATCHES;
  if (!due || trimming) return;
  sinceTrim = 0;
  trimming = true;
  tasks.add(trim());
}

void ConsulStore::taskFailed(kj::Exception&& exception) {
  log.error("store.trim-stopped", {{"reason", plainText(exception)}});
}

Task<void> ConsulStore::trim() {
  auto outcome = co_await attempt(trimAll());
  trimming = false;
  if (!outcome.ok() && !trimFails) {
    log.warn("store.trim-failed, retrying after more commits", {{"reason", outcome.message()}});
  }
  trimFails = !outcome.ok();
}

Task<void> ConsulStore::trimAll() {
  TxnRequest looking;
  ask(looking).getTree(layout.batches());
  auto before = knows;
  auto answer = co_await client.transact(looking);
  if (!accept(answer, before)) co_return;
  auto last = lastHead->number - std::min(lastHead->number, KEPT_BATCHES);
  std::vector<Old> old;
  std::vector<std::pair<uint64_t, std::string>> givenUp;
  uint64_t keptFrom = 0;  // consul's index of the oldest batch that stays
  for (auto& kv : answer.results) {
    if (!kv.key.starts_with(layout.batches())) continue;
    auto content = layout.unsealed(kv.key, kv.value);
    auto number = content ? readNumber(*content) : std::nullopt;
    if (content && content->empty()) givenUp.emplace_back(kv.modifyIndex, kv.key);
    if (!number) continue;
    if (*number <= last) old.push_back(Old{*number, {kv.key, layout.change(*number)}});
    if (*number == last + 1) keptFrom = kv.modifyIndex;
  }
  // A batch that was given up as long ago can come no more: `state` is another one by then.
  for (auto& [index, key] : givenUp) {
    if (index < keptFrom) old.push_back(Old{last, {key}});
  }
  std::sort(old.begin(), old.end(), [](auto& a, auto& b) { return a.number < b.number; });
  for (size_t from = 0; from < old.size(); from += TRIM_AT_ONCE) {
    auto some = kj::arrayPtr(old.data() + from, std::min(TRIM_AT_ONCE, old.size() - from));
    co_await forget(some);
  }
}

Task<void> ConsulStore::forget(kj::ArrayPtr<const Old> some) {
  for (int i = 0; i < MAX_FORGET_TRIES; ++i) {
    // A commit under way would find another `state` than it was made for.
    auto pass = co_await writing.enter();
    auto after = *lastFounding;
    after.trimmed = std::max(after.trimmed, some.back().number);
    TxnRequest txn;
    guard(txn).set(layout.state(), after.text());
    for (auto& one : some) {
      for (auto& key : one.keys) txn.erase(key);
    }
    auto done = co_await client.transact(txn);
    auto* written = done.errors.empty() ? done.of(layout.state()) : nullptr;
    if (written != nullptr && written->modifyIndex > lastFounding->index) {
      after.index = written->modifyIndex;
      lastFounding = after;
    }
    if (done.errors.empty()) co_return;
    co_await look();
  }
  fail(kj::str(place().c_str(), " changes too fast for old batches to be forgotten"));
}

}  // namespace orch::store::consul
