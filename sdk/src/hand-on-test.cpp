#include "orch/hand-on.h"

#include <capnp/membrane.h>
#include <catch2/catch.hpp>

#include "orch/attempt.h"
#include "orch/revocable.h"
#include "orch/schema/gateway.capnp.h"
#include "orch/testing/virtual-env.h"

namespace orch {
namespace {

using schema::Gateway;

// Has itself under every name.
class Place final : public Gateway::Server {
 public:
  kj::Promise<void> version(VersionContext context) override {
    context.getResults().setNode("there");
    return kj::READY_NOW;
  }
  kj::Promise<void> service(ServiceContext context) override {
    context.getResults().setCapability(thisCap());
    return kj::READY_NOW;
  }
};

class StandIn final : public capnp::Capability::Server {
 public:
  explicit StandIn(capnp::Capability::Client target) : target(kj::mv(target)) {}
  DispatchCallResult dispatchCall(uint64_t interfaceId, uint16_t methodId, AnyCall call) override {
    return {handOn(target, interfaceId, methodId, call), false};
  }

 private:
  capnp::Capability::Client target;
};

// Somebody who stands for a place, behind a membrane; both are still being found.
struct HandOnFixture {
  HandOnFixture() {
    Gateway::Client behind = capnp::Capability::Client(kj::mv(inside.promise)).castAs<Gateway>();
    auto membrane = capnp::membrane(kj::mv(behind), kj::refcounted<Revocable>(kj::mv(end.promise)));
    found = kj::evalLater([membrane = kj::mv(membrane)]() mutable { return kj::mv(membrane); });
  }
  void find() { inside.fulfiller->fulfill(kj::heap<StandIn>(kj::heap<Place>())); }

  testing::VirtualWorld world{1};
  kj::PromiseFulfillerPair<capnp::Capability::Client> inside =
      kj::newPromiseAndFulfiller<capnp::Capability::Client>();
  kj::PromiseFulfillerPair<void> end = kj::newPromiseAndFulfiller<void>();
  Gateway::Client found = nullptr;
};

TEST_CASE("hand on: whoever holds what a call is to return need not wait for the call", "[sdk]") {
  HandOnFixture f;
  auto place = f.found.serviceRequest().send().getCapability().castAs<Gateway>();
  f.find();
  auto version = place.versionRequest().send().wait(f.world.waitScope());
  CHECK(version.getNode() == "there");
}

TEST_CASE(
    "hand on: a call that was taken back before it was handed on fails, and so does what it "
    "was to return",
    "[sdk]") {
  HandOnFixture f;
  auto asked = f.found.serviceRequest().send();
  auto place = asked.getCapability().castAs<Gateway>();
  f.world.settle();
  f.end.fulfiller->reject(KJ_EXCEPTION(DISCONNECTED, "it was taken back"));
  f.world.settle();
  f.find();
  auto answer = attempt(kj::mv(asked)).wait(f.world.waitScope());
  REQUIRE_FALSE(answer.ok());
  CHECK(answer.message() == "it was taken back");
  auto version = attempt(place.versionRequest().send()).wait(f.world.waitScope());
  REQUIRE_FALSE(version.ok());
  CHECK(version.message() == "it was taken back");
}

}  // namespace
}  // namespace orch
