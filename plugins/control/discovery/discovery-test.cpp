// The service over backends of the test's own, in virtual time.
#include "discovery.h"

#include <catch2/catch.hpp>

#include "orch/attempt.h"
#include "orch/conformance/discovery-conformance.h"
#include "orch/testing/test-host.h"
#include "orch/testing/virtual-env.h"

namespace orch::control::discovery {
namespace {

using Addresses = std::vector<std::string>;
using Kind = kj::Exception::Type;

// What a backend does, and what it was asked.
struct Fake {
  kj::Maybe<schema::DiscoverySink::Client> sink;
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> running;
  kj::Maybe<Kind> refuses;  // registrations
  kj::Maybe<Kind> refusesWatch;
  bool makes = false;  // clusters
  unsigned watches = 0;
  std::vector<std::string> asked;  // `register a:1 180000`

  void tell(const Addresses& all, kj::WaitScope& scope) {
    auto request = KJ_ASSERT_NONNULL(sink).entriesRequest();
    auto list = request.initEntries(all.size());
    for (uint32_t i = 0; i < all.size(); ++i) list[i].setAddress(all[i].c_str());
    request.send().wait(scope);
  }
  void tellFailure(kj::StringPtr why, kj::WaitScope& scope) {
    auto request = KJ_ASSERT_NONNULL(sink).failedRequest();
    request.setReason(why);
    request.send().wait(scope);
  }
  // As when its process has ended.
  void crash() {
    sink = nullptr;
    KJ_ASSERT_NONNULL(running)->reject(KJ_EXCEPTION(DISCONNECTED, "its process has ended"));
  }
};

[[noreturn]] void failAs(Kind kind) {
  kj::throwFatalException(kj::Exception(kind, __FILE__, __LINE__, kj::str("it is refused")));
}

class FakeServer final : public schema::Discovery::Server {
 public:
  explicit FakeServer(Fake& fake) : fake(fake) {}
  kj::Promise<void> watch(WatchContext context) override {
    ++fake.watches;
    KJ_IF_MAYBE (kind, fake.refusesWatch) failAs(*kind);
    context.allowCancellation();
    fake.sink = context.getParams().getSink();
    auto pair = kj::newPromiseAndFulfiller<void>();
    fake.running = kj::mv(pair.fulfiller);
    return kj::mv(pair.promise);
  }
  kj::Promise<void> register_(RegisterContext context) override {
    auto params = context.getParams();
    fake.asked.emplace_back(
        kj::str("register ", params.getEntry().getAddress(), " ", params.getTtlMs()).cStr());
    KJ_IF_MAYBE (kind, fake.refuses) failAs(*kind);
    return kj::READY_NOW;
  }
  kj::Promise<void> unregister(UnregisterContext context) override {
    fake.asked.emplace_back(kj::str("unregister ", context.getParams().getAddress()).cStr());
    return kj::READY_NOW;
  }
  kj::Promise<void> create(CreateContext context) override {
    if (!fake.makes) failAs(Kind::UNIMPLEMENTED);
    context.getResults().setUri(kj::str(context.getParams().getHub(), "/v1/t"));
    return kj::READY_NOW;
  }

 private:
  Fake& fake;
};

struct Node {
  explicit Node(kj::Function<void(Config::Builder)> change = [](Config::Builder) {})
      : world(testing::testSeed()), host("/nowhere", "/nowhere", "control.discovery") {
    auto settings = message.initRoot<Config>();
    change(settings);
    made = kj::heap<Host>(host.client(), NodeFacts{});
    host.addService("discovery.file#1", kj::heap<FakeServer>(file));
    host.addService("discovery.token#2", kj::heap<FakeServer>(token));
    discovery = kj::refcounted<Discovery>(world.env(), *made, settings.asReader());
    discovery->start().promise().wait(world.waitScope());
    service = newDiscoveryService(kj::addRef(*discovery));
    auto request = service.watchRequest();
    request.setSink(conformance::keepSeen(seen));
    watching = request.send().ignoreResult().eagerlyEvaluate([](kj::Exception&&) { return; });
    world.settle();
  }
  ~Node() noexcept(false) {
    discovery->end();
    watching = nullptr;
    world.settle();
  }
  void announce(kj::StringPtr address) {
    auto request = service.announceRequest();
    request.initEntry().setAddress(address);
    request.send().wait(world.waitScope());
    world.settle();
  }
  capnp::Response<schema::NodeDiscovery::ListResults> list() {
    return service.listRequest().send().wait(world.waitScope());
  }
  void tell(Fake& fake, const Addresses& all) {
    fake.tell(all, world.waitScope());
    world.settle();
  }

