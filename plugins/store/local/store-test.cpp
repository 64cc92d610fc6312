// What this store promises beyond its kind: settings, one owner, group commit, bounded history,
// a full disk.
#include <catch2/catch.hpp>
#include <sys/mount.h>
#include <sys/statvfs.h>

#include <filesystem>

#include "commit-queue.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "orch/testing/test-host.h"
#include "test-store.h"

namespace orch::store::local {
namespace {

struct StoreNode {
  kj::AsyncIoContext io = kj::setupAsyncIo();
  kj::Own<Env> env = newSystemEnv(io);
};

std::string refusalOf(kj::Function<void()> call) {
  auto outcome = attemptNow([&] { call(); });
  return outcome.ok() ? "" : plainText(outcome.error()).cStr();
}

TEST_CASE("store.local: a setting that cannot be used is named with what is accepted", "[store]") {
  StoreNode node;
  testing::TestFolder folder("store-settings");
  testing::TestHost host(folder.sub("data"), folder.sub("run"), "store.local");
  auto refusal = [&](kj::Function<void(Config::Builder)> set) {
    capnp::MallocMessageBuilder message;
    auto settings = message.initRoot<Config>();
    set(settings);
    return refusalOf([&] {
      host.configure(newModuleInstance(*node.env), settings.asReader(), node.io.waitScope);
    });
  };
  CHECK(refusal([](Config::Builder) {}).empty());
  CHECK(refusal([](Config::Builder s) { s.setMaxOps(0); }) ==
        "maxOps = 0 cannot be used; 1 to 100000 is accepted");
  CHECK(refusal([](Config::Builder s) { s.setMaxBytes(1); }).find("maxBytes = 1") == 0);
  CHECK(refusal([](Config::Builder s) { s.setChangeRecords(999); }).find("changeRecords") == 0);
  CHECK(refusal([](Config::Builder s) { s.setChangeBytes(5); }).find("changeBytes") == 0);
  CHECK(refusal([](Config::Builder s) { s.setDirectory("state"); }).find("directory") == 0);
  CHECK(!std::filesystem::exists(folder.sub("data").cStr()));
}

TEST_CASE("store.local: a second owner is told who has the folder", "[store]") {
  testing::TestFolder folder("store-lock");
  auto first = std::make_unique<LocalStore>(smallState(folder.sub("state")));
  auto refusal = refusalOf([&] { LocalStore second(smallState(folder.sub("state"))); });
  CHECK(refusal.find(folder.sub("state").cStr()) != std::string::npos);
  CHECK(refusal.find("process " + std::to_string(getpid())) != std::string::npos);
  first = nullptr;
  LocalStore second(smallState(folder.sub("state")));
}

TEST_CASE("store.local: commits that wait are written together, a refused one hurts none",
          "[store]") {
  StoreNode node;
  testing::TestFolder folder("store-group");
  auto options = smallState(folder.sub("state"));
  options.logBytes = 1 << 20;
  auto store = std::make_shared<LocalStore>(options);
  uint64_t told = 0;
  CommitQueue queue(
      node.env->workers(), node.env->timer(), store,
      {[&](uint64_t revision, const FlatBatch&) { told = revision; }, [](kj::StringPtr) {}});
  std::vector<kj::Promise<CommitAnswer>> promises;
  for (int i = 0; i < 100; ++i) {
    uint64_t expected = i % 10 == 9 ? 5 : 0;
    promises.push_back(queue.commit(pending(
        "b" + std::to_string(i), {{"k" + std::to_string(i), expected, "v"}}, i % 10 == 8 ? 1 : 0)));
  }
  uint64_t revision = 0;
  for (int i = 0; i < 100; ++i) {
    auto answer = promises[i].wait(node.io.waitScope);
    bool bad = i % 10 >= 8;
    REQUIRE(answer.kind == (bad ? CommitAnswer::Kind::REFUSED : CommitAnswer::Kind::COMMITTED));
    if (!bad) REQUIRE(answer.revision == ++revision);
    if (i % 10 == 9) REQUIRE(answer.conflicts.size() == 1);
    if (i % 10 == 8) REQUIRE(answer.reason.find("the epoch is 0, not 1") == 0);
  }
  CHECK(told == 80);
  // The first was written at once, the others as one.
  CHECK(store->syncs() == 2);
  queue.close().wait(node.io.waitScope);
  auto late = attempt(queue.commit(pending("late", {}))).wait(node.io.waitScope);
  REQUIRE(!late.ok());
  CHECK(late.error().getType() == kj::Exception::Type::DISCONNECTED);
}

TEST_CASE("store.local: a commit is answered first, and noted soon after", "[store]") {
  StoreNode node;
  testing::TestFolder folder("store-noted");
  auto store = std::make_shared<LocalStore>(smallState(folder.sub("state")));
  auto noted = [&] {
    return RevisionFile(revisionPath(folder.sub("state").cStr())).last()->revision;
  };
  kj::TimerImpl timer(kj::origin<kj::TimePoint>());
  CommitQueue queue(node.env->workers(), timer, store,
                    {[](uint64_t, const FlatBatch&) {}, [](kj::StringPtr) {}});
  auto idle = [&] { queue.call([](LocalStore&) {}).wait(node.io.waitScope); };
  for (int i = 1; i <= 3; ++i) {
    queue.commit(pending("b" + std::to_string(i), {{"k" + std::to_string(i), 0, "v"}}))
        .wait(node.io.waitScope);
  }
  idle();
  CHECK(noted() == 0);
  timer.advanceTo(timer.now() + CommitQueue::NOTED_AFTER);
  idle();
  CHECK(noted() == 3);
  queue.commit(pending("b4", {{"k4", 0, "v"}})).wait(node.io.waitScope);
  queue.close().wait(node.io.waitScope);
  CHECK(noted() == 4);
}

TEST_CASE("store.local: a batch is applied once", "[store]") {
  testing::TestFolder folder("store-once");
  LocalStore store(smallState(folder.sub("state")));
  commitOne(store, "same", {{"a", 0, "1"}});
  auto again = pending("same", {{"b", 0, "1"}});
  auto answer = store.commit(kj::arrayPtr(&again, 1))[0];
  CHECK(answer.kind == CommitAnswer::Kind::REFUSED);
  CHECK(answer.reason == "batch 'same' was applied already, as revision 1");
}

TEST_CASE("store.local: a batch with a bad name is refused", "[store]") {
  CHECK(refusalOf([] { pending("", {}); }).find("a batch id of 0 bytes") != std::string::npos);
  CHECK(refusalOf([] {
          pending("b", {{"", 0, "x"}});
        }).find("a key of 0 bytes") != std::string::npos);
  CHECK(refusalOf([] {
          pending("b", {{std::string(2000, 'k'), 0, "x"}});
        }).find("a key of 2000 bytes") != std::string::npos);
  CHECK(refusalOf([] {
          pending("b", {{"a", 0, "x"}, {"a", 0, "y"}});
        }) == "batch 'b' changes 'task/a' twice; one change per object is accepted");
}

TEST_CASE("store.local: history is bounded, and who needs more reads the state", "[store]") {
  testing::TestFolder folder("store-history");
  auto options = smallState(folder.sub("state"));
  options.changeBytes = 64 << 10;
  LocalStore store(options);
  uint64_t last = 0;
  for (int i = 0; i < 24; ++i) {
    std::vector<PendingCommit> group;
    for (int n = 0; n < 50; ++n) {
      auto id = std::to_string(i * 50 + n);
      group.push_back(pending("b" + id, {{"k" + id, 0, std::string(100, 'v')}}));
    }
    for (auto& answer : store.commit(kj::arrayPtr(group.data(), group.size()))) {
      last = answer.revision;
    }
  }
  REQUIRE(last == 1200);
  // 1,000 and a few are known; of those 64 KiB can be followed.
  CHECK(!store.find("b0"));
  CHECK(!store.find("b100"));
  CHECK(store.find("b200") == 201);
  CHECK(store.changesAfter(0).gone);
  CHECK(store.changesAfter(250).gone);
  CHECK(store.changesAfter(0).revision == 1200);
  auto recent = store.changesAfter(1100);
  REQUIRE(recent.rows.size() == 100);
  CHECK(recent.rows[0].revision == 1101);
  CHECK(store.changesAfter(1200).rows.empty());
  CHECK(!store.changesAfter(1200).gone);
  CHECK(store.changesAfter(1201).gone);
}

TEST_CASE("store.local: the log does not grow without end", "[store]") {
  testing::TestFolder folder("store-log");
  auto options = smallState(folder.sub("state"));
  options.logBytes = 256 << 10;
  LocalStore store(options);
  auto log = std::string(folder.sub("state").cStr()) + "/state.db-wal";
  uint64_t revision = 0;
  for (int i = 0; i < 200; ++i) {
    revision = commitOne(store, "b" + std::to_string(i),
                         {{"k", revision, std::string(5000, static_cast<char>(i))}});
    if (store.checkpointDue()) store.checkpoint();
  }
  CHECK(std::filesystem::file_size(log) <= (256 << 10) + 16 * 4096);
  auto before = dump(store);
  store.close();
  LocalStore again(options);
  CHECK(dump(again) == before);
}

// A small file system of the test's own.
class SmallDisk final {
 public:
  explicit SmallDisk(kj::StringPtr path) : path(kj::str(path)) {
    std::filesystem::create_directories(path.cStr());
    KJ_SYSCALL(mount("orch-store-test", path.cStr(), "tmpfs", 0, "size=2m"));
  }
  ~SmallDisk() noexcept(false) { KJ_SYSCALL(umount2(path.cStr(), MNT_DETACH)); }
  // Takes all of the space that is left.
  void fill() {
    struct statvfs space;
    KJ_SYSCALL(statvfs(path.cStr(), &space));
    writeFile(ballast(), std::string(space.f_bavail * space.f_bsize, 'x'));
  }
  void release() { std::filesystem::remove(ballast()); }

