// What containers have of their images, and where a node is found, in virtual time.
#include <catch2/catch.hpp>

#include "image-facts.h"
#include "lib/node-address.h"
#include "orch/schema/trust.capnp.h"
#include "orch/testing/test-host.h"
#include "orch/testing/virtual-env.h"

namespace orch::integration::registrator {
namespace {

// Two images; the first is held by t1 and t2.
class TwoImages final : public schema::ImageStore::Server {
 public:
  explicit TwoImages(int& asked) : asked(asked) {}
  kj::Promise<void> list(ListContext context) override {
    ++asked;
    auto images = context.getResults().initImages(2);
    auto holders = images[0].initHolders(2);
    holders.set(0, "t1");
    holders.set(1, "t2");
    auto config = images[0].initConfig();
    config.initEnv(1).set(0, "SERVICE_NAME=author");
    images[1].initHolders(1).set(0, "t9");
    return kj::READY_NOW;
  }

 private:
  int& asked;
};

class KnownTrust final : public schema::Trust::Server {
 public:
  explicit KnownTrust(kj::StringPtr address) : address(address) {}
  kj::Promise<void> state(StateContext context) override {
    context.getResults().initState().setAddress(address);
    return kj::READY_NOW;
  }
  kj::Promise<void> addresses(AddressesContext context) override {
    context.getResults().initAddresses(1).set(0, "10.0.0.9");
    return kj::READY_NOW;
  }

 private:
  kj::StringPtr address;
};

struct ImageFixture {
  testing::VirtualWorld world{1};
  testing::TestHost kernel{"/data", "/run"};
  kj::Own<Host> host = kj::heap<Host>(kernel.client(), NodeFacts());
};

TEST_CASE("registrator: images are asked once for all containers that are new", "[registrator]") {
  int asked = 0;
  ImageFixture test;
  ImageFacts facts(test.world.env(), *test.host, "image.oci");
  CHECK_FALSE(facts.learn({"t1"}).wait(test.world.waitScope()));  // it is not there yet
  schema::ImageStore::Client images = kj::heap<TwoImages>(asked);
  test.kernel.addService("image.oci", images);
  CHECK(facts.learn({"t1", "t3"}).wait(test.world.waitScope()));
  CHECK(facts.of("t1").getEnv().size() == 1);
  CHECK(facts.of("t3").getEnv().size() == 0);
  CHECK(facts.learn({"t1", "t3"}).wait(test.world.waitScope()));
  CHECK(asked == 1);
  facts.keep({"t3"});
  CHECK(facts.of("t1").getEnv().size() == 0);
  CHECK(facts.learn({"t1", "t2", "t3"}).wait(test.world.waitScope()));
  CHECK(asked == 2);
  CHECK(facts.of("t2").getEnv().size() == 1);
}

TEST_CASE("registrator: a node is found where its cluster finds it, else at its first address",
          "[registrator]") {
  ImageFixture test;
  auto found = [&] { return nodeAddress(*test.host).wait(test.world.waitScope()); };
  CHECK(found() == "127.0.0.1");
  schema::Trust::Client alone = kj::heap<KnownTrust>("");
  test.kernel.addService("trust", alone);
  CHECK(found() == "10.0.0.9");
  schema::Trust::Client member = kj::heap<KnownTrust>("10.0.0.1:2377");
  test.kernel.addService("trust", member);
  CHECK(found() == "10.0.0.1");
}

}  // namespace
}  // namespace orch::integration::registrator
