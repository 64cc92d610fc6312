// A state that comes to one host: from a backup, or because nobody else is left.
#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "lead/restored.h"
#include "lead/test-lead-host.h"
#include "orch/durable-file.h"

namespace orch::control::manager {
namespace {

class MemorySink final : public schema::ByteSink::Server {
 public:
  explicit MemorySink(std::string& file) : file(file) {}
  kj::Promise<void> write(WriteContext context) override {
    auto bytes = context.getParams().getBytes();
    file.append(bytes.asChars().begin(), bytes.size());
    return kj::READY_NOW;
  }

 private:
  std::string& file;
};

// Two hosts, each with a store of its own, and one that both reach.
struct BackupFixture {
  explicit BackupFixture(const char* name)
      : one(around, hosts, name, '1'), two(around, hosts, name, '2') {
    shared.share();
    serve();
  }
  void serve() {
    one.host.addService("store.local", around.store.client());
    two.host.addService("store.local", own.client());
    for (auto* host : {&one, &two}) host->host.addService("store.shared", shared.client());
  }
  void begin() {
    one.start();
    around.settle();
    one.init();
  }
  void migrate() {
    auto request = one.control.migrateRequest();
    request.setStore("store.shared");
    request.send().wait(around.world.waitScope());
  }
  std::string backup(LeadHost& asked) {
    std::string file;
    auto request = asked.control.backupRequest();
    request.setSink(kj::heap<MemorySink>(file));
    auto made = request.send().wait(around.world.waitScope());
    CHECK(made.getSummary().getName() == "default");
    CHECK(made.getSummary().getObjects() > 0);
    return file;
  }
  Task<void> restoring(LeadHost& asked, std::string file) {
    auto request = asked.control.restoreRequest();
    request.setRequestId("restore");
    request.setAddress(asked.address.c_str());
    auto begun = co_await request.send();
    auto upload = begun.getUpload();
    for (size_t at = 0; at < file.size(); at += 1000) {
      auto part = upload.writeRequest();
      auto size = std::min<size_t>(1000, file.size() - at);
      part.setBytes(kj::arrayPtr(file.data() + at, size).asBytes());
      co_await part.send().ignoreResult();
    }
    co_await upload.finishRequest().send().ignoreResult();
  }
  // Empty: it was.
  std::string restore(LeadHost& asked, const std::string& file) {
    auto done = attempt(restoring(asked, file)).wait(around.world.waitScope());
    around.settle();
    return done.ok() ? std::string() : plainText(done.error()).cStr();
  }
  std::string forceNew(LeadHost& asked) {
    auto request = asked.control.forceNewRequest();
    request.setRequestId("force");
    auto done = attempt(request.send()).wait(around.world.waitScope());
    return done.ok() ? std::string(done.value().getStore().cStr()) : done.message().cStr();
  }
  std::string leaderIn(testing::MemoryStore& store) {
    StoreClient client(around.world.env(), store.client(), 1 * kj::SECONDS);
    return client.lead().wait(around.world.waitScope()).leader;
  }
  std::set<std::string> services(LeadHost& asked) {
    std::set<std::string> names;
    auto answer = asked.control.servicesRequest().send().wait(around.world.waitScope());
    for (auto row : answer.getServices()) names.insert(row.getName().cStr());
    return names;
  }
  std::set<std::string> nodes(LeadHost& asked) {
    std::set<std::string> ids;
    auto answer = asked.control.nodesRequest().send().wait(around.world.waitScope());
    for (auto node : answer.getNodes()) ids.insert(node.getMeta().getId().cStr());
    return ids;
  }

