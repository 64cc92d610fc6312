#include "orch/testing/memory-store.h"

#include <kj/debug.h>

#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "orch/task.h"

namespace orch::testing {

namespace {
constexpr size_t MAX_RECORDS = 10'000;
constexpr size_t MAX_BATCH_IDS = 2'000;
constexpr size_t LOAD_CHUNK = 100;
// Of an operation, besides its key and value.
constexpr uint64_t OP_BYTES = 16;

using Name = std::pair<std::string, std::string>;  // kind, key
struct Value {
  uint64_t revision = 0;
  std::string bytes;
};
struct Record {
  struct Op {
    Name name;
    bool remove = false;
    std::string bytes;
  };
  uint64_t revision = 0;
  std::vector<Op> ops;
};

std::string bytesOf(capnp::Data::Reader data) {
  return std::string(reinterpret_cast<const char*>(data.begin()), data.size());
}
capnp::Data::Reader dataOf(const std::string& bytes) {
  return kj::arrayPtr(reinterpret_cast<const kj::byte*>(bytes.data()), bytes.size());
}
}  // namespace

struct MemoryStore::State final : public kj::Refcounted {
  uint32_t maxOps = 0;
  uint64_t maxBytes = 0;
  bool shared = false;
  std::string uri;
  std::map<Name, Value> objects;
  uint64_t revision = 0;
  uint64_t epoch = 0;
  std::string leader;
  std::deque<Record> records;
  std::deque<std::pair<std::string, uint64_t>> batches;
  Fault fault = Fault::NONE;
  uint32_t skip = 0;
  bool cutOff = false;
  uint64_t commits = 0;
  uint64_t elections = 0;
  uint64_t loads = 0;
  uint64_t objectsWritten = 0;
  uint64_t largestBatch = 0;
  struct Disk {
    kj::Timer& timer;
    kj::Function<kj::Duration()> sync;
    kj::TimePoint lastAt;
  };
  kj::Maybe<Disk> disk;
  uint64_t life = 0;
  kj::Maybe<kj::Function<void(kj::ArrayPtr<const Written>)>> observer;
  uint64_t generation = 0;  // of followers
  using Waiting = std::vector<kj::Own<kj::PromiseFulfiller<void>>>;
  Waiting waiting;
  Waiting held;
  bool holdsLoads = false;
  bool holdsCommits = false;
  bool holdsElections = false;
  bool holdsFollowers = false;

  void wake() { wake(waiting); }
  void wake(Waiting& list) {
    for (auto& fulfiller : std::exchange(list, {})) fulfiller->fulfill();
  }
  kj::Promise<void> woken() {
    auto pair = kj::newPromiseAndFulfiller<void>();
    waiting.push_back(kj::mv(pair.fulfiller));
    return kj::mv(pair.promise);
  }
  kj::Promise<void> unless(bool holds) {
    if (!holds) return kj::READY_NOW;
    auto pair = kj::newPromiseAndFulfiller<void>();
    held.push_back(kj::mv(pair.fulfiller));
    return kj::mv(pair.promise);
  }
  void checkReachable() const {
    if (cutOff) kj::throwFatalException(KJ_EXCEPTION(DISCONNECTED, "the store is out of reach"));
  }
  Fault nextFault() {
    if (fault == Fault::NONE) return Fault::NONE;
    if (skip > 0) {
      --skip;
      return Fault::NONE;
    }
    return std::exchange(fault, Fault::NONE);
  }
};

namespace {

using State = MemoryStore::State;

// One follower. Ends when the capability is dropped.
class Follower final : public capnp::Capability::Server {
 public:
  Follower(kj::Own<State> state, uint64_t from, schema::ChangeSink::Client sink)
      : state(kj::mv(state)), generation(this->state->generation), from(from), sink(kj::mv(sink)) {
    pump = run().promise().eagerlyEvaluate(nullptr);
  }
  DispatchCallResult dispatchCall(
      uint64_t, uint16_t, capnp::CallContext<capnp::AnyPointer, capnp::AnyPointer>) override {
    KJ_UNIMPLEMENTED("a subscription has no methods");
  }

