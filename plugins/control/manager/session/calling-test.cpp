// Workers that do not find the manager are told where it is.
#include <catch2/catch.hpp>

#include "member/test-trust.h"
#include "orch/fail.h"
#include "orch/schema/gateway.capnp.h"
#include "test-cluster.h"

namespace orch::control::manager {
namespace {

// At the port of a worker.
class WorkerPort final : public schema::Gateway::Server, public kj::Refcounted {
 public:
  explicit WorkerPort(std::vector<std::string>& told) : told(told) {}
  kj::Promise<void> service(ServiceContext context) override {
    KJ_REQUIRE(context.getParams().getName() == "contact");
    context.getResults().setCapability(kj::heap<Contact>(told));
    return kj::READY_NOW;
  }

 private:
  class Contact final : public schema::Contact::Server {
   public:
    explicit Contact(std::vector<std::string>& told) : told(told) {}
    kj::Promise<void> managers(ManagersContext context) override {
      std::string all;
      for (auto address : context.getParams().getAddresses())
        all += std::string(" ") + address.cStr();
      told.push_back(all);
      return kj::READY_NOW;
    }

   private:
    std::vector<std::string>& told;
  };
  std::vector<std::string>& told;
};

struct CallingFixture {
  CallingFixture() : folder("calling"), cluster(1000, testing::testSeed(), folder.path()) {
    kernel.reached = [this](const std::string& address) -> capnp::Capability::Client {
      reached.push_back(address);
      if (silent) fail(kj::str("no route to host"));
      return kj::heap<WorkerPort>(told);
    };
    cluster.host.addService("trust", kernel.client());
    cluster.start();
    auto request = cluster.control.initRequest();
    request.setRequestId("init");
    request.setAddress("10.0.0.1");
    request.send().wait(cluster.world.waitScope());
    one = &cluster.addNode("node1");
    one->address = "192.168.0.1:2377";
    one->drivers = {"network.overlay"};
    one->open();
    cluster.settle();
  }
  // A member asks itself what it is to be, until it is stopped.
  ~CallingFixture() { cluster.stop(); }
  testing::TestFolder folder;
  TestTrust kernel;
  std::vector<std::string> reached, told;
  bool silent = false;
  TestCluster cluster;
  ScriptedNode* one = nullptr;
};

TEST_CASE("calling: a worker without a session is told where the managers are", "[manager]") {
  CallingFixture f;
  f.cluster.advance(1 * kj::MINUTES);
  CHECK(f.reached.empty());
  f.one->cut();
  f.cluster.advance(1 * kj::SECONDS);
  CHECK(f.reached.empty());  // it comes by itself, most often
  f.cluster.advance(5 * kj::SECONDS);
  CHECK(f.reached.front() == "192.168.0.1:2377");
  CHECK(f.told.front() == " 10.0.0.1:2377");
  f.one->open();
  f.cluster.settle();
  auto calls = f.reached.size();
  f.cluster.advance(5 * kj::MINUTES);
  CHECK(f.reached.size() == calls);
}

TEST_CASE("calling: one that cannot be reached is called more and more seldom", "[manager]") {
  CallingFixture f;
  f.silent = true;
  f.one->cut();
  f.cluster.advance(10 * kj::MINUTES);
  CHECK(f.told.empty());
  CHECK(f.reached.size() > 10);
  CHECK(f.reached.size() < 20);
}

TEST_CASE("calling: one that has left is not called, nor one that was removed", "[manager]") {
  CallingFixture f;
  f.one->close(true);
  f.cluster.advance(1 * kj::MINUTES);
  CHECK(f.reached.empty());
}

}  // namespace
}  // namespace orch::control::manager