  TestCluster around;
  testing::MemoryStore own, shared;
  LeadHosts hosts;
  LeadHost one, two;
};

using BackupNames = std::set<std::string>;

TEST_CASE("backup: a cluster goes on on another host, with all that it had", "[manager]") {
  BackupFixture f("backup");
  f.begin();
  for (auto name : {"web", "db"}) REQUIRE(f.one.create(name).empty());
  auto secret = f.one.secret();
  auto epoch = f.one.epoch();
  auto file = f.backup(f.one);
  f.one.stop();

  f.two.start();
  f.around.settle();
  auto before = f.two.epoch();
  REQUIRE(f.restore(f.two, file) == "");
  CHECK(f.services(f.two) == BackupNames{"db", "web"});
  CHECK(f.two.epoch() >= epoch + ELECTIONS_SINCE);
  CHECK(f.two.epoch() > before);
  CHECK(f.two.secret() == secret);
  CHECK(f.two.kernel.member);
  CHECK(f.two.kernel.cluster == f.one.kernel.cluster);
  CHECK(f.nodes(f.two) == BackupNames{f.two.id});
  REQUIRE(f.two.create("more").empty());
  f.two.stop();
  f.two.start();
  f.around.settle();
  CHECK(f.services(f.two) == BackupNames{"db", "more", "web"});
  CHECK(f.two.leader() == f.two.id);
  // It is in a cluster now.
  CHECK_THAT(f.restore(f.two, file), Catch::StartsWith("this host is a node of a cluster already"));
}

TEST_CASE("backup: one that is damaged, and a host that has services, are refused", "[manager]") {
  BackupFixture f("backup-refused");
  f.begin();
  REQUIRE(f.one.create("web").empty());
  auto file = f.backup(f.one);
  f.two.start();
  f.around.settle();
  auto epoch = f.two.epoch();
  CHECK_THAT(f.restore(f.two, file.substr(0, file.size() - 1)), Catch::Contains("it is not whole"));
  auto damaged = file;
  damaged[file.size() / 2] ^= 1;
  CHECK_THAT(f.restore(f.two, damaged), Catch::StartsWith("cannot use the backup"));
  CHECK(f.services(f.two).empty());
  CHECK(f.two.epoch() == epoch);
  CHECK_FALSE(f.two.kernel.member);
  REQUIRE(f.two.create("mine").empty());
  CHECK_THAT(f.restore(f.two, file), Catch::StartsWith("this host runs services"));
  CHECK(f.services(f.two) == BackupNames{"mine"});
}

TEST_CASE("backup: a follower makes one as well, and so does one that nobody leads", "[manager]") {
  LeadFixture f("backup-follower");
  f.together();
  REQUIRE(f.one.create("web").empty());
  f.around.advance(1 * kj::SECONDS);
  auto make = [&](LeadHost& asked) {
    std::string file;
    auto request = asked.control.backupRequest();
    request.setSink(kj::heap<MemorySink>(file));
    auto made = request.send().wait(f.around.world.waitScope());
    CHECK(made.getSummary().getSecrets());
    return static_cast<uint64_t>(made.getSummary().getObjects());
  };
  auto objects = make(f.one);
  CHECK(make(f.two) == objects);
  f.around.store.disconnect();
  f.one.cut();
  f.around.advance(10 * kj::SECONDS);
  CHECK(make(f.two) == objects);
  CHECK(make(f.one) == objects);
}

TEST_CASE("backup: whenever the host dies, the cluster is there as a whole or not at all",
          "[manager]") {
  std::string file;
  {
    BackupFixture source("backup-source");
    source.begin();
    for (auto name : {"web", "db"}) REQUIRE(source.one.create(name).empty());
    file = source.backup(source.one);
  }
  size_t done = 0, undone = 0;
  for (int64_t atMs = 0; atMs < 30; ++atMs) {
    INFO("killed after " << atMs << " ms");
    BackupFixture f("backup-killed");
    f.two.start();
    f.around.settle();
    f.own.setDisk(f.around.world.env().timer(), [] { return 2 * kj::MILLISECONDS; });
    auto restoring = attempt(f.restoring(f.two, file)).promise().eagerlyEvaluate(nullptr);
    f.around.advance(atMs * kj::MILLISECONDS);
    f.own.crash();
    f.two.crash();
    f.serve();
    f.two.start();
    f.around.advance(1 * kj::SECONDS);
    auto services = f.services(f.two);
    bool whole = services == BackupNames{"db", "web"};
    CHECK((whole || services.empty()));
    ++(whole ? done : undone);
    CHECK(f.two.leader() == f.two.id);
    if (!whole) CHECK(f.restore(f.two, file) == "");
    if (!whole) CHECK(f.services(f.two) == BackupNames{"db", "web"});
    f.two.stop();
  }
  CHECK(done > 0);
  CHECK(undone > 0);
}

TEST_CASE("backup: the authority in it is that of the state in it", "[manager]") {
  BackupFixture f("backup-authority");
  f.begin();
  f.migrate();
  REQUIRE(f.one.create("web").empty());
  REQUIRE(f.two.join(f.one, f.one.secret().c_str()).empty());
  f.two.start();
  f.around.advance(2 * kj::SECONDS);
  auto rotating = f.one.control.rotateAuthorityRequest();
  rotating.setRequestId("rotate");
  rotating.send().wait(f.around.world.waitScope());
  // The follower has not heard of it.
  auto file = f.backup(f.two);
  f.two.stop();
  f.one.stop();
  testing::MemoryStore fresh;
  LeadHost three(f.around, f.hosts, "backup-authority", '3');
  three.host.addService("store.local", fresh.client());
  three.start();
  f.around.settle();
  CHECK(f.restore(three, file) == "");
  CHECK(f.services(three) == BackupNames{"web"});
  three.stop();
  std::filesystem::remove(three.folder.sub("control.manager.authority").cStr());
  three.start();
  f.around.settle();
  std::string none;
  auto request = three.control.backupRequest();
  request.setSink(kj::heap<MemorySink>(none));
  auto refused = attempt(request.send()).wait(f.around.world.waitScope());
  REQUIRE_FALSE(refused.ok());
  CHECK_THAT(refused.message().cStr(),
             Catch::StartsWith("this manager has not got the cluster's authority yet"));
  CHECK(none.empty());
}

TEST_CASE("backup: a cluster whose managers are locked is locked where it goes on", "[manager]") {
  BackupFixture f("backup-locked");
  f.begin();
  auto locking = f.one.control.updateClusterRequest();
  locking.setRequestId("lock");
  locking.initChange().getAutolock().setSet(true);
  locking.send().wait(f.around.world.waitScope());
  auto key = f.one.kernel.lockKey;
  REQUIRE_FALSE(key.empty());
  auto file = f.backup(f.one);
  f.one.stop();
  f.two.start();
  f.around.settle();
  REQUIRE(f.restore(f.two, file) == "");
  CHECK(f.two.kernel.lockKey == key);
  std::ostringstream kept;
  kept << std::ifstream(f.two.folder.sub("control.manager.authority").cStr()).rdbuf();
  CHECK(kept.str().find("orch: encrypted") != std::string::npos);
  CHECK(kept.str().find("PRIVATE KEY") == std::string::npos);
}

TEST_CASE("leave: the last manager keeps its services, and nothing of the cluster's keys",
          "[manager]") {
  BackupFixture f("leave-last");
  f.begin();
  auto making = f.one.control.createServiceRequest();
  making.setRequestId("web");
  auto spec = making.initSpec();
  spec.setName("web");
  spec.getMode().initReplicated();
  spec.initTask().initContainer().setImage("registry:5000/app:1");
  auto login = making.initLogin();
  login.setRegistry("registry:5000");
  login.setUser("ann");
  login.setPassword("secret");
  making.send().wait(f.around.world.waitScope());
  auto locking = f.one.control.updateClusterRequest();
  locking.setRequestId("lock");
  locking.initChange().getAutolock().setSet(true);
  locking.send().wait(f.around.world.waitScope());
  auto file = f.one.folder.sub("control.manager.authority");
  REQUIRE(std::filesystem::exists(file.cStr()));
  auto before = f.one.kernel.cluster;
  auto token = f.one.secret();
  bool locked = GENERATE(false, true);
  if (locked) {
    f.one.stop();
    f.one.kernel.locked = true;
    f.one.start();
  }
  auto leaving = f.one.control.leaveRequest();
  leaving.setForce(true);
  leaving.send().wait(f.around.world.waitScope());
  CHECK_FALSE(std::filesystem::exists(file.cStr()));
  f.one.stop();
  f.one.start();
  f.around.settle();
  CHECK(f.services(f.one) == BackupNames{"web"});
  auto asked = f.one.control.joinTokenRequest();
  asked.setRequestId("token");
  auto refused = attempt(asked.send()).wait(f.around.world.waitScope());
  CHECK_FALSE(refused.ok());
  f.one.init();
  CHECK(f.one.kernel.member);
  CHECK(f.one.kernel.cluster != before);
  CHECK(f.one.secret() != token);
  CHECK(f.one.kernel.lockKey.empty());
  auto key = f.one.control.unlockKeyRequest().send().wait(f.around.world.waitScope());
  CHECK(key.getKey().size() == 0);
  f.one.openAgent();
  f.around.settle();
  REQUIRE(f.one.agent->tasks.size() == 1);
  bool has = f.one.agent->tasks.begin()->second.login == "registry:5000 ann secret";
  CHECK(has != locked);  // what only the authority's key opened is lost with that
}

TEST_CASE("leave: an authority that lies there from before is not that of the next cluster",
          "[manager]") {
  namespace fs = std::filesystem;
  BackupFixture f("leave-stale");
  f.begin();
  auto file = f.one.folder.sub("control.manager.authority");
  auto kept = f.one.folder.sub("kept");
  fs::copy_file(file.cStr(), kept.cStr());
  auto before = f.one.kernel.cluster;
  auto leaving = f.one.control.leaveRequest();
  leaving.setForce(true);
  leaving.send().wait(f.around.world.waitScope());
  f.one.stop();
  f.one.start();
  f.around.settle();
  f.one.stop();
  fs::copy_file(kept.cStr(), file.cStr());
  f.one.start();
  f.around.settle();
  f.one.init();
  CHECK(f.one.kernel.cluster != before);
  CHECK(f.one.kernel.member);
}

TEST_CASE("force new: a manager that is left alone goes on with what it knew", "[manager]") {
  BackupFixture f("force-new");
  f.begin();
  f.migrate();
  REQUIRE(f.one.create("web").empty());
  REQUIRE(f.two.join(f.one, f.one.secret().c_str()).empty());
  f.two.start();
  f.around.advance(2 * kj::SECONDS);
  CHECK_THAT(f.forceNew(f.two), Catch::StartsWith("a manager leads the cluster"));
  CHECK(f.leaderIn(f.shared) == f.one.id);
  auto epoch = f.one.epoch();

  f.shared.holdElections(true);
  f.one.cut();
  f.around.advance(5 * kj::SECONDS);
  CHECK_THAT(f.forceNew(f.two), Catch::StartsWith("the store 'store.shared' answers"));
  f.shared.disconnect();
  f.shared.holdElections(false);
  f.around.advance(10 * kj::SECONDS);
  CHECK(f.forceNew(f.two) == "store.local");
  CHECK(f.two.leader() == f.two.id);
  CHECK(f.leaderIn(f.own) == f.two.id);
  CHECK(f.services(f.two) == BackupNames{"web"});
  CHECK(f.nodes(f.two) == BackupNames{f.two.id});
  CHECK(f.two.epoch() >= epoch + ELECTIONS_SINCE);
  REQUIRE(f.two.create("more").empty());
  for (int start = 0; start < 2; ++start) {
    f.two.stop();
    f.two.start();
    f.around.advance(1 * kj::SECONDS);
    CHECK(f.services(f.two) == BackupNames{"more", "web"});
    CHECK(f.two.kernel.managers == std::vector{f.two.address});
  }
}

TEST_CASE("force new: the one that led goes on the same way", "[manager]") {
  BackupFixture f("force-led");
  f.begin();
  f.migrate();
  REQUIRE(f.one.create("web").empty());
  f.shared.disconnect();
  f.around.advance(10 * kj::SECONDS);
  CHECK(f.leaderIn(f.around.store) == "moved:store.shared");
  CHECK(f.forceNew(f.one) == "store.local");
  CHECK(f.leaderIn(f.around.store) == f.one.id);
  CHECK(f.services(f.one) == BackupNames{"web"});
  REQUIRE(f.one.create("more").empty());
}

TEST_CASE("force new: when it fails half way, the state stays where it was", "[manager]") {
  BackupFixture f("force-half");
  f.begin();
  f.migrate();
  REQUIRE(f.two.join(f.one, f.one.secret().c_str()).empty());
  f.two.start();
  f.around.advance(2 * kj::SECONDS);
  REQUIRE(f.one.create("web").empty());
  f.around.advance(1 * kj::SECONDS);
  f.one.cut();
  f.shared.disconnect();
  f.around.advance(10 * kj::SECONDS);
  auto inTheWay = unfinishedName(f.two.folder.sub("control.manager.home").cStr());
  bool noted = GENERATE(true, false);
  if (noted) {
    f.own.inject(testing::MemoryStore::Fault::REFUSE, 1);  // after the copy
  } else {
    std::filesystem::create_directory(inTheWay);
  }
  CHECK(f.forceNew(f.two) != "store.local");
  CHECK(f.leaderIn(f.own) == "moved:store.shared");
  f.around.advance(2 * kj::SECONDS);
  CHECK_THAT(f.two.create("early"), Catch::Contains("'store.shared' cannot be used"));
  SECTION("it may be asked for again") {
    std::filesystem::remove(inTheWay);
    CHECK(f.forceNew(f.two) == "store.local");
    CHECK(f.services(f.two) == BackupNames{"web"});
    CHECK(f.two.create("more").empty());
  }
  SECTION("or not") {
    f.two.stop();
    f.two.start();
    f.around.advance(2 * kj::SECONDS);
    CHECK_THAT(f.two.create("late"), Catch::Contains("the state is in 'store.shared'"));
    f.shared.reconnect();
    f.one.mend();
    f.around.advance(5 * kj::SECONDS);
    CHECK(f.two.leader() == f.one.id);
    CHECK(f.two.create("more").empty());
    CHECK(f.services(f.one) == BackupNames{"more", "web"});
  }
}

TEST_CASE("force new: without a copy of the state it is refused", "[manager]") {
  BackupFixture f("force-unknown");
  f.begin();
  f.migrate();
  REQUIRE(f.two.join(f.one, f.one.secret().c_str()).empty());
  f.shared.disconnect();
  f.one.cut();
  f.two.start();
  f.around.advance(5 * kj::SECONDS);
  CHECK_THAT(f.forceNew(f.two),
             Catch::StartsWith("this manager does not know the state of the cluster"));
}

}  // namespace
}  // namespace orch::control::manager
