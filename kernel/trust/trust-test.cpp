#include "kernel/trust/trust.h"

#include <catch2/catch.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "orch/attempt.h"
#include "orch/testing/test-authority.h"
#include "orch/trust/lock-box.h"

namespace orch::trust {
namespace {

struct TrustFixture {
  explicit TrustFixture(kj::StringPtr name)
      : folder(name), io(kj::setupAsyncIo()), env(newSystemEnv(io)), authority(folder, "own") {}
  kj::Own<Trust> load(const char* listen = "127.0.0.1:0") {
    auto trust = kj::heap<Trust>(*env, logger, registry, folder.path().cStr(), listen);
    trust->load().wait(io.waitScope);
    return trust;
  }
  // What the manager plugin does on the first host of a cluster; why it was refused.
  std::string adopt(Trust& trust, testing::TestAuthority& signer) {
    auto service = trust.service();
    auto asked = service.requestRequest().send().wait(io.waitScope);
    auto adopt = service.adoptRequest();
    adopt.setCertificate(signer.sign(asked.getRequest().cStr(), "orch-manager", "n1"));
    adopt.setAuthority(authority.certificate());
    adopt.setAddress("127.0.0.1:2377");
    auto done = attempt(adopt.send().ignoreResult()).wait(io.waitScope);
    return done.ok() ? "" : done.message().cStr();
  }
  void begin(Trust& trust) {
    trust.begin([](schema::Peer::Reader) -> schema::Gateway::Client { fail(kj::str("nobody")); })
        .wait(io.waitScope);
  }

