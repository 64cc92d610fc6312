#include "zookeeper-store.h"

#include <kj/debug.h>

#include "follower.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "zookeeper/persist.h"

namespace orch::store::zookeeper {

namespace {
// What is asked for again because somebody else was faster.
constexpr int MAX_TRIES = 20;
}  // namespace

ZookeeperStore::ZookeeperStore(Env& env, StoreSettings given, KnownState known, Log logger)
    : env(env),
      settings(kj::mv(given)),
      log(kj::mv(logger)),
      layout(settings.prefix),
      client(env, settings.servers) {
  knows = kj::mv(known);
  client.turned = [this](bool up) {
    if (up && told) log.info("store.connection-works");
    if (!up) log.warn("store.connection-lost, retrying", {{"reason", client.lostText()}});
    told = !up;
  };
}
ZookeeperStore::~ZookeeperStore() noexcept(false) {}

std::string ZookeeperStore::place() const {
  return client.name() + " under '" + layout.top() + "'";
}

void ZookeeperStore::failDamaged(std::string_view what, std::string_view path) const {
  std::string name(what), node(path);
  fail(kj::str(name.c_str(), " in ", place().c_str(),
               " is damaged: keep a copy of a server's dataDir, then restore a backup, or give "
               "this one up with zkCli.sh: delete ",
               node.c_str()));
}

std::optional<BatchRecord> ZookeeperStore::Memory::recordOf(const std::string& id) const {
  auto found = numbers.find(id);
  if (found == numbers.end()) return std::nullopt;
  return records.at(found->second);
}
void ZookeeperStore::Memory::add(BatchRecord record) {
  numbers[record.id] = record.number;
  records[record.number] = kj::mv(record);
}

void ZookeeperStore::forget() {
  ++generation;
  memory = Memory();
}
void ZookeeperStore::remember(Memory fresh) {
  ++generation;
  memory = kj::mv(fresh);
}
bool ZookeeperStore::remembers(uint64_t before) const {
  return memory.session != 0 && memory.session == client.session() && generation == before;
}

void ZookeeperStore::accept(const Glance& there, const KnownState& before) {
  KnownState found{there.founding.id, there.head.number, there.founding.epoch};
  auto expected = before;
  if (there.there) expected.id = knows.id;  // it never changes
  auto why = expected.whyNot(found, place(), settings.knownFile);
  if (!why.empty()) fail(kj::str(why.c_str()));
  if (there.there && knows.learn(found)) learned();
}

Glance ZookeeperStore::readGlance(const Done& barrier, const Read& state, const Read& head,
                                  const KnownState& before) {
  for (auto code : {barrier.code, state.code, head.code}) {
    bool known = code == Code::OK || code == Code::NO_NODE;
    if (!known) client.failWith(code);
  }
  Glance glance;
  if (state.code == Code::OK) {
    auto founding = Founding::read(state.value);
    if (!founding) failDamaged("the node 'state'", layout.state());
    if (head.code != Code::OK) failDamaged("the state without its node 'head'", layout.state());
    auto read = Head::read(head.value);
    if (!read) failDamaged("the node 'head'", layout.head());
    glance = Glance{true, *founding, state.version, *read, head.version};
  }
  accept(glance, before);
  return glance;
}

Task<Glance> ZookeeperStore::glance() {
  for (int i = 0; i < MAX_TRIES; ++i) {
    auto before = knows;
    auto session = client.session();
    if (stateVersion.session != session) stateVersion = Version{session, Multi::ANY_VERSION};
    auto version = stateVersion.number;
    auto barrier = client.multi(Multi().check(layout.state(), version));
    auto state = client.get(layout.state());
    auto head = client.get(layout.head());
    auto agreed = co_await barrier;
    auto stateRead = co_await state;
    auto headRead = co_await head;
    bool refused = agreed.code == Code::BAD_VERSION;
    bool compares = stateRead.code == Code::OK && (agreed.code == Code::OK || refused);
    bool same = stateRead.version == version;
    if (compares && refused && same) leaveServer("has not heard of the last election");
    if (!compares || same) co_return readGlance(agreed, stateRead, headRead, before);
    stateVersion = Version{session, stateRead.version};
  }
  client.failWith(Code::LOST);
}

Task<Glance> ZookeeperStore::sureGlance() {
  auto there = co_await glance();
  for (int i = 0; i < MAX_TRIES && there.there; ++i) {
    auto same =
        Multi().check(layout.state(), there.stateVersion).check(layout.head(), there.headVersion);
    auto agreed = co_await client.multi(same);
    if (agreed.code == Code::OK) break;
    if (!isRace(agreed.code)) client.failWith(agreed.code);
    auto now = co_await glance();
    bool still = now.headVersion == there.headVersion && now.stateVersion == there.stateVersion;
    if (still) leaveServer("has not heard of the last changes");
    there = kj::mv(now);
  }
  co_return kj::mv(there);
}

Task<Glance> ZookeeperStore::examine() {
  Memory fresh;
  fresh.session = client.session();
  fresh.at = co_await sureGlance();
  auto listed = co_await client.children(layout.batches());
  auto there = fresh.at;
  if (!there.there) {
    forget();
    co_return kj::mv(there);
  }
  if (listed.code != Code::OK) client.failWith(listed.code);
  bool twice = false;
  for (auto& name : listed.names) {
    auto record = BatchRecord::read(name);
    if (!record) failDamaged("a node that is no batch's", layout.batches() + "/" + name);
    twice |= record->number >= there.head.first && fresh.records.count(record->number) > 0;
    fresh.add(kj::mv(*record));
  }
  co_await checkRecords(fresh, twice);
  remember(kj::mv(fresh));
  co_return kj::mv(there);
}

Task<void> ZookeeperStore::checkRecords(const Memory& fresh, bool twice) {
  auto missing = fresh.at.head.first;
  while (missing <= fresh.at.head.number && fresh.records.count(missing) > 0) ++missing;
  bool whole = missing > fresh.at.head.number;
  if (whole && !twice) co_return;
  // Some may have been old, and gone, by the time that they were listed.
  auto now = co_await glance();
  if (!twice && missing < now.head.first) client.failWith(Code::LOST);
  leaveServer(twice ? "has two records of the same number"
                    : "lacks the record " + std::to_string(missing));
}

void ZookeeperStore::leaveServer(std::string why) {
  auto server = client.leave("is left, since it " + why);
  auto reason = kj::str("the server ", server.c_str(), " of ", place().c_str(), " ", why.c_str(),
                        ": it has another state than was committed; stop it, empty its dataDir but "
                        "for 'myid', and start it again: it copies the state of the others");
  log.warn("store.server-differs, asking another one", {{"reason", reason}});
  kj::throwFatalException(
      kj::Exception(kj::Exception::Type::DISCONNECTED, __FILE__, __LINE__, kj::mv(reason)));
}

void ZookeeperStore::followedTo(uint64_t number) {
  KnownState now{knows.id, number, knows.epoch};
  if (!knows.id.empty() && knows.learn(now)) learned();
}

Task<void> ZookeeperStore::ensure() {
  for (int i = 0; i < MAX_TRIES; ++i) {
    if (remembers(generation)) co_return;
    auto there = co_await examine();
    // Whoever knows a state makes no other in its place: that was refused by now.
    if (!there.there) co_await found();
  }
  client.failWith(Code::LOST);
}

Task<void> ZookeeperStore::found() {
  for (size_t end = layout.top().find('/', 1);; end = layout.top().find('/', end + 1)) {
    auto done = co_await client.create(layout.top().substr(0, end), "");
    bool there = done.code == Code::OK || done.code == Code::NODE_EXISTS;
    if (!there) client.failWith(done.code);
    if (end == std::string::npos) break;
  }
  Founding made;
  made.id = env.newId().cStr();
  Multi multi;
  multi.create(layout.state(), made.text())
      .create(layout.head(), Head().text())
      .create(layout.batches(), "")
      .create(layout.changes(), "")
      .create(layout.objects(), "");
  for (uint32_t i = 0; i < Layout::FOLDERS; ++i) multi.create(layout.folder(i), "");
  auto done = co_await client.multi(multi);
  if (done.code == Code::OK) co_return;
  // Somebody else was faster, or what is left of an old state is in the way.
  bool others = done.code == Code::NODE_EXISTS && done.at == 0;
  if (others) co_return;
  if (done.code == Code::NODE_EXISTS) {
    failDamaged("the state without its node 'state'", multi.operations()[done.at].path);
  }
  client.failWith(done.code);
}

bool ZookeeperStore::isRace(Code code) {
  return code == Code::BAD_VERSION || code == Code::NODE_EXISTS || code == Code::NO_NODE;
}

void ZookeeperStore::advance(uint64_t before, const Head& next, BatchRecord record) {
  KnownState now{memory.at.founding.id, next.number, memory.at.founding.epoch};
  if (!remembers(before)) {
    forget();
    return;
  }
  memory.at.head = next;
  ++memory.at.headVersion;
  memory.add(kj::mv(record));
  ++generation;
  if (knows.learn(now)) learned();
}

Head ZookeeperStore::nextHead(bool applies) const {
  auto next = memory.at.head;
  ++next.number;
  if (applies) next.revision = next.number;
  if (next.number > KEPT_RECORDS) next.first = kj::max(next.first, next.number - KEPT_RECORDS + 1);
  return next;
}

Multi ZookeeperStore::guarded() const {
  Multi multi;
  multi.check(layout.state(), memory.at.stateVersion);
  return multi;
}

Task<std::optional<uint64_t>> ZookeeperStore::tryFind(std::string batchId) {
  co_await ensure();
  auto before = generation;
  auto record = memory.recordOf(batchId);
  if (record) co_return record->applied ? record->number : 0;
  auto next = nextHead(false);
  BatchRecord never{next.number, false, batchId};
  auto multi = guarded();
  multi.set(layout.head(), next.text(), memory.at.headVersion)
      .create(layout.batches() + "/" + never.name(), "")
      .create(layout.change(next.number), sealNoChange(next.number));
  auto done = co_await client.multi(multi);
  if (done.code == Code::OK) {
    advance(before, next, kj::mv(never));
    co_return 0;
  }
  forget();
  if (!isRace(done.code)) client.failWith(done.code);
  co_return std::nullopt;
}

Task<std::optional<uint64_t>> ZookeeperStore::find(std::string batchId) {
  auto finding = orch::zookeeper::persist<uint64_t>(
      env, client, settings.timeout, [this, id = kj::mv(batchId)] { return tryFind(id); });
  auto revision = co_await kj::mv(finding);
  if (revision == 0) co_return std::nullopt;
  co_return revision;
}

Task<std::optional<ElectAnswer>> ZookeeperStore::tryElect(std::string candidate, uint64_t expected,
                                                          uint64_t next, Try& trying) {
  using Answer = std::optional<ElectAnswer>;
  auto there = co_await glance();
  if (!there.there) {
    co_await found();
    co_return Answer();
  }
  auto& founding = there.founding;
  if (founding.epoch != expected) {
    // The try before may have been the one that won.
    bool mine = trying.uncertain && founding.epoch == next && founding.leader == candidate;
    co_return Answer(ElectAnswer{mine, founding.epoch, founding.leader});
  }
  Founding after{founding.id, next, candidate};
  trying.inFlight = true;
  auto done = co_await client.set(layout.state(), after.text(), there.stateVersion);
  if (isLost(done.code)) client.failWith(done.code);
  trying.inFlight = false;
  if (done.code == Code::BAD_VERSION) co_return Answer();
  if (done.code != Code::OK) client.failWith(done.code);
  forget();
  KnownState won{founding.id, there.head.number, after.epoch};
  if (knows.learn(won)) learned();
  co_return Answer(ElectAnswer{true, after.epoch, candidate});
}

Task<ElectAnswer> ZookeeperStore::elect(std::string candidate, uint64_t expected, uint64_t least) {
  Try trying;
  auto electing = orch::zookeeper::persist<ElectAnswer>(
      env, client, settings.timeout,
      [this, &trying, candidate = kj::mv(candidate), expected,
       next = std::max(expected + 1, least)] {
        trying.uncertain = trying.uncertain || trying.inFlight;
        return tryElect(candidate, expected, next, trying);
      });
  co_return co_await kj::mv(electing);
}

kj::Promise<std::optional<Change>> ZookeeperStore::change(uint64_t number) {
  return client.get(layout.change(number)).then([this, number](Read&& read) {
    std::optional<Change> change;
    if (read.code == Code::NO_NODE) return change;
    if (read.code != Code::OK) client.failWith(read.code);
    change = unsealChange(number, read.value);
    if (!change) failDamaged("the record of a batch", layout.change(number));
    return change;
  });
}

kj::Promise<std::optional<ZookeeperStore::Object>> ZookeeperStore::object(std::string name) {
  auto path = layout.object(name);
  return client.get(path).then([this, path, name](Read&& read) {
    std::optional<Object> object;
    if (read.code == Code::NO_NODE) return object;
    if (read.code != Code::OK) client.failWith(read.code);
    auto content = unsealObject(name, read.value);
    if (!content) {
      auto parts = readName(name);
      auto called = parts ? parts->kind + "/" + parts->key : name;
      failDamaged("object '" + called + "'", path);
    }
    object = Object{content->revision, std::string(content->value)};
    return object;
  });
}

kj::Own<Following> ZookeeperStore::follow(uint64_t from, schema::ChangeSink::Client sink) {
  return kj::heap<Follower>(env, *this, log, from, kj::mv(sink));
}

void ZookeeperStore::committed() {
  if (++sinceTrim < TRIM_EVERY || trimming) return;
  sinceTrim = 0;
  trimming = true;
  tasks.add(trim());
}

// Records whose time is over. Whoever needs one of them finds out from `head` that it is gone, so
// that it does not matter when it goes.
Task<void> ZookeeperStore::trim() {
  std::vector<BatchRecord> old;
  for (auto& [number, record] : memory.records) {
    if (number >= memory.at.head.first) break;
    old.push_back(record);
  }
  std::vector<kj::Promise<Done>> removals;
  for (auto& record : old) {
    removals.push_back(client.remove(layout.change(record.number)));
    removals.push_back(client.remove(layout.batches() + "/" + record.name()));
  }
  auto failed = Code::OK;
  for (auto& removal : removals) {
    auto done = co_await removal;
    bool gone = done.code == Code::OK || done.code == Code::NO_NODE;
    if (!gone) failed = done.code;
  }
  trimming = false;
  bool fails = failed != Code::OK && !isLost(failed);
  if (fails && !trimFails) {
    auto why = client.refusalText(failed);
    log.warn("store.trim-failed, retrying after more commits", {{"reason", why.c_str()}});
  }
  trimFails = fails;
  if (failed != Code::OK) co_return;
  for (auto& record : old) {
    auto found = memory.records.find(record.number);
    if (found == memory.records.end()) continue;
    memory.numbers.erase(record.id);
    memory.records.erase(found);
  }
}

void ZookeeperStore::taskFailed(kj::Exception&& exception) {
  trimming = false;
  log.error("store.history-stopped", {{"reason", plainText(exception)}});
}

}  // namespace orch::store::zookeeper
