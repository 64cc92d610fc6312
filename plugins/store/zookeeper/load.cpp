// How a state is read. There is no picture of one moment in ZooKeeper: objects are read one by one
// while others write, and what was written meanwhile is brought in from its records.
#include <algorithm>

#include "orch/attempt.h"
#include "orch/fail.h"
#include "zookeeper-store.h"

namespace orch::store::zookeeper {

namespace {

// Reads on their way.
constexpr size_t READS_AT_ONCE = 1000;
// Objects whose sum is made before others have their turn: some milliseconds.
constexpr size_t SUMMED_AT_ONCE = 10'000;
// Of a load that writers are faster than.
constexpr int MAX_LOADS = 10;

ObjectTable::Name keyOf(schema::Op::Reader op) { return {op.getKind().cStr(), op.getKey().cStr()}; }

}  // namespace

template <typename T>
Task<T> ZookeeperStore::soon(kj::Promise<T> promise) {
  auto limited = env.timer().timeoutAfter(settings.timeout, kj::mv(promise));
  auto outcome = co_await attempt(kj::mv(limited));
  if (!outcome.ok()) {
    bool late = outcome.error().getType() == kj::Exception::Type::OVERLOADED;
    if (late) fail(kj::str(client.lostText().c_str()));
    kj::throwFatalException(kj::mv(outcome.error()));
  }
  if constexpr (!std::is_void_v<T>) co_return kj::mv(outcome.value());
}

struct ZookeeperStore::Gathered {
  Glance at;
  ObjectTable objects;
  bool again = false;  // something may be newer that is not among them
  bool complete = false;
};

Task<std::vector<std::string>> ZookeeperStore::listObjects() {
  std::vector<kj::Promise<Listing>> listings;
  for (uint32_t i = 0; i < Layout::FOLDERS; ++i) {
    listings.push_back(client.children(layout.folder(i)));
  }
  std::vector<std::string> names;
  for (auto& promise : listings) {
    auto listing = co_await soon(kj::mv(promise));
    if (listing.code == Code::NO_NODE) failDamaged("the state without a folder", layout.objects());
    if (listing.code != Code::OK) client.failWith(listing.code);
    for (auto& name : listing.names) names.push_back(kj::mv(name));
  }
  co_return kj::mv(names);
}

Task<void> ZookeeperStore::readObjects(Gathered& all, const std::vector<std::string>& names) {
  std::vector<kj::Promise<std::optional<Object>>> reads;
  size_t asked = 0;
  for (size_t i = 0; i < names.size(); ++i) {
    for (; asked < names.size() && asked < i + READS_AT_ONCE; ++asked) {
      reads.push_back(object(names[asked]));
    }
    auto key = readName(names[i]);
    if (!key) failDamaged("a node that is no object's", layout.object(names[i]));
    auto found = co_await soon(kj::mv(reads[i]));
    if (found) all.objects.put({key->kind, key->key}, kj::mv(*found));
  }
}

// What a record changes, to what was read before or after it.
Task<void> ZookeeperStore::catchUpOne(Gathered& all, uint64_t number, const Change& change) {
  BatchReader reader(change.batch);
  auto ops = reader.get().getOps();
  for (uint32_t i = 0; i < ops.size(); ++i) {
    auto key = keyOf(ops[i]);
    // Read after this change, or after a later one, which is still to come.
    if (all.objects.has(key, number)) continue;
    if (ops[i].isDelete()) {
      all.objects.erase(key, number);
    } else if (change.left[i]) {
      auto read = co_await soon(object(nameOf(key.first, key.second)));
      // Without it: a later record, which may be behind the one up to which this goes, has removed
      // it.
      if (!read) all.again = true;
      if (read) all.objects.put(key, kj::mv(*read));
    } else {
      auto value = ops[i].getPut().asChars();
      all.objects.put(key, Object{number, std::string(value.begin(), value.size())});
    }
  }
}

Task<bool> ZookeeperStore::catchUp(Gathered& all, uint64_t to) {
  while (all.at.head.number < to) {
    auto number = all.at.head.number + 1;
    auto record = co_await soon(change(number));
    if (!record) co_return false;
    if (record->applied) {
      co_await catchUpOne(all, number, *record);
      all.at.head.revision = number;
    }
    all.at.head.number = number;
  }
  co_return true;
}

Task<void> ZookeeperStore::checkSum(const Gathered& all, StateSum expected) {
  if (!expected) co_return;
  uint64_t sum = 0;
  size_t count = 0;
  for (auto& [key, object] : all.objects) {
    sum += weightOf(nameOf(key.first, key.second), object.revision);
    if (++count % SUMMED_AT_ONCE == 0) co_await env.timer().afterDelay(0 * kj::SECONDS);
  }
  if (sum == *expected) co_return;
  leaveServer("has objects that are not those of revision " + std::to_string(all.at.head.revision));
}

Task<ZookeeperStore::Gathered> ZookeeperStore::gather() {
  Gathered all;
  co_await soon(client.connected());
  all.at = co_await soon(glance().promise());
  all.complete = true;
  if (!all.at.there) co_return kj::mv(all);
  auto names = co_await listObjects();
  co_await readObjects(all, names);
  // Until nothing is newer than the moment that this is of.
  for (;;) {
    auto now = co_await soon(sureGlance().promise());
    all.again = false;
    all.complete = co_await catchUp(all, now.head.number);
    if (!all.complete) co_return kj::mv(all);
    all.at.founding = now.founding;
    if (!all.again && all.objects.newest() <= all.at.head.number) {
      co_await checkSum(all, now.head.sum);
      break;
    }
  }
  co_return kj::mv(all);
}

Task<KnownState> ZookeeperStore::load(schema::ObjectSink::Client sink) {
  Gathered all;
  for (int i = 0; !all.complete; ++i) {
    auto outcome = co_await attempt(gather());
    if (outcome.ok()) all = kj::mv(outcome.value());
    bool again = i < MAX_LOADS &&
                 (outcome.ok() || outcome.error().getType() == kj::Exception::Type::DISCONNECTED);
    if (!again && !outcome.ok()) kj::throwFatalException(kj::mv(outcome.error()));
    if (!again && !all.complete) {
      fail(kj::str(place().c_str(), " changes too fast to be loaded; try again"));
    }
  }
  co_await all.objects.deliver(kj::mv(sink));
  KnownState at{all.at.founding.id, all.at.head.revision, all.at.founding.epoch};
  co_return kj::mv(at);
}

}  // namespace orch::store::zookeeper