  testing::TestFolder folder;
  kj::AsyncIoContext io;
  kj::Own<Env> env;
  log::Logger logger{"kernel", schema::LogLevel::ERROR};
  rpc::Registry registry;
  testing::TestAuthority authority;
};

TEST_CASE("trust: credentials are on the disk for nobody else, and there after a restart",
          "[trust]") {
  TrustFixture f("trust-file");
  auto file = f.folder.sub("credentials");
  {
    auto trust = f.load();
    f.begin(*trust);
    CHECK(trust->nodeId() == "");
    testing::TestAuthority foreign(f.folder, "foreign");
    CHECK(f.adopt(*trust, foreign) == "the certificate is not signed by the cluster's authority");
    CHECK(access(file.cStr(), F_OK) < 0);
    CHECK(f.adopt(*trust, f.authority) == "");
    CHECK(trust->nodeId() == "n1");
  }
  struct stat info = {};
  REQUIRE(stat(file.cStr(), &info) == 0);
  CHECK((info.st_mode & 07777) == 0600);
  auto state = f.load()->service().stateRequest().send().wait(f.io.waitScope);
  CHECK(state.getState().getMember());
  CHECK(state.getState().getNodeId() == "n1");
  CHECK(state.getState().getRole() == schema::Role::MANAGER);
}

TEST_CASE(
    "trust: an address that is not this host's changes nothing, and a start goes on without it",
    "[trust]") {
  TrustFixture f("trust-address");
  auto file = f.folder.sub("credentials");
  {
    auto trust = f.load("192.0.2.1:2377");
    f.begin(*trust);
    CHECK_THAT(f.adopt(*trust, f.authority),
               Catch::StartsWith(
                   "cannot listen at '192.0.2.1:2377': Cannot assign requested address; is "));
    CHECK(access(file.cStr(), F_OK) < 0);
    CHECK(trust->nodeId() == "");
  }
  {
    auto trust = f.load();
    f.begin(*trust);
    REQUIRE(f.adopt(*trust, f.authority) == "");
  }
  auto trust = f.load("192.0.2.1:2377");
  f.begin(*trust);
  CHECK(trust->nodeId() == "n1");
}

TEST_CASE("trust: a renewed certificate is this node's, durable, and shown from then on",
          "[trust]") {
  TrustFixture f("trust-renewed");
  std::string renewed;
  {
    auto trust = f.load();
    f.begin(*trust);
    auto service = trust->service();
    auto why = [&](const std::string& certificate) {
      auto request = service.renewRequest();
      request.setCertificate(certificate);
      auto done = attempt(request.send().ignoreResult()).wait(f.io.waitScope);
      return std::string(done.ok() ? "" : done.message().cStr());
    };
    CHECK(why("") == "nobody has asked for a certificate");
    REQUIRE(f.adopt(*trust, f.authority) == "");
    auto asked = service.requestRequest().send().wait(f.io.waitScope);
    std::string request = asked.getRequest().cStr();
    CHECK(why(f.authority.sign(request, "orch-manager", "n2")) ==
          "the certificate is not this node's");
    testing::TestAuthority foreign(f.folder, "foreign");
    CHECK(why(foreign.sign(request, "orch-manager", "n1")) ==
          "the certificate is not signed by the cluster's authority");
    renewed = f.authority.sign(request, "orch-manager", "n1", "manager.orch", 7);
    CHECK(why(renewed) == "");
  }
  auto state = f.load()->service().stateRequest().send().wait(f.io.waitScope);
  CHECK(state.getState().getNotAfterNs() == holderOf(renewed).notAfterNs);
  CHECK(state.getState().getAddress() == "127.0.0.1:2377");
}

TEST_CASE("trust: of changes at the same time none is lost", "[trust]") {
  TrustFixture f("trust-together");
  auto trust = f.load();
  f.begin(*trust);
  REQUIRE(f.adopt(*trust, f.authority) == "");
  auto service = trust->service();
  for (int round = 0; round < 20; ++round) {
    auto asked = service.requestRequest().send().wait(f.io.waitScope);
    auto request = service.renewRequest();
    auto certificate = f.authority.sign(asked.getRequest().cStr(), "orch-manager", "n1",
                                        "manager.orch", 1 + round);
    request.setCertificate(certificate);
    auto know = service.knowRequest();
    auto manager = kj::str("192.0.2.", round + 1, ":2377");
    know.initManagers(1).set(0, manager);
    auto renewing = request.send().ignoreResult();
    auto knowing = know.send().ignoreResult();
    renewing.wait(f.io.waitScope);
    knowing.wait(f.io.waitScope);
    auto again = f.load();
    auto found = again->service().stateRequest().send().wait(f.io.waitScope);
    auto managers = found.getState().getManagers();
    REQUIRE(managers.size() == 1);
    CHECK(managers[0] == manager);
    auto kept = service.stateRequest().send().wait(f.io.waitScope);
    CHECK(kept.getState().getManagers()[0] == manager);
    CHECK(found.getState().getNotAfterNs() == holderOf(certificate).notAfterNs);
  }
}

TEST_CASE("trust: a renewed certificate with another role counts with the next start, which comes",
          "[trust]") {
  TrustFixture f("trust-role");
  {
    auto trust = f.load();
    f.begin(*trust);
    auto service = trust->service();
    REQUIRE(f.adopt(*trust, f.authority) == "");
    auto asked = service.requestRequest().send().wait(f.io.waitScope);
    auto request = service.renewRequest();
    request.setCertificate(f.authority.sign(asked.getRequest().cStr(), "orch-worker", "n1"));
    request.send().ignoreResult().wait(f.io.waitScope);
    auto state = service.stateRequest().send().wait(f.io.waitScope);
    CHECK(state.getState().getRole() == schema::Role::MANAGER);
    auto knowing = service.knowRequest();
    knowing.initManagers(1).set(0, "127.0.0.2:2377");
    knowing.send().ignoreResult().wait(f.io.waitScope);
    trust->onRestart().wait(f.io.waitScope);
  }
  auto state = f.load()->service().stateRequest().send().wait(f.io.waitScope);
  CHECK(state.getState().getRole() == schema::Role::WORKER);
  REQUIRE(state.getState().getManagers().size() == 1);
  CHECK(state.getState().getManagers()[0] == "127.0.0.2:2377");
}

TEST_CASE("trust: with a certificate of another authority it is told who counts from now on",
          "[trust]") {
  TrustFixture f("trust-authority");
  testing::TestAuthority next(f.folder, "next");
  auto both = next.certificate() + f.authority.certificate();
  {
    auto trust = f.load();
    f.begin(*trust);
    auto service = trust->service();
    REQUIRE(f.adopt(*trust, f.authority) == "");
    auto before = service.stateRequest().send().wait(f.io.waitScope);
    CHECK(before.getState().getCluster() == digestOf(f.authority.certificate()).c_str());
    auto why = [&](testing::TestAuthority& signer, const std::string& authorities) {
      auto asked = service.requestRequest().send().wait(f.io.waitScope);
      auto request = service.renewRequest();
      request.setCertificate(signer.sign(asked.getRequest().cStr(), "orch-manager", "n1"));
      request.initTrusted().setAuthorities(authorities.c_str());
      auto done = attempt(request.send().ignoreResult()).wait(f.io.waitScope);
      return std::string(done.ok() ? "" : done.message().cStr());
    };
    CHECK(why(f.authority, both) == "the certificate is not signed by the cluster's authority");
    CHECK(why(next, "nonsense") == "this is no certificate in PEM");
    CHECK(why(next, both) == "");
  }
  auto state = f.load()->service().stateRequest().send().wait(f.io.waitScope);
  CHECK(state.getState().getCluster() == digestOf(next.certificate()).c_str());
  CHECK(state.getState().getAuthority() == both.c_str());
  CHECK(state.getState().getTrusted() == nameOf({both, "", ""}).c_str());
}

TEST_CASE("trust: a locked node has no key on its disk, and goes on with that of its lock",
          "[trust]") {
  TrustFixture f("trust-lock");
  auto key = newLockKey(), other = newLockKey();
  auto raw = [](const std::string& text) {
    return kj::arrayPtr(reinterpret_cast<const kj::byte*>(text.data()), text.size());
  };
  auto lock = [&](Trust& trust, const std::string& with) {
    auto request = trust.service().lockRequest();
    request.setKey(raw(with));
    auto done = attempt(request.send().ignoreResult()).wait(f.io.waitScope);
    return std::string(done.ok() ? "" : done.message().cStr());
  };
  auto unlock = [&](Trust& trust, const std::string& with) {
    auto request = trust.service().unlockRequest();
    request.setKey(raw(with));
    auto done = attempt(request.send().ignoreResult()).wait(f.io.waitScope);
    return std::string(done.ok() ? "" : done.message().cStr());
  };
  auto dataKey = [&](Trust& trust) {
    auto asked = attempt(trust.service().dataKeyRequest().send()).wait(f.io.waitScope);
    return asked.ok() ? std::string(asked.value().getKey().asChars().begin(),
                                    asked.value().getKey().size())
                      : std::string(asked.message().cStr());
  };
  auto onDisk = [&]() {
    std::ostringstream text;
    text << std::ifstream(f.folder.sub("credentials").cStr()).rdbuf();
    return text.str();
  };
  std::string data;
  {
    auto trust = f.load();
    f.begin(*trust);
    CHECK(lock(*trust, key) == "this node is in no cluster of several nodes");
    REQUIRE(f.adopt(*trust, f.authority) == "");
    CHECK_THAT(onDisk(), Catch::Contains("PRIVATE KEY"));
    CHECK(dataKey(*trust).empty());
    CHECK(unlock(*trust, key) == "this node is not locked");
    CHECK(lock(*trust, other) == "");
    data = dataKey(*trust);
    CHECK(data.size() == LOCK_KEY_BYTES);
    CHECK(lock(*trust, key) == "");
    CHECK(dataKey(*trust) == data);
    CHECK_THAT(onDisk(), !Catch::Contains("PRIVATE KEY") && !Catch::Contains(data));
    auto knowing = trust->service().knowRequest();
    knowing.initManagers(1).set(0, "127.0.0.2:2377");
    knowing.send().ignoreResult().wait(f.io.waitScope);
    CHECK_THAT(onDisk(), !Catch::Contains("PRIVATE KEY"));
  }
  {
    auto trust = f.load();
    f.begin(*trust);
    auto service = trust->service();
    CHECK(trust->nodeId() == "n1");
    auto state = service.stateRequest().send().wait(f.io.waitScope);
    CHECK(state.getState().getLocked());
    CHECK(state.getState().getLock() == nameOfKey(key).c_str());
    CHECK_THAT(dataKey(*trust), Catch::StartsWith("this node is locked"));
    CHECK_THAT(lock(*trust, other), Catch::StartsWith("this node is locked"));
    auto reaching = service.reachRequest();
    reaching.setAddress("127.0.0.1:1");
    CHECK_THAT(attempt(reaching.send()).wait(f.io.waitScope).message().cStr(),
               Catch::StartsWith("this node is locked"));
    auto before = onDisk();
    auto waiting = service.unlockedRequest().send();
    CHECK_THAT(unlock(*trust, other),
               Catch::StartsWith("this is not the key that this node was locked with") &&
                   Catch::Contains("the one of before the last 'orch unlock-key --rotate'"));
    CHECK(onDisk() == before);
    CHECK_FALSE(waiting.poll(f.io.waitScope));
    CHECK(unlock(*trust, key) == "");
    waiting.wait(f.io.waitScope);
    CHECK(dataKey(*trust) == data);
    CHECK_THAT(onDisk(), !Catch::Contains("PRIVATE KEY"));
    // A worker starts without anybody's help.
    auto asked = service.requestRequest().send().wait(f.io.waitScope);
    auto request = service.renewRequest();
    request.setCertificate(f.authority.sign(asked.getRequest().cStr(), "orch-worker", "n1"));
    request.send().ignoreResult().wait(f.io.waitScope);
    CHECK_THAT(onDisk(), Catch::Contains("PRIVATE KEY"));
  }
  auto state = f.load()->service().stateRequest().send().wait(f.io.waitScope);
  CHECK_FALSE(state.getState().getLocked());
}

TEST_CASE("trust: what comes together with the unlocking does not undo it", "[trust]") {
  TrustFixture f("trust-unlock");
  auto key = newLockKey();
  auto raw = [&] {
    return kj::arrayPtr(reinterpret_cast<const kj::byte*>(key.data()), key.size());
  };
  {
    auto trust = f.load();
    f.begin(*trust);
    REQUIRE(f.adopt(*trust, f.authority) == "");
    auto locking = trust->service().lockRequest();
    locking.setKey(raw());
    locking.send().ignoreResult().wait(f.io.waitScope);
  }
  auto trust = f.load();
  f.begin(*trust);
  auto service = trust->service();
  auto know = service.knowRequest();
  know.initManagers(1).set(0, "127.0.0.2:2377");
  auto unlock = service.unlockRequest();
  unlock.setKey(raw());
  auto knowing = know.send().ignoreResult();
  auto unlocking = unlock.send().ignoreResult();
  unlocking.wait(f.io.waitScope);
  knowing.wait(f.io.waitScope);
  auto state = service.stateRequest().send().wait(f.io.waitScope);
  CHECK_FALSE(state.getState().getLocked());
  CHECK(state.getState().getManagers()[0] == "127.0.0.2:2377");
  CHECK(service.dataKeyRequest().send().wait(f.io.waitScope).getKey().size() == LOCK_KEY_BYTES);
}

TEST_CASE("trust: a lock does not bring back what has been left", "[trust]") {
  TrustFixture f("trust-left");
  auto key = newLockKey();
  auto trust = f.load();
  f.begin(*trust);
  REQUIRE(f.adopt(*trust, f.authority) == "");
  auto service = trust->service();
  auto lock = [&] {
    auto request = service.lockRequest();
    request.setKey(kj::arrayPtr(reinterpret_cast<const kj::byte*>(key.data()), key.size()));
    return attempt(request.send().ignoreResult()).promise();
  };
  auto locking = lock();
  auto leaving = service.leaveRequest().send().ignoreResult();
  locking.wait(f.io.waitScope);
  leaving.wait(f.io.waitScope);
  CHECK(access(f.folder.sub("credentials").cStr(), F_OK) < 0);
  CHECK(lock().wait(f.io.waitScope).message() == "this node is in no cluster of several nodes");
  CHECK(access(f.folder.sub("credentials").cStr(), F_OK) < 0);
}

TEST_CASE("trust: another address is durable, and is refused if nobody could listen there",
          "[trust]") {
  TrustFixture f("trust-moved");
  auto why = [&](Trust& trust, kj::StringPtr address) {
    auto request = trust.service().moveRequest();
    request.setAddress(address);
    auto done = attempt(request.send().ignoreResult()).wait(f.io.waitScope);
    return std::string(done.ok() ? "" : done.message().cStr());
  };
  {
    auto trust = f.load("");
    f.begin(*trust);
    CHECK(why(*trust, "127.0.0.1") == "this node is in no cluster of several nodes");
  }
  {
    auto trust = f.load();
    f.begin(*trust);
    REQUIRE(f.adopt(*trust, f.authority) == "");
    CHECK(why(*trust, "10.0.0.7") == "");  // what is before the host has it, for all that one knows
    CHECK(why(*trust, "127.0.0.1:7777") == "");
  }
  auto trust = f.load("");
  CHECK_THAT(why(*trust, "192.0.2.1"), Catch::StartsWith("cannot listen at '192.0.2.1:2377': "));
  auto state = f.load()->service().stateRequest().send().wait(f.io.waitScope);
  CHECK(state.getState().getAddress() == "127.0.0.1:7777");
}

class NamingGateway final : public schema::Gateway::Server {
 public:
  explicit NamingGateway(schema::Peer::Reader peer) : id(kj::str(peer.getId())) {}
  kj::Promise<void> version(VersionContext context) override {
    context.getResults().setNode(id);
    return kj::READY_NOW;
  }

