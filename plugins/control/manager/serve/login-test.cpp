#include <catch2/catch.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "orch/attempt.h"
#include "test-cluster.h"

namespace orch::control::manager {
namespace {

// One node that gets no task ready, so that each assignment is of one that is yet to be.
struct LoginCluster {
  LoginCluster() { begin(); }
  void begin() {
    cluster.start();
    node = &cluster.addNode();
    node->onStart = [](auto&, auto&) { return schema::TaskState::NEW; };
    node->open();
  }
  template <typename Request>
  void send(Request request, const std::string& password, uint32_t replicas = 1) {
    request.setRequestId(cluster.world.env().newId());
    auto spec = request.initSpec();
    spec.setName("web");
    spec.getMode().initReplicated().setReplicas(replicas);
    spec.initTask().initContainer().setImage("registry:5000/app:1");
    if (!password.empty()) {
      auto login = request.initLogin();
      login.setRegistry("registry:5000");
      login.setUser("ann");
      login.setPassword(password.c_str());
    }
    auto answer = request.send().wait(cluster.world.waitScope());
    CHECK_FALSE(answer.getService().hasSealedLogin());
    cluster.settle();
  }
  void create(const std::string& password) {
    send(cluster.control.createServiceRequest(), password);
  }
  void update(const std::string& password, uint32_t replicas) {
    auto request = cluster.control.updateServiceRequest();
    request.setId("web");
    send(kj::mv(request), password, replicas);
  }
  // Of each task that the node has.
  std::vector<std::string> logins() {
    std::vector<std::string> all;
    for (auto& entry : node->tasks) all.push_back(entry.second.login);
    return all;
  }
  std::string keyFile() { return folder.sub("control.manager/login-key").cStr(); }
  testing::TestFolder folder{"manager-login"};
  TestCluster cluster{1000, testing::testSeed(), folder.path()};
  ScriptedNode* node = nullptr;
};

using Logins = std::vector<std::string>;
const std::string ANN = "registry:5000 ann ";

TEST_CASE("login: sealed in the state, given to the nodes, shown to nobody", "[manager]") {
  LoginCluster test;
  test.create("sesame-4711");
  CHECK(test.logins() == Logins{ANN + "sesame-4711"});
  auto bytes = test.cluster.store.allValues();
  CHECK(bytes.find("registry:5000/app:1") != std::string::npos);
  CHECK(bytes.find("sesame") == std::string::npos);
  CHECK(bytes.find("ann") == std::string::npos);
  auto service = test.cluster.service("web");
  CHECK(service.getService().getSpec().getName() == "web");
  CHECK_FALSE(service.getService().hasSealedLogin());
  struct stat info;
  REQUIRE(stat(test.keyFile().c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
  for (auto& line : test.cluster.host.logLines()) CHECK(line.find("sesame") == std::string::npos);
}

TEST_CASE("login: it stays until the next one comes, and replaces no task", "[manager]") {
  LoginCluster test;
  test.create("first");
  test.update("", 2);
  CHECK(test.logins() == Logins{ANN + "first", ANN + "first"});
  test.update("second", 2);
  CHECK(test.cluster.service("web").getService().getSpecVersion() == 1);
  test.update("", 3);
  auto logins = test.logins();
  CHECK(std::count(logins.begin(), logins.end(), ANN + "second") == 1);
  // The next manager opens it too.
  test.cluster.stop();
  test.begin();
  CHECK(test.logins() == Logins(3, ANN + "second"));
}

TEST_CASE("login: without its key the tasks go on without it, and it is told", "[manager]") {
  LoginCluster test;
  test.create("sesame-4711");
  test.cluster.stop();
  unlink(test.keyFile().c_str());
  test.begin();
  auto logins = test.logins();
  REQUIRE(logins.size() == 1);
  CHECK(logins[0].find("sesame") == std::string::npos);
  auto& lines = test.cluster.host.logLines();
  CHECK(std::count(lines.begin(), lines.end(), "warn manager.login-lost, going on without it") ==
        1);
}

TEST_CASE("login: one that is too large is refused", "[manager]") {
  LoginCluster test;
  auto refused = attemptNow([&] { test.create(std::string(20'000, 'x')); });
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.message() == "usage: a login for a registry has at most 16384 bytes");
  CHECK(test.node->tasks.empty());
}

}  // namespace
}  // namespace orch::control::manager
