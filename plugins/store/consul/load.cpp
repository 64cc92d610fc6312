// How a state is read: page by page while others write, and what was written meanwhile is brought
// in from its records. A transaction shows one moment, but all of a state may be too much for one.
#include <algorithm>

#include "consul-store.h"
#include "follower.h"
#include "lib/seal.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "trees.h"

namespace orch::store::consul {

namespace {

constexpr size_t PAGE_KEYS = 1000;
constexpr size_t PAGE_TREES = TxnRequest::MAX_OPS;
// Changes that are read at once, of up to VALUES_IN_CHANGE each.
constexpr uint64_t PAGE_CHANGES = 32;
// Of a load that writers are faster than.
constexpr int MAX_LOADS = 10;

}  // namespace

struct ConsulStore::Gathered {
  Moment at;
  ObjectTable objects;
  bool again = false;  // something may be newer that is not among them
  bool complete = false;
};

Task<std::optional<ConsulStore::Moment>> ConsulStore::moment() {
  TxnRequest txn;
  ask(txn);
  auto before = knows;
  auto answer = co_await client.transact(txn);
  if (!accept(answer, before)) co_return std::nullopt;
  auto* state = answer.of(layout.state());
  auto* newest = answer.of(layout.head());
  co_return Moment{*Founding::read(state->value, state->modifyIndex),
                   *Head::read(newest->value, newest->modifyIndex)};
}

Task<std::vector<std::string>> ConsulStore::listObjects() {
  auto start = layout.objects();
  auto reply = co_await client.ask(kj::HttpMethod::GET, "/v1/kv/" + start + "?keys&consistent", "");
  if (reply.kind != Reply::Kind::ANSWERED) fail(kj::str(reply.reason.c_str()));
  std::vector<std::string> names;
  if (reply.status == 404) co_return kj::mv(names);  // there are none
  auto reading = env.workers().run([text = kj::mv(reply.body), skip = start.size()] {
    auto keys = readNames(text);
    for (auto& key : keys) key.erase(0, skip);
    std::sort(keys.begin(), keys.end());
    return keys;
  });
  co_return co_await reading;
}

void ConsulStore::take(Gathered& all, const KeyValue& kv) const {
  auto name = layout.nameOf(kv.key);
  if (!name) failDamaged("a key that is no object's", kv.key, kv.modifyIndex);
  auto value = layout.unsealed(kv.key, kv.value);
  if (!value || value->size() < NUMBER_BYTES) {
    failDamaged("object '" + name->kind + "/" + name->key + "'", kv.key, kv.modifyIndex);
  }
  auto content = std::string(value->substr(NUMBER_BYTES));
  all.objects.put({kj::mv(name->kind), kj::mv(name->key)}, {kv.modifyIndex, kj::mv(content)});
}

// Without those that are gone.
Task<TxnAnswer> ConsulStore::readTrees(std::vector<std::string> prefixes) {
  TxnRequest txn;
  for (auto& prefix : prefixes) txn.getTree(prefix);
  co_return co_await client.transact(txn);
}

// The values of objects that a change only names, or what they have become since.
Task<void> ConsulStore::takeNamed(Gathered& all, std::vector<std::string> keys, uint64_t upTo) {
  for (size_t first = 0; first < keys.size(); first += PAGE_TREES) {
    auto end = std::min(keys.size(), first + PAGE_TREES);
    std::vector<std::string> some(keys.begin() + first, keys.begin() + end);
    auto answer = co_await readTrees(some);
    for (auto& key : some) {
      auto* object = answer.of(key);
      // Without it: a later change has removed it.
      all.again = all.again || object == nullptr || object->modifyIndex > upTo;
      if (object != nullptr) take(all, *object);
    }
  }
}

// What a change is, to what was read before or after it.
Task<void> ConsulStore::takeChange(Gathered& all, const KeyValue& change, uint64_t upTo) {
  auto content = layout.unsealed(change.key, change.value);
  if (!content || content->empty()) failDamaged("a change", change.key, change.modifyIndex);
  auto words = wordsOf(content->substr(1));
  BatchReader reader(words);
  std::vector<std::string> named;
  for (auto op : reader.get().getOps()) {
    ObjectTable::Name name{op.getKind().cStr(), op.getKey().cStr()};
    // Read after this change, or after a later one, which is still to come.
    if (all.objects.has(name, change.modifyIndex)) continue;
    if (op.isDelete()) {
      all.objects.erase(name, change.modifyIndex);
    } else if (content->front() == Follower::NAMES) {
      named.push_back(layout.object(name.first, name.second));
    } else {
      auto value = op.getPut().asChars();
      all.objects.put(kj::mv(name), {change.modifyIndex, std::string(value.begin(), value.size())});
    }
  }
  co_await takeNamed(all, kj::mv(named), upTo);
}

// False if one of the changes is not there any more.
Task<bool> ConsulStore::catchUp(Gathered& all, const Head& to) {
  for (auto number = all.at.head.number; number < to.number;) {
    auto last = std::min(to.number, number + PAGE_CHANGES);
    TxnRequest txn;
    for (auto i = number + 1; i <= last; ++i) txn.get(layout.change(i));
    auto answer = co_await client.transact(txn);
    if (!answer.errors.empty()) co_return false;
    for (; number < last; ++number) {
      auto* change = answer.of(layout.change(number + 1));
      if (change == nullptr) fail(kj::str(client.refusal("Permission denied").c_str()));
      co_await takeChange(all, *change, to.index);
    }
  }
  co_return true;
}

Task<ConsulStore::Gathered> ConsulStore::gather() {
  Gathered all;
  auto began = co_await moment();
  all.complete = !began;
  if (!began) co_return kj::mv(all);
  all.at = *began;
  auto names = co_await listObjects();
  for (auto& trees : treesOf(names, PAGE_KEYS, PAGE_TREES)) {
    for (auto& tree : trees) tree.insert(0, layout.objects());
    auto page = co_await readTrees(kj::mv(trees));
    for (auto& kv : page.results) take(all, kv);
  }
  // Until nothing is newer than the moment that this is of.
  do {
    auto now = co_await moment();
    if (!now) co_return kj::mv(all);
    all.again = false;
    bool whole = co_await catchUp(all, now->head);
    if (!whole) co_return kj::mv(all);
    all.at = *now;
  } while (all.again);
  all.complete = true;
  co_return kj::mv(all);
}

Task<KnownState> ConsulStore::load(schema::ObjectSink::Client sink) {
  for (int i = 0; i < MAX_LOADS; ++i) {
    auto all = co_await gather();
    if (!all.complete) continue;
    co_await all.objects.deliver(kj::mv(sink));
    KnownState at{all.at.founding.id, all.at.head.revision(), all.at.founding.epoch};
    co_return kj::mv(at);
  }
  fail(kj::str(place().c_str(),
               " changes too fast to be loaded, or lacks one of its changes; try again"));
}

}  // namespace orch::store::consul