 private:
  const kj::String id;
};

TEST_CASE("trust: another node is reached as who this one is, until it lets go", "[trust]") {
  TrustFixture f("trust-reach");
  auto trust = f.load();
  f.begin(*trust);
  auto service = trust->service();
  log::Refusals refusals(*f.env, f.logger);
  auto keys = newKeyRequest();
  PeerListener other(*f.env, refusals,
                     {{f.authority.certificate(), "", ""},
                      f.authority.sign(keys.request, "orch-manager", "n2", "manager.orch"),
                      keys.key},
                     [](schema::Peer::Reader peer) { return kj::heap<NamingGateway>(peer); });
  other.open(kj::str("127.0.0.1:0")).wait(f.io.waitScope);
  auto reach = [&]() {
    auto request = service.reachRequest();
    request.setAddress(kj::str("127.0.0.1:", other.port()));
    return attempt(request.send()).wait(f.io.waitScope);
  };
  CHECK(reach().message() == "this node is in no cluster of several nodes");
  REQUIRE(f.adopt(*trust, f.authority) == "");
  auto reached = reach();
  REQUIRE(reached.ok());
  auto gateway = reached.value().getGateway().castAs<schema::Gateway>();
  CHECK(gateway.versionRequest().send().wait(f.io.waitScope).getNode() == "n1");
  other.dropMembers();
  auto after = attempt(gateway.versionRequest().send()).wait(f.io.waitScope);
  REQUIRE(!after.ok());
  CHECK(after.error().getType() == kj::Exception::Type::DISCONNECTED);
  CHECK(reach().ok());
}

TEST_CASE("trust: managers that the leader names are known after a restart", "[trust]") {
  TrustFixture f("trust-know");
  auto know = [&](Trust& trust) {
    auto request = trust.service().knowRequest();
    auto list = request.initManagers(2);
    list.set(0, "10.0.0.1:2377");
    list.set(1, "10.0.0.2:2377");
    request.send().wait(f.io.waitScope);
  };
  {
    auto trust = f.load();
    f.begin(*trust);
    know(*trust);  // in no cluster: nothing to know
    REQUIRE(f.adopt(*trust, f.authority) == "");
    know(*trust);
  }
  auto state = f.load()->service().stateRequest().send().wait(f.io.waitScope);
  REQUIRE(state.getState().getManagers().size() == 2);
  CHECK(state.getState().getManagers()[1] == "10.0.0.2:2377");
}

TEST_CASE("trust: a call that nobody waits for any more ends with it", "[trust]") {
  TrustFixture f("trust-ends");
  auto trust = f.load();
  f.begin(*trust);
  REQUIRE(f.adopt(*trust, f.authority) == "");
  auto service = trust->service();
  for (auto address : {"10.0.0.1:2377", "10.0.0.2:2377"}) {
    auto request = service.knowRequest();
    request.initManagers(1).set(0, address);
    auto call = request.send();
    call.poll(f.io.waitScope);  // it has begun
  }
  trust = nullptr;
  kj::evalLast([]() {}).wait(f.io.waitScope);
}

TEST_CASE("trust: credentials that are damaged are refused by name", "[trust]") {
  TrustFixture f("trust-damaged");
  {
    auto trust = f.load();
    f.begin(*trust);
    REQUIRE(f.adopt(*trust, f.authority) == "");
  }
  auto file = f.folder.sub("credentials");
  {
    std::fstream bytes(file.cStr(), std::ios::in | std::ios::out | std::ios::binary);
    bytes.seekp(100);
    bytes.put('~');
  }
  Trust trust(*f.env, f.logger, f.registry, f.folder.path().cStr(), "");
  auto loaded = attempt(trust.load()).wait(f.io.waitScope);
  REQUIRE(!loaded.ok());
  CHECK_THAT(loaded.message().cStr(),
             Catch::StartsWith(kj::str("the node's credentials '", file, "' is damaged: ").cStr()));
  CHECK_THAT(loaded.message().cStr(), Catch::Contains("join the cluster again with 'orch join'"));
}

}  // namespace
}  // namespace orch::trust
