// The lock of managers: who is locked, with which key, and what a locked one does.
#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "member/test-rotation.h"
#include "orch/trust/lock-box.h"

namespace orch::control::manager {
namespace {

struct LockFixture : RotationFixture {
  using RotationFixture::RotationFixture;
  std::string setLock(LeadHost& at, bool on, const char* requestId) {
    auto request = at.control.updateClusterRequest();
    request.setRequestId(requestId);
    request.initChange().getAutolock().setSet(on);
    auto answer = request.send().wait(around.world.waitScope());
    CHECK(answer.getCluster().getAutolock() == on);
    CHECK_FALSE(answer.getCluster().hasSealedLockKey());
    return answer.getUnlockKey().cStr();
  }
  std::string key(LeadHost& at, const char* requestId = "key", bool rotate = false) {
    auto request = at.control.unlockKeyRequest();
    request.setRequestId(requestId);
    request.setRotate(rotate);
    auto answer = attempt(request.send()).wait(around.world.waitScope());
    return answer.ok() ? answer.value().getKey().cStr() : answer.message().cStr();
  }
  bool isPlain(LeadHost& at) {
    std::ostringstream text;
    text << std::ifstream(keyFile(at)).rdbuf();
    return text.str().find("PRIVATE KEY") != std::string::npos;
  }
};

TEST_CASE("autolock: all managers are locked with the key that there is at the time", "[manager]") {
  LockFixture f("autolock");
  f.together();
  CHECK(f.key(f.one) == "");
  CHECK_THAT(f.key(f.one, "k0", true), Catch::StartsWith("managers are not locked; 'orch cluster"));
  CHECK(f.isPlain(f.one));
  auto first = f.setLock(f.two, true, "lock1");
  CHECK_THAT(first, Catch::StartsWith("ORCHKEY-1-"));
  f.around.advance(1 * kj::SECONDS);
  for (auto host : {&f.one, &f.two}) {
    CHECK(trust::unlockKeyText(host->kernel.lockKey) == first);
    CHECK_FALSE(f.isPlain(*host));
    CHECK(f.key(*host) == first);
  }
  CHECK(f.setLock(f.one, true, "lock2") == first);  // it is so already
  auto second = f.key(f.two, "k1", true);
  CHECK(second != first);
  CHECK(f.key(f.two, "k1", true) == second);  // the same request once more
  // The authority is replaced, and the key stays.
  CHECK(f.rotate(f.one, "r1") == "");
  f.around.advance(5 * kj::SECONDS);
  CHECK_FALSE(f.ask(f.one).getRotation().getRuns());
  for (auto host : {&f.one, &f.two}) {
    CHECK(trust::unlockKeyText(host->kernel.lockKey) == second);
    CHECK(f.key(*host) == second);
    CHECK_FALSE(f.isPlain(*host));
  }
  CHECK(f.setLock(f.one, false, "lock3") == "");
  f.around.advance(1 * kj::SECONDS);
  for (auto host : {&f.one, &f.two}) {
    CHECK(host->kernel.lockKey.empty());
    CHECK(f.isPlain(*host));
  }
}

TEST_CASE("autolock: a manager that cannot write the key encrypted tries until it can, and says so",
          "[manager]") {
  LockFixture f("autolock-disk");
  f.together();
  namespace fs = std::filesystem;
  auto file = f.keyFile(f.two), aside = file + ".aside";
  fs::rename(file, aside);
  fs::create_directory(file);  // nothing takes its place
  f.setLock(f.one, true, "lock");
  f.around.advance(10 * kj::SECONDS);
  CHECK(f.two.lines("trust.lock-not-taken, trying with each beat") == 1);
  CHECK_FALSE(f.isPlain(f.one));
  fs::remove(file);
  fs::rename(aside, file);
  REQUIRE(f.isPlain(f.two));
  f.around.advance(1 * kj::SECONDS);
  CHECK_FALSE(f.isPlain(f.two));
  CHECK(f.two.lines("trust.lock-not-taken") == 1);
}

TEST_CASE("autolock: a leader that cannot write the key encrypted tries until it can",
          "[manager]") {
  LockFixture f("autolock-leaders-disk");
  f.together();
  namespace fs = std::filesystem;
  auto file = f.keyFile(f.one), aside = file + ".aside";
  fs::rename(file, aside);
  fs::create_directory(file);
  auto request = f.one.control.updateClusterRequest();
  request.setRequestId("lock");
  request.initChange().getAutolock().setSet(true);
  auto refused = attempt(request.send()).wait(f.around.world.waitScope());
  REQUIRE_FALSE(refused.ok());
  CHECK_THAT(refused.message().cStr(), Catch::StartsWith("it is decided, but not in force yet"));
  fs::remove(file);
  fs::rename(aside, file);
  f.around.advance(5 * kj::SECONDS);
  auto key = f.key(f.one);
  for (auto host : {&f.one, &f.two}) {
    CHECK(trust::unlockKeyText(host->kernel.lockKey) == key);
    CHECK_FALSE(f.isPlain(*host));
  }
}

TEST_CASE("autolock: a manager that starts again waits for the key, and says so", "[manager]") {
  LockFixture f("autolock-waits");
  f.together();
  f.setLock(f.one, true, "lock");
  f.around.advance(1 * kj::SECONDS);
  f.two.stop();
  f.two.kernel.locked = true;
  f.two.start();
  f.around.advance(1 * kj::SECONDS);
  CHECK_THAT(f.two.create("web"), Catch::StartsWith("this manager is locked, and its tasks run on: "
                                                    "'orch unlock'"));
  auto info = f.two.control.infoRequest().send().wait(f.around.world.waitScope());
  CHECK(info.getInfo().getSelf().getLocked());
  auto status = f.two.control.statusRequest().send().wait(f.around.world.waitScope());
  CHECK_THAT(status.getStatus().getStore().getProblem().cStr(), Catch::Contains("is locked"));
  auto init = f.two.control.initRequest();
  init.setRequestId("init-locked");
  auto refused = attempt(init.send()).wait(f.around.world.waitScope());
  REQUIRE(!refused.ok());
  CHECK_THAT(refused.message().cStr(), Catch::StartsWith("this manager is locked"));
  CHECK(f.one.create("web").empty());
  f.two.kernel.locked = false;
  f.two.kernel.unlocking.fulfiller->fulfill();
  f.around.advance(5 * kj::SECONDS);
  CHECK(f.two.leader() == f.one.id);
  CHECK(f.two.create("other").empty());
  // It leads, too.
  f.one.cut();
  CHECK(f.two.create("third").empty());
  CHECK(f.two.leader() == f.two.id);
}

TEST_CASE("autolock: a lock that came between two writes is made up for", "[manager]") {
  LockFixture f("autolock-half");
  f.together();
  f.setLock(f.one, true, "lock");
  f.around.advance(1 * kj::SECONDS);
  auto encrypted = f.one.folder.sub("encrypted");
  namespace fs = std::filesystem;
  fs::copy_file(f.keyFile(f.one), encrypted.cStr());
  // The kernel's part was done, and the authority was not encrypted yet, or was not any more.
  f.setLock(f.one, false, "unlock");
  f.around.advance(1 * kj::SECONDS);
  auto key = trust::newLockKey();
  f.two.stop();
  f.one.stop();
  f.one.kernel.lockKey = key;
  f.one.start();
  f.around.advance(2 * kj::SECONDS);
  CHECK(f.one.kernel.lockKey.empty());  // as the cluster has it
  CHECK(f.isPlain(f.one));
  f.one.stop();
  fs::copy_file(encrypted.cStr(), f.keyFile(f.one), fs::copy_options::overwrite_existing);
  f.one.start();
  f.around.advance(2 * kj::SECONDS);
  CHECK(f.isPlain(f.one));
  CHECK(f.token(f.one).starts_with("ORCHTKN-1-"));
}

}  // namespace
}  // namespace orch::control::manager