 private:
  Task<void> run() {
    while (generation == state->generation) {
      if (state->holdsFollowers) {
        co_await state->woken();
        continue;
      }
      bool tooOld = state->records.empty() ? from != state->revision
                                           : from + 1 < state->records.front().revision;
      if (from > state->revision || (from < state->revision && tooOld)) {
        auto request = sink.resyncRequest();
        from = state->revision;
        request.setRevision(from);
        co_await request.send();
        continue;
      }
      auto next = nextRecord();
      if (next == nullptr) {
        co_await state->woken();
        continue;
      }
      auto request = sink.changesRequest();
      fill(*next, request);
      from = next->revision;
      co_await request.send();
    }
  }
  // There is one of each revision.
  const Record* nextRecord() {
    auto& records = state->records;
    if (records.empty() || records.back().revision <= from) return nullptr;
    auto first = records.front().revision;
    return &records[from < first ? 0 : from + 1 - first];
  }
  template <typename Request>
  static void fill(const Record& record, Request& request) {
    request.setRevision(record.revision);
    auto ops = request.initOps(record.ops.size());
    for (uint32_t i = 0; i < ops.size(); ++i) {
      ops[i].setKind(record.ops[i].name.first.c_str());
      ops[i].setKey(record.ops[i].name.second.c_str());
      if (record.ops[i].remove) {
        ops[i].setDelete();
      } else {
        ops[i].setPut(dataOf(record.ops[i].bytes));
      }
    }
  }

  kj::Own<State> state;
  uint64_t generation;
  uint64_t from;
  schema::ChangeSink::Client sink;
  kj::Promise<void> pump = nullptr;
};

class StoreServer final : public schema::Store::Server {
 public:
  explicit StoreServer(kj::Own<State> state) : state(kj::mv(state)), life(this->state->life) {}

  kj::Promise<void> limits(LimitsContext context) override {
    if (over()) return kj::NEVER_DONE;
    state->checkReachable();
    context.getResults().setMaxOps(state->maxOps);
    context.getResults().setMaxBytes(state->maxBytes);
    context.getResults().setShared(state->shared);
    context.getResults().setUri(state->uri.c_str());
    return kj::READY_NOW;
  }
  kj::Promise<void> load(LoadContext context) override {
    if (over()) return kj::NEVER_DONE;
    ++state->loads;
    return state->unless(state->holdsLoads).then([this, context]() mutable {
      return doLoad(context).promise();
    });
  }
  kj::Promise<void> commit(CommitContext context) override {
    if (over()) return kj::NEVER_DONE;
    KJ_IF_MAYBE (disk, state->disk) return commitOn(*disk, context);
    if (!state->holdsCommits) return doCommit(context);
    return state->unless(true).then([this, context]() mutable { return doCommit(context); });
  }
  kj::Promise<void> follow(FollowContext context) override {
    if (over()) return kj::NEVER_DONE;
    auto params = context.getParams();
    context.getResults().setSubscription(
        kj::heap<Follower>(kj::addRef(*state), params.getFrom(), params.getSink()));
    return kj::READY_NOW;
  }
  kj::Promise<void> elect(ElectContext context) override {
    if (over()) return kj::NEVER_DONE;
    state->checkReachable();
    ++state->elections;
    bool only = context.getParams().getExpectedEpoch() != state->epoch;  // asks who leads
    return state->unless(state->holdsElections && !only).then([this, context]() mutable {
      doElect(context);
    });
  }
  void doElect(ElectContext context) {
    auto params = context.getParams();
    auto results = context.getResults();
    if (params.getExpectedEpoch() == state->epoch) {
      state->epoch = kj::max(state->epoch + 1, params.getLeastEpoch());
      state->leader = params.getCandidate().cStr();
      results.setWon(true);
    }
    results.setEpoch(state->epoch);
    results.setLeader(state->leader.c_str());
  }
  kj::Promise<void> find(FindContext context) override {
    if (over()) return kj::NEVER_DONE;
    state->checkReachable();
    for (auto& batch : state->batches) {
      if (batch.first != context.getParams().getBatchId().cStr()) continue;
      context.getResults().setFound(true);
      context.getResults().setRevision(batch.second);
    }
    return kj::READY_NOW;
  }