  testing::VirtualWorld world;
  Fake file, token;
  testing::TestHost host;
  capnp::MallocMessageBuilder message;
  kj::Own<Host> made;
  kj::Own<Discovery> discovery;
  schema::NodeDiscovery::Client service = nullptr;
  conformance::SeenByWatch seen;
  kj::Promise<void> watching = nullptr;
};

TEST_CASE("discovery: the union of all backends is told whole at each change", "[discovery]") {
  Node node;
  CHECK(node.seen.lists == std::vector<Addresses>{{}});
  node.tell(node.file, {"b:1", "c:1", "d:1"});
  node.tell(node.token, {"a:1", "b:1"});
  CHECK(node.seen.lists.back() == Addresses{"a:1", "b:1", "c:1", "d:1"});
  CHECK(node.seen.lists.size() == 3);
  node.tell(node.token, {"a:1", "b:1"});
  CHECK(node.seen.lists.size() == 3);
  node.tell(node.file, {"c:1", "d:1"});
  CHECK(node.seen.lists.back() == Addresses{"a:1", "b:1", "c:1", "d:1"});
  auto all = node.list();
  REQUIRE(all.getEntries().size() == 4);
  CHECK(all.getEntries()[1].getBackends().size() == 1);
  CHECK(all.getEntries()[1].getBackends()[0] == "discovery.token#2");
}

// In classic Swarm the first two removed all nodes at once, and all their containers were
// rescheduled.
TEST_CASE("discovery: a failed, an empty or no answer removes nobody", "[discovery]") {
  Node node;
  node.tell(node.file, {"a:1", "b:1"});
  auto before = node.seen.lists.size();
  node.tell(node.file, {});
  node.file.tellFailure("no such file", node.world.waitScope());
  node.world.settle();
  CHECK(node.list().getBackends()[0].getError() == "no such file");
  node.file.crash();
  node.world.advance(3600 * kj::SECONDS);
  CHECK(node.file.watches > 1);
  CHECK(node.list().getEntries().size() == 2);
  CHECK(node.seen.lists.size() == before);
  node.tell(node.file, {"a:1", "b:1"});
  CHECK(node.list().getBackends()[0].getError() == "");
  CHECK(node.host.events().empty());
}

TEST_CASE("discovery: a mass loss is held for a while and told as an event", "[discovery]") {
  Node node;
  node.tell(node.token, {"a:1", "b:1", "c:1", "d:1", "e:1", "f:1"});
  node.tell(node.token, {"a:1", "b:1", "c:1"});
  REQUIRE(node.host.events().size() == 1);
  auto& event = node.host.events()[0];
  CHECK(event.topic == "discovery.massLoss");
  CHECK(event.subject == "discovery.token#2");
  CHECK(event.attributes.at("lost") == "3");
  CHECK(event.attributes.at("of") == "6");
  CHECK(node.seen.lists.back().size() == 6);
  CHECK(node.list().getEntries()[5].getHeld());
  CHECK(node.list().getBackends()[1].getHeld() == 3);
  node.world.advance(200 * kj::SECONDS);
  node.tell(node.token, {"a:1", "b:1", "c:1", "d:1"});
  node.world.advance(99 * kj::SECONDS);
  CHECK(node.seen.lists.back().size() == 6);
  node.world.advance(1 * kj::SECONDS);
  CHECK(node.seen.lists.back() == Addresses{"a:1", "b:1", "c:1", "d:1"});
  CHECK(node.host.events().size() == 1);
}

TEST_CASE("discovery: this node is registered where it can be, and beaten with jitter",
          "[discovery]") {
  Node node;
  node.file.refuses = Kind::UNIMPLEMENTED;
  node.world.advance(1000 * kj::SECONDS);
  CHECK(node.token.asked.empty());
  node.announce("me:1");
  CHECK(node.file.asked == Addresses{"register me:1 180000"});
  CHECK(node.token.asked == Addresses{"register me:1 180000"});
  node.world.advance(53 * kj::SECONDS);
  CHECK(node.token.asked.size() == 1);
  node.world.advance(3600 * kj::SECONDS);
  CHECK(node.token.asked.size() > 3600 / 66);
  CHECK(node.token.asked.size() < 3600 / 54 + 3);
  CHECK(node.file.asked.size() == 1);
  CHECK(!node.list().getBackends()[0].getWritable());
  CHECK(node.list().getBackends()[1].getWritable());
  auto count = node.token.asked.size();
  node.announce("me:2");
  CHECK(node.token.asked.size() == count + 2);
  CHECK(std::count(node.token.asked.begin(), node.token.asked.end(), "unregister me:1") == 1);
  CHECK(std::count(node.token.asked.begin(), node.token.asked.end(), "register me:2 180000") == 1);
}

TEST_CASE("discovery: a registration that fails is tried again soon, and told", "[discovery]") {
  Node node;
  node.token.refuses = Kind::FAILED;
  node.announce("me:1");
  CHECK(node.list().getBackends()[1].getRegisterError() == "it is refused");
  node.world.advance(4 * kj::SECONDS);
  CHECK(node.token.asked.size() >= 2);
  node.token.refuses = nullptr;
  node.world.advance(60 * kj::SECONDS);
  CHECK(node.list().getBackends()[1].getRegisterError() == "");
  auto lines = node.host.logLines();
  CHECK(std::count(lines.begin(), lines.end(), "warn discovery.register-failed") == 1);
}

TEST_CASE("discovery: backends come with a reload, and go with their entries", "[discovery]") {
  Node node;
  node.tell(node.file, {"a:1"});
  Fake late;
  node.host.addService("discovery.node#3", kj::heap<FakeServer>(late));
  node.host.emit("plugin.started").wait(node.world.waitScope());
  node.world.settle();
  node.tell(late, {"z:1"});
  CHECK(node.seen.lists.back() == Addresses{"a:1", "z:1"});
  late.sink = nullptr;
  KJ_ASSERT_NONNULL(late.running)->reject(KJ_EXCEPTION(DISCONNECTED, "restarted"));
  node.world.advance(5 * kj::SECONDS);
  CHECK(late.watches == 2);
  CHECK(node.seen.lists.back() == Addresses{"a:1", "z:1"});
  node.discovery->end();  // before `late` goes
}

TEST_CASE("discovery: a backend that cannot be watched is no source, and may make clusters",
          "[discovery]") {
  Node node;
  Fake maker;
  maker.refusesWatch = Kind::UNIMPLEMENTED;
  node.host.addService("discovery.token", kj::heap<FakeServer>(maker));
  auto create = [&] {
    auto request = node.service.createRequest();
    request.setHub("token://h");
    return attempt(request.send()).promise().wait(node.world.waitScope());
  };
  auto none = create();
  REQUIRE(!none.ok());
  CHECK(std::string(none.message().cStr()).starts_with("no plugin of this node makes clusters"));
  maker.makes = true;
  node.host.emit("plugin.started").wait(node.world.waitScope());
  node.world.advance(600 * kj::SECONDS);
  CHECK(maker.watches == 1);
  auto made = create();
  REQUIRE(made.ok());
  CHECK(made.value().getUri() == "token://h/v1/t");
  CHECK(node.list().getBackends()[1].getError() == "");
  node.discovery->end();
}

TEST_CASE("discovery: a time to live that a beat can miss is refused", "[discovery]") {
  testing::VirtualWorld world(1);
  testing::TestHost host("/nowhere", "/nowhere", "control.discovery");
  Host made(host.client(), NodeFacts{});
  capnp::MallocMessageBuilder message;
  auto settings = message.initRoot<Config>();
  settings.setTtlMs(66'000);
  auto refused =
      attemptNow([&] { return kj::refcounted<Discovery>(world.env(), made, settings.asReader()); });
  REQUIRE(!refused.ok());
  CHECK(std::string(refused.message().cStr()).starts_with("ttlMs is 66000; accepted: more than"));
}

}  // namespace
}  // namespace orch::control::discovery