 private:
  std::string ballast() { return std::string(path.cStr()) + "/ballast"; }
  kj::String path;
};

TEST_CASE("store.local: a full disk refuses a commit, and takes the next when there is space",
          "[store][root]") {
  testing::TestFolder folder("store-full");
  SmallDisk disk(folder.sub("disk"));
  auto options = smallState(folder.sub("disk/state"));
  options.logBytes = 128 << 10;
  {
    LocalStore store(options);
    uint64_t revision = commitOne(store, "first", {{"a", 0, "1"}});
    disk.fill();
    std::string reason;
    int committed = 0;
    // What is reserved for the log is used up first.
    for (int i = 0; reason.empty() && i < 1000; ++i) {
      auto commit = pending("b" + std::to_string(i), {{"a", revision, std::string(3000, 'x')}});
      auto answer = store.commit(kj::arrayPtr(&commit, 1))[0];
      if (answer.kind == CommitAnswer::Kind::COMMITTED) {
        revision = answer.revision;
        ++committed;
      } else {
        reason = answer.reason;
      }
    }
    CHECK(reason.find("no space left on the file system of '" +
                      std::string(folder.sub("disk/state").cStr())) == 0);
    CHECK(reason.find("nothing was changed") != std::string::npos);
    CHECK(committed > 0);
    auto before = dump(store);
    // In a group the one that fits is taken, if any is.
    PendingCommit group[] = {pending("large", {{"b", 0, std::string(200'000, 'x')}}),
                             pending("stale", {{"a", 1, "x"}})};
    auto answers = store.commit(kj::arrayPtr(group, 2));
    CHECK(answers[0].kind == CommitAnswer::Kind::REFUSED);
    CHECK(answers[1].conflicts.size() == 1);
    CHECK(dump(store) == before);
    CHECK(!store.find("large"));
    disk.release();
    CHECK(commitOne(store, "again", {{"a", revision, "2"}}) == revision + 1);
    CHECK(store.elect("manager-1", 0).won);
  }
  LocalStore again(options);
  CHECK(dump(again) == "task/a@" + std::to_string(again.revision()) + "=2\nrevision " +
                           std::to_string(again.revision()) + " epoch 1");
}

TEST_CASE("store.local: a state opens on a full disk", "[store][root]") {
  testing::TestFolder folder("store-fullopen");
  SmallDisk disk(folder.sub("disk"));
  auto options = smallState(folder.sub("disk/state"));
  {
    LocalStore store(options);
    commitOne(store, "first", {{"a", 0, "1"}});
  }
  disk.fill();
  options.logBytes = 4 << 20;
  LocalStore store(options);
  CHECK(dump(store) == "task/a@1=1\nrevision 1 epoch 0");
  disk.release();
  CHECK(commitOne(store, "second", {{"a", 1, "2"}}) == 2);
}

}  // namespace
}  // namespace orch::store::local