 private:
  // The life that it was handed out to.
  bool over() const { return life != state->life; }
  kj::Promise<void> doCommit(CommitContext context);
  Task<void> commitOn(State::Disk& disk, CommitContext context) {
    auto sync = disk.sync();
    auto at = kj::max(disk.timer.now() + sync * 3 / 4, disk.lastAt);
    disk.lastAt = at;
    auto& timer = disk.timer;
    co_await timer.atTime(at);
    if (over()) co_await kj::Promise<void>(kj::NEVER_DONE);
    co_await doCommit(context);
    co_await timer.afterDelay(sync / 4);
    if (over()) co_await kj::Promise<void>(kj::NEVER_DONE);
  }
  Task<void> doLoad(LoadContext context) {
    state->checkReachable();
    auto objects = state->objects;  // of one moment
    context.getResults().setRevision(state->revision);
    context.getResults().setEpoch(state->epoch);
    auto sink = context.getParams().getSink();
    for (auto it = objects.begin(); it != objects.end();) {
      auto request = sink.objectsRequest();
      size_t count = kj::min(LOAD_CHUNK, static_cast<size_t>(std::distance(it, objects.end())));
      auto list = request.initObjects(count);
      for (uint32_t i = 0; i < count; ++i, ++it) {
        list[i].setKind(it->first.first.c_str());
        list[i].setKey(it->first.second.c_str());
        list[i].setRevision(it->second.revision);
        list[i].setValue(dataOf(it->second.bytes));
      }
      co_await request.send();
      if (over()) co_await kj::Promise<void>(kj::NEVER_DONE);
    }
  }
  bool check(schema::Batch::Reader batch, uint64_t epoch, schema::CommitResult::Builder result);
  uint64_t apply(schema::Batch::Reader batch);

