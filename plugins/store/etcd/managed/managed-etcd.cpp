#include "managed/managed-etcd.h"

#include <capnp/serialize.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "etcd/request.h"
#include "orch/attempt.h"
#include "orch/durable-file.h"
#include "orch/fail.h"

namespace orch::store::etcd {

namespace {

constexpr const char* RECORD_NAME = "record of this host's etcd";
constexpr const char* RECORD_REMEDY =
    "remove it, and the folder 'etcd' beside it: a member is made anew where others are";
// DESIGN: ms. Managers' hosts are near each other.
constexpr uint32_t HEARTBEAT = 30;
constexpr uint32_t ELECTION = 300;
// Of the log, before a snapshot takes its place: each is as large as a batch.
constexpr uint32_t SNAPSHOT_AFTER = 10'000;
constexpr auto FIRST_LOOK = 200 * kj::MILLISECONDS;
constexpr auto LATER_LOOK = 5 * kj::SECONDS;
constexpr auto KEYS_AGAIN = 1 * kj::HOURS;
// Since it last tended the members, which it does once a second.
constexpr auto LEADS_FOR = 15 * kj::SECONDS;
// With one that has never run. Each new one costs the etcd two changes of its members.
constexpr auto FIRST_PATIENCE = 1 * kj::SECONDS;
constexpr auto LAST_PATIENCE = 2 * kj::MINUTES;
// With the others, whom one that leaves asks to do without it.
constexpr auto LEAVE_PATIENCE = 10 * kj::SECONDS;
// etcd's own defaults, which a batch within the settings' defaults fits.
constexpr uint64_t LEAST_OPS = 128;
constexpr uint64_t LEAST_BYTES = 3 << 19;
std::string noMember() {
  return "no etcd of orch's runs on this host yet: managers get one each within some seconds, once "
         "there are two or after 'orch cluster migrate --to store.etcd'";
}

kj::Own<capnp::MallocMessageBuilder> recordOf(kj::ArrayPtr<const kj::byte> bytes) {
  kj::ArrayInputStream input(bytes);
  capnp::InputStreamMessageReader reader(input);
  auto made = kj::heap<capnp::MallocMessageBuilder>();
  made->setRoot(reader.getRoot<ManagedMember>());
  return made;
}

// etcd makes the log last, once it knows that it is one of the members.
bool hasBegun(const std::string& folder) {
  return std::filesystem::exists(folder + "/etcd/member/wal");
}

}  // namespace

ManagedEtcd::ManagedEtcd(Env& env, Log log, ManagedSettings given, Layout layout, Owner owner)
    : env(env),
      log(kj::mv(log)),
      settings(std::move(given)),
      layout(kj::mv(layout)),
      owner(kj::mv(owner)),
      client(env, {settings.endpoint()}, settings.tls(), settings.timeout),
      file(settings.folder + "/member"),
      launchedAt(env.timer().now()),
      patience(FIRST_PATIENCE),
      upkeep(env, this->log, settings) {
  client.setRemedy(REMEDY);
}
ManagedEtcd::~ManagedEtcd() noexcept(false) {}

Task<void> ManagedEtcd::recover() {
  struct Found {
    kj::Maybe<kj::Array<kj::byte>> record;
    bool data = false;
    bool alone = false;
    bool lost = false;  // since before
  };
  auto reading = env.workers().run([file = file, folder = settings.folder, lost = lostFile()] {
    return Found{readChecked(file, RECORD_NAME, RECORD_REMEDY), hasBegun(folder),
                 std::filesystem::exists(folder + "/alone"), std::filesystem::exists(lost)};
  });
  auto found = co_await reading;
  KJ_IF_MAYBE (bytes, found.record) record = recordOf(*bytes);
  alone = found.alone && found.data;
  bool lost = record.get() != nullptr && own().getStarted() && !found.data;
  if (lost || (record.get() == nullptr && found.lost)) {
    inVain = "this host's etcd has lost its data, '" + settings.folder +
             "/etcd', and is made anew once most of the other managers' answer; if the disk comes "
             "back first, rename '" +
             lostFile() + "' to '" + file + "' and start orchd again";
  }
  if (!lost) co_return;
  log.error(
      "store.member-lost-data, this host's member is made anew where others are; if the disk comes "
      "back first, rename 'record' and start orchd again",
      {{"folder", kj::str(settings.folder.c_str(), "/etcd")},
       {"record", kj::str(lostFile().c_str(), " to ", file.c_str())}});
  record = nullptr;
  auto moving = env.workers().run([file = file, lost = lostFile(), folder = settings.folder] {
    std::filesystem::rename(file, lost);
    syncFolder(folder);
  });
  co_await moving;
}

void ManagedEtcd::start() {
  if (record.get() == nullptr) return tellAbsent(inVain.empty() ? noMember() : inVain);
  launch();
}

Task<void> ManagedEtcd::stop() {
  stopped = true;
  owner.absent = [](std::string) {};
  owner.forget = [] {};
  watching = kj::READY_NOW;
  if (process.get() != nullptr) co_await process->stop();
  process = nullptr;
}

void ManagedEtcd::taskFailed(kj::Exception&& exception) {
  if (stopped) return;
  log.error("store.member-not-run", {{"reason", plainText(exception)}});
}

void ManagedEtcd::requireRunning() const {
  if (stopped) kj::throwFatalException(KJ_EXCEPTION(DISCONNECTED, "the store has stopped"));
}
void ManagedEtcd::requireMember() const {
  requireRunning();
  if (record.get() == nullptr) fail(kj::str(noMember().c_str()));
}

void ManagedEtcd::tellAbsent(std::string why) {
  client.setAbsent(why);
  owner.absent(why);
}

std::string ManagedEtcd::urlOf(const std::string& host) const {
  return "https://" + host + ":" + std::to_string(settings.peerPort);
}

kj::Array<kj::byte> ManagedEtcd::bytesOf(Record& message) {
  auto words = capnp::messageToFlatArray(message);
  return kj::heapArray<kj::byte>(words.asBytes());
}

kj::Own<ManagedEtcd::Record> ManagedEtcd::copy() {
  auto made = kj::heap<Record>();
  made->setRoot(own().asReader());
  return made;
}

Task<void> ManagedEtcd::keep(Record& fresh) {
  auto writing = env.workers().run([file = file, bytes = bytesOf(fresh)] {
    std::filesystem::create_directories(std::filesystem::path(file).parent_path());
    writeChecked(file, bytes);
  });
  co_await writing;
}

// What a member of before has left, without a record, is nobody's.
Task<void> ManagedEtcd::begin(kj::Own<Record> fresh) {
  auto clearing = env.workers().run([data = settings.folder + "/etcd", lost = lostFile()] {
    removeTree(data);
    removeTree(lost);
  });
  co_await clearing;
  co_await keep(*fresh);
  requireRunning();
  record = kj::mv(fresh);
  inVain.clear();
  owner.forget();
  launch();
}

void ManagedEtcd::launch() {
  tellAbsent("");
  process = nullptr;
  watching = watch().promise().eagerlyEvaluate(
      [this](kj::Exception&& exception) { taskFailed(kj::mv(exception)); });
}

ProcessSpec ManagedEtcd::command() {
  auto member = own();
  ProcessSpec spec;
  auto add = [&](auto&&... parts) { spec.argv.add(kj::str(parts...)); };
  auto peer = urlOf(member.getAddress().cStr());
  auto asked = settings.endpoint().url;
  auto files = settings.tls();
  add("etcd");
  add("--name=", member.getName());
  add("--data-dir=", settings.folder.c_str(), "/etcd");
  add("--listen-peer-urls=", peer.c_str());
  add("--initial-advertise-peer-urls=", peer.c_str());
  add("--listen-client-urls=", asked.c_str());
  add("--advertise-client-urls=", asked.c_str());
  add("--initial-cluster=", member.getCluster());
  add("--initial-cluster-state=", member.getFounds() ? "new" : "existing");
  add("--initial-cluster-token=", member.getToken());
  for (auto* of : {"--", "--peer-"}) {
    add(of, "cert-file=", files.certificate.c_str());
    add(of, "key-file=", files.key.c_str());
    add(of, "trusted-ca-file=", files.ca.c_str());
    add(of, "client-cert-auth");
  }
  // A host with several addresses does not always send from the one in its certificate.
  add("--experimental-peer-skip-client-san-verification");
  add("--heartbeat-interval=", HEARTBEAT);
  add("--election-timeout=", ELECTION);
  add("--snapshot-count=", SNAPSHOT_AFTER);
  add("--quota-backend-bytes=", settings.quotaBytes);
  // Four keys beside a batch's; each byte is in a request of JSON at most twice.
  add("--max-txn-ops=", std::max<uint64_t>(LEAST_OPS, settings.maxOps + 3));
  add("--max-request-bytes=", std::max<uint64_t>(LEAST_BYTES, settings.maxBytes / 4 * 5));
  if (alone) add("--force-new-cluster");
  add("--logger=zap");
  add("--log-outputs=stderr");
  add("--log-level=warn");
  spec.env.add(kj::str("PATH=/usr/local/bin:/usr/bin:/bin"));
  return spec;
}

// Not from within the process's own object.
Task<void> ManagedEtcd::dismantle() {
  co_await kj::evalLater([] {});
  auto pass = co_await changing.enter();
  if (stopped || record.get() == nullptr) co_return;
  log.warn("store.member-removed, this host has no etcd any more");
  co_await discard(noMember());
}

bool ManagedEtcd::isInVain() {
  return !stopped && record.get() != nullptr && !own().getStarted() &&
         env.timer().now() - launchedAt >= patience;
}

void ManagedEtcd::failed(const std::string& why) {
  if (isInVain()) tasks.add(giveUp(why).promise());
}

Task<void> ManagedEtcd::giveUp(std::string why) {
  co_await kj::evalLater([] {});
  auto pass = co_await changing.enter();
  if (!isInVain()) co_return;
  auto looking = env.workers().run([folder = settings.folder] { return hasBegun(folder); });
  bool begun = co_await looking;
  if (begun || !isInVain()) co_return;
  patience = kj::min(patience * 2, LAST_PATIENCE);
  inVain = "this host's etcd did not start, and is made anew: " + why;
  log.warn("store.member-never-ran, it is made anew where others are", {{"reason", why.c_str()}});
  co_await discard(inVain);
}

void ManagedEtcd::forgetMember(std::string why) {
  tellAbsent(kj::mv(why));
  watching = kj::READY_NOW;
  process = nullptr;
  record = nullptr;
  ownKey.clear();
  keysNotWritten.clear();
  seen.clear();
  owner.forget();
}

// Its record last: whatever instant it is cut off at, its data are not taken for a member's.
Task<void> ManagedEtcd::putAside() {
  auto aside = settings.folder + "/before";
  log.warn("store.member-put-aside, it is of an etcd that has ended", {{"folder", aside.c_str()}});
  watching = kj::READY_NOW;
  if (process.get() != nullptr) co_await process->stop();
  requireRunning();
  forgetMember(noMember());
  auto moving = env.workers().run([file = file, aside, folder = settings.folder] {
    removeTree(aside);
    std::filesystem::create_directories(aside);
    auto data = folder + "/etcd";
    if (std::filesystem::exists(data)) std::filesystem::rename(data, aside + "/etcd");
    std::filesystem::rename(file, aside + "/member");
    syncFolder(aside);
    syncFolder(folder);
  });
  co_await moving;
}

Task<void> ManagedEtcd::discard(std::string why) {
  forgetMember(kj::mv(why));
  auto removing = env.workers().run([file = file, folder = settings.folder] {
    removeTree(file);
    removeTree(folder + "/etcd");
    removeTree(folder + "/tls");
  });
  co_await removing;
}

Task<void> ManagedEtcd::watch() {
  for (;;) {
    bool written = co_await renewKeys();
    if (written) break;
    co_await env.timer().afterDelay(LATER_LOOK);
  }
  MemberProcess::Owner told{[this] { tasks.add(dismantle().promise()); },
                            [this](const std::string& why) { failed(why); }};
  launchedAt = env.timer().now();
  process = kj::heap<MemberProcess>(
      env, log, [this] { return command(); }, kj::mv(told));
  auto pause = FIRST_LOOK;
  auto keysAgainAt = launchedAt;
  for (;;) {
    co_await env.timer().afterDelay(pause);
    auto looked = co_await attempt(look());
    if (looked.ok()) pause = LATER_LOOK;
    auto now = env.timer().now();
    if (!areKeysDue() || now < keysAgainAt) continue;
    bool written = co_await renewKeys();
    if (!written) keysAgainAt = now + KEYS_AGAIN;
  }
}

Task<void> ManagedEtcd::look() {
  auto said = co_await client.demand("/v3/maintenance/status", "{}");
  auto status = orch::etcd::readStatus(said);
  if (!own().getStarted()) {
    auto noted = co_await attempt(noteStarted());
    std::string why = noted.ok() ? "" : noted.message().cStr();
    if (!why.empty() && why != startedNotNoted) {
      log.error("store.member-not-noted, trying again: if its data are lost, that is not noticed",
                {{"reason", why.c_str()}});
    }
    startedNotNoted = std::move(why);
  }
  if (status.learner) co_return;  // answers nothing else
  seen = co_await members();
  if (alone) co_await notAloneAgain();
  co_await followLeader(status);
  co_await upkeep.look(status, own().getName().cStr(), isNeeded());
}

// By the manager on this host, which leads, and whom others depose when its member is silent.
bool ManagedEtcd::isNeeded() const {
  KJ_IF_MAYBE (at, tendedAt) return seen.size() > 1 && env.timer().now() - *at < LEADS_FOR;
  return false;
}

Task<void> ManagedEtcd::noteStarted() {
  auto pass = co_await changing.enter();
  auto fresh = copy();
  fresh->getRoot<ManagedMember>().setStarted(true);
  co_await keep(*fresh);
  record = kj::mv(fresh);
  patience = FIRST_PATIENCE;
}

// The others are forgotten, durably: at the next start etcd is told nothing of it.
Task<void> ManagedEtcd::notAloneAgain() {
  log.warn("store.member-alone, it goes on without all other members");
  auto removing = env.workers().run([folder = settings.folder] {
    removeTree(folder + "/alone");
    syncFolder(folder);
  });
  co_await removing;
  alone = false;
}

// ---- what a manager asks ----

std::string ManagedEtcd::trouble() const {
  if (record.get() == nullptr) return inVain;
  if (!keysNotWritten.empty()) {
    return "the keys of this host's etcd cannot be written: " + keysNotWritten;
  }
  if (process.get() != nullptr && !process->trouble().empty()) {
    return "this host's etcd does not run: " + process->trouble();
  }
  return startedNotNoted.empty() ? upkeep.trouble() : startedNotNoted;
}

void ManagedEtcd::describe(schema::StoreServers::StateResults::Builder state) {
  requireRunning();
  state.setPresent(record.get() != nullptr);
  if (record.get() != nullptr) state.setOf(own().getToken());
  auto list = state.initServers(seen.size());
  for (uint32_t i = 0; i < list.size(); ++i) {
    auto& member = seen[i];
    list[i].setNodeId(member.name.c_str());
    list[i].setAddress(member.url.c_str());
    list[i].setVotes(!member.learner);
  }
  state.setTrouble(trouble().c_str());
}

Task<void> ManagedEtcd::found(std::string id, std::string host) {
  auto pass = co_await changing.enter();
  requireRunning();
  bool leftOver = co_await isLeftOver();
  if (leftOver) co_await putAside();
  if (record.get() == nullptr) {
    auto fresh = kj::heap<Record>();
    auto member = fresh->initRoot<ManagedMember>();
    member.setName(id.c_str());
    member.setAddress(host.c_str());
    member.setToken(env.newId());
    member.setCluster(kj::str(id.c_str(), "=", urlOf(host).c_str()));
    member.setAuthority(newMembersAuthority(env.nowNs()).c_str());
    member.setFounds(true);
    co_await begin(kj::mv(fresh));
  }
  // That it answers means that it leads itself.
  auto asked = co_await attempt(members());
  if (asked.ok()) co_return;
  auto why = trouble();
  if (!why.empty()) fail(kj::str(why.c_str()));
  kj::throwFatalException(kj::mv(asked.error()));
}

Task<void> ManagedEtcd::settle(std::string host) {
  auto pass = co_await changing.enter();
  requireRunning();
  if (record.get() == nullptr || host == own().getAddress().cStr()) co_return;
  auto fresh = copy();
  fresh->getRoot<ManagedMember>().setAddress(host.c_str());
  co_await keep(*fresh);
  requireRunning();
  record = kj::mv(fresh);
  watching = kj::READY_NOW;
  if (process.get() != nullptr) co_await process->stop();
  requireRunning();
  launch();
}

Task<void> ManagedEtcd::join(std::string id, std::string host, kj::Array<kj::byte> invitation) {
  auto pass = co_await changing.enter();
  requireRunning();
  auto fresh = recordOf(invitation);
  auto member = fresh->getRoot<ManagedMember>();
  if (id != member.getName().cStr() || host != member.getAddress().cStr()) {
    fail(kj::str("the invitation is for another host"));
  }
  if (record.get() != nullptr) {
    bool same = own().getToken() == member.getToken();
    if (same) fail(kj::str("an etcd of orch's runs on this host already"));
    co_await putAside();
  }
  co_await begin(kj::mv(fresh));
}

Task<void> ManagedEtcd::leave() {
  auto pass = co_await changing.enter();
  requireRunning();
  auto forgetting = env.workers().run([lost = lostFile()] { removeTree(lost); });
  co_await forgetting;
  if (record.get() == nullptr) {
    inVain.clear();
    tellAbsent(noMember());
    co_return;
  }
  auto removing = removeSelf().promise();
  auto removed = co_await attempt(env.timer().timeoutAfter(LEAVE_PATIENCE, kj::mv(removing)));
  requireRunning();
  log.warn("store.member-left, this host has no etcd any more",
           {{"others", removed.ok() ? kj::str("do without it") : kj::str(removed.message())}});
  tellAbsent(noMember());
  watching = kj::READY_NOW;
  if (process.get() != nullptr) co_await process->stop();
  requireRunning();
  co_await discard(noMember());
}

}  // namespace orch::store::etcd