  kj::Own<State> state;
  const uint64_t life;
};

bool StoreServer::check(schema::Batch::Reader batch, uint64_t epoch,
                        schema::CommitResult::Builder result) {
  uint64_t bytes = 0;
  for (auto op : batch.getOps())
    bytes += OP_BYTES + op.getKey().size() + (op.isPut() ? op.getPut().size() : 0);
  KJ_REQUIRE(batch.getOps().size() <= state->maxOps, "the batch has too many operations");
  KJ_REQUIRE(bytes <= state->maxBytes, "the batch is too large");
  std::vector<std::string> conflicts;
  for (auto op : batch.getOps()) {
    auto it = state->objects.find({op.getKind().cStr(), op.getKey().cStr()});
    uint64_t actual = it == state->objects.end() ? 0 : it->second.revision;
    bool nothingToDelete = op.isDelete() && actual == 0;
    if (actual != op.getExpected() || nothingToDelete) {
      conflicts.push_back(std::string(op.getKind().cStr()) + "/" + op.getKey().cStr());
    }
  }
  if (epoch == state->epoch && conflicts.empty()) return true;
  auto refused = result.initRefused();
  refused.setReason(epoch == state->epoch ? "objects have changed" : "the epoch has changed");
  refused.setEpoch(state->epoch);
  auto list = refused.initConflicts(conflicts.size());
  for (uint32_t i = 0; i < conflicts.size(); ++i) list.set(i, conflicts[i].c_str());
  return false;
}

uint64_t StoreServer::apply(schema::Batch::Reader batch) {
  Record record;
  record.revision = ++state->revision;
  for (auto op : batch.getOps()) {
    Name name{op.getKind().cStr(), op.getKey().cStr()};
    if (op.isDelete()) {
      state->objects.erase(name);
      record.ops.push_back({name, true, {}});
    } else {
      state->objects[name] = Value{record.revision, bytesOf(op.getPut())};
      record.ops.push_back({name, false, bytesOf(op.getPut())});
    }
  }
  KJ_IF_MAYBE (observer, state->observer) {
    std::vector<MemoryStore::Written> written;
    for (auto& op : record.ops) {
      auto& entry = written.emplace_back();
      entry.kind = op.name.first.c_str();
      entry.key = op.name.second.c_str();
      if (!op.remove) entry.value = dataOf(op.bytes);
    }
    (*observer)(kj::arrayPtr(written.data(), written.size()));
  }
  state->objectsWritten += record.ops.size();
  state->records.push_back(std::move(record));
  if (state->records.size() > MAX_RECORDS) state->records.pop_front();
  state->batches.emplace_back(batch.getId().cStr(), state->revision);
  if (state->batches.size() > MAX_BATCH_IDS) state->batches.pop_front();
  ++state->commits;
  state->largestBatch = kj::max(state->largestBatch, batch.getOps().size());
  state->wake();
  return state->revision;
}

kj::Promise<void> StoreServer::doCommit(CommitContext context) {
  state->checkReachable();
  auto params = context.getParams();
  auto result = context.getResults().initResult();
  if (!check(params.getBatch(), params.getEpoch(), result)) return kj::READY_NOW;
  switch (state->nextFault()) {
    case MemoryStore::Fault::NONE:
      result.setCommitted(apply(params.getBatch()));
      return kj::READY_NOW;
    case MemoryStore::Fault::REFUSE:
      KJ_FAIL_REQUIRE("no space left on device");
    case MemoryStore::Fault::UNKNOWN_APPLIED:
      apply(params.getBatch());
      result.setUnknown("timed out");
      return kj::READY_NOW;
    case MemoryStore::Fault::UNKNOWN_LOST:
      result.setUnknown("timed out");
      return kj::READY_NOW;
    case MemoryStore::Fault::DISCONNECT_APPLIED:
      apply(params.getBatch());
      return KJ_EXCEPTION(DISCONNECTED, "the store's plugin was restarted");
    case MemoryStore::Fault::OVERLOAD_APPLIED:
      apply(params.getBatch());
      return KJ_EXCEPTION(OVERLOADED, "no answer within 30 s");
    case MemoryStore::Fault::CUT_OFF:
      apply(params.getBatch());
      state->cutOff = true;
      return KJ_EXCEPTION(DISCONNECTED, "the store's plugin was restarted");
  }
  KJ_UNREACHABLE;
}

}  // namespace

MemoryStore::MemoryStore(uint32_t maxOps, uint64_t maxBytes) : state(kj::refcounted<State>()) {
  state->maxOps = maxOps;
  state->maxBytes = maxBytes;
}
MemoryStore::~MemoryStore() noexcept(false) {}

void MemoryStore::share(std::string uri) {
  state->shared = true;
  state->uri = std::move(uri);
}
schema::Store::Client MemoryStore::client() { return kj::heap<StoreServer>(kj::addRef(*state)); }
void MemoryStore::setDisk(kj::Timer& timer, kj::Function<kj::Duration()> sync) {
  state->disk = State::Disk{timer, kj::mv(sync), timer.now()};
}
void MemoryStore::crash() { ++state->life; }
void MemoryStore::observe(kj::Function<void(kj::ArrayPtr<const Written>)> observer) {
  state->observer = kj::mv(observer);
}
uint64_t MemoryStore::objectsWritten() const { return state->objectsWritten; }
uint64_t MemoryStore::epoch() const { return state->epoch; }
size_t MemoryStore::objects(kj::StringPtr kind) const {
  auto begin = state->objects.lower_bound({kind.cStr(), ""});
  size_t count = 0;
  for (auto it = begin; it != state->objects.end() && it->first.first == kind.cStr(); ++it) ++count;
  return count;
}
std::string MemoryStore::allValues() const {
  std::string all;
  for (auto& entry : state->objects) all += entry.second.bytes;
  return all;
}
void MemoryStore::dropFollowers() {
  ++state->generation;
  state->wake();
}
void MemoryStore::holdFollowers(bool holds) {
  state->holdsFollowers = holds;
  if (!holds) state->wake();
}
void MemoryStore::forgetRecords() { state->records.clear(); }
void MemoryStore::inject(Fault fault, uint32_t skip) {
  state->fault = fault;
  state->skip = skip;
}
void MemoryStore::holdLoads(bool holds) {
  state->holdsLoads = holds;
  if (!holds) state->wake(state->held);
}
void MemoryStore::holdCommits(bool holds) {
  state->holdsCommits = holds;
  if (!holds) state->wake(state->held);
}
void MemoryStore::holdElections(bool holds) {
  state->holdsElections = holds;
  if (!holds) state->wake(state->held);
}
void MemoryStore::disconnect() { state->cutOff = true; }
void MemoryStore::reconnect() { state->cutOff = false; }
uint64_t MemoryStore::commits() const { return state->commits; }
uint64_t MemoryStore::elections() const { return state->elections; }
uint64_t MemoryStore::loads() const { return state->loads; }
uint64_t MemoryStore::largestBatch() const { return state->largestBatch; }

}  // namespace orch::testing
