#include "kernel/bus/bus.h"

#include <capnp/serialize.h>
#include <catch2/catch.hpp>

#include "orch/testing/virtual-env.h"

namespace orch::bus {
namespace {

kj::Path eventFolder() { return kj::Path({"var", "events"}); }

struct Seen {
  std::vector<std::string> topics;
  std::vector<uint64_t> sequences;
  uint64_t lagged = 0;
};

class Recorder final : public schema::EventSink::Server {
 public:
  Recorder(Seen& seen, kj::Maybe<kj::Promise<void>> hold = nullptr)
      : seen(seen), hold(kj::mv(hold)) {}
  kj::Promise<void> events(EventsContext context) override {
    auto params = context.getParams();
    seen.lagged += params.getLagged();
    for (auto event : params.getEvents()) {
      seen.topics.push_back(event.getTopic().cStr());
      seen.sequences.push_back(event.getSequence());
    }
    KJ_IF_MAYBE (promise, hold) {
      auto held = kj::mv(*promise);
      hold = nullptr;
      return held;
    }
    return kj::READY_NOW;
  }

 private:
  Seen& seen;
  kj::Maybe<kj::Promise<void>> hold;
};

// A log and a bus on the same virtual disk as the last one.
struct Node {
  explicit Node(testing::VirtualWorld& world, uint64_t maxBytes = 64 << 20)
      : world(world), log(world.env(), eventFolder(), maxBytes) {
    cut = log.open().wait(world.waitScope());
    bus = kj::heap<Bus>(world.env(), log);
  }
  void publishMany(int count) {
    for (int i = 0; i < count; ++i) bus->publish("task.started", kj::str(i), {{"n", kj::str(i)}});
  }
  testing::VirtualWorld& world;
  EventLog log;
  uint64_t cut = 0;
  kj::Own<Bus> bus;
};

size_t countRead(Node& node, int64_t since) {
  size_t count = 0;
  for (auto& batch : node.log.read(since).wait(node.world.waitScope())) count += batch.size();
  return count;
}

kj::Array<kj::byte> segmentBytes(testing::VirtualWorld& world) {
  auto directory = world.env().files().getRoot().openSubdir(eventFolder());
  return directory->openFile(kj::Path("0000000001.zst"))->readAllBytes();
}

TEST_CASE("bus: a subscriber gets the topics that it asked for, in order", "[bus]") {
  testing::VirtualWorld world(1);
  Node node(world);
  Seen seen;
  auto subscription = node.bus->subscribe({"task.*", "node.down"}, kj::heap<Recorder>(seen));
  node.bus->publish("task.started", "a");
  node.bus->publish("node.up", "b");
  node.bus->publish("node.down", "c");
  node.bus->publish("task.ended", "d");
  world.settle();
  CHECK(seen.topics == std::vector<std::string>{"task.started", "node.down", "task.ended"});
  CHECK(seen.sequences == std::vector<uint64_t>{1, 3, 4});
}

TEST_CASE("bus: a dropped subscription hears nothing more", "[bus]") {
  testing::VirtualWorld world(1);
  Node node(world);
  Seen seen;
  { auto subscription = node.bus->subscribe({}, kj::heap<Recorder>(seen)); }
  world.settle();
  node.bus->publish("task.started", "a");
  world.settle();
  CHECK(seen.topics.empty());
}

TEST_CASE("bus: a slow subscriber loses the oldest, is told how many, and holds nobody up",
          "[bus]") {
  testing::VirtualWorld world(1);
  Node node(world);
  Seen slow, quick;
  auto gate = kj::newPromiseAndFulfiller<void>();
  auto first = node.bus->subscribe({}, kj::heap<Recorder>(slow, kj::mv(gate.promise)));
  auto second = node.bus->subscribe({}, kj::heap<Recorder>(quick));
  node.publishMany(1);
  world.settle();
  for (int i = 0; i < 20; ++i) {
    node.publishMany(100);
    world.settle();
  }
  CHECK(quick.sequences.size() == 2001);
  CHECK(quick.lagged == 0);
  CHECK(slow.sequences.size() == 1);
  gate.fulfiller->fulfill();
  world.settle();
  CHECK(slow.lagged == 2000 - Bus::QUEUE_EVENTS);
  CHECK(slow.sequences.size() == 1 + Bus::QUEUE_EVENTS);
  CHECK(slow.sequences.back() == 2001);
}

TEST_CASE("event log: what was published can be read, and numbers go on after a restart", "[bus]") {
  testing::VirtualWorld world(1);
  {
    Node node(world);
    node.publishMany(500);
    CHECK(countRead(node, 0) == 500);
    node.log.flush().wait(world.waitScope());
  }
  Node again(world);
  CHECK(again.cut == 0);
  CHECK(again.log.lastSequence() == 500);
  again.publishMany(1);
  CHECK(countRead(again, 0) == 501);
}

TEST_CASE("event log: an event is on disk a second later without anybody asking", "[bus]") {
  testing::VirtualWorld world(1);
  Node node(world);
  node.publishMany(3);
  world.advance(EventLog::FRAME_MS * kj::MILLISECONDS);
  CHECK(segmentBytes(world).size() > 0);
}

TEST_CASE("event log: a torn end is cut off and reported, the rest is kept", "[bus]") {
  testing::VirtualWorld world(1);
  size_t whole;
  {
    Node node(world);
    node.publishMany(10);
    node.log.flush().wait(world.waitScope());
    whole = segmentBytes(world).size();
    node.publishMany(10);
    node.log.flush().wait(world.waitScope());
  }
  auto size = segmentBytes(world).size();
  auto directory = world.env().files().getRoot().openSubdir(eventFolder(), kj::WriteMode::MODIFY);
  directory->openFile(kj::Path("0000000001.zst"), kj::WriteMode::MODIFY)->truncate(size - 5);
  Node again(world);
  CHECK(again.cut == size - 5 - whole);
  CHECK(again.log.lastSequence() == 10);
  CHECK(countRead(again, 0) == 10);
}

TEST_CASE("event log: the oldest segments go when the limit is reached", "[bus]") {
  testing::VirtualWorld world(1);
  constexpr uint64_t LIMIT = 2 * EventLog::SEGMENT_BYTES;
  Node node(world, LIMIT);
  for (int round = 0; round < 60; ++round) {
    for (int i = 0; i < 1000; ++i) {
      // Random text does not compress.
      auto noise = kj::str(world.env().newId(), world.env().newId(), world.env().newId(),
                           world.env().newId(), world.env().newId(), world.env().newId(),
                           world.env().newId(), world.env().newId());
      node.bus->publish("noise.made", noise);
    }
    node.log.flush().wait(world.waitScope());
  }
  auto directory = world.env().files().getRoot().openSubdir(eventFolder());
  uint64_t total = 0;
  for (auto& name : directory->listNames()) {
    total += directory->openFile(kj::Path(kj::str(name)))->stat().size;
  }
  CHECK(directory->listNames().size() >= 2);
  CHECK(total <= LIMIT + EventLog::SEGMENT_BYTES);
}

kj::Array<kj::byte> logOfSeed(uint64_t seed) {
  testing::VirtualWorld world(seed);
  Node node(world);
  for (int i = 0; i < 200; ++i) {
    node.bus->publish("task.started", world.env().newId());
    world.advance((world.env().random() % 50) * kj::MILLISECONDS);
  }
  node.log.flush().wait(world.waitScope());
  return segmentBytes(world);
}

TEST_CASE("event log: the same seed gives the same log to the byte, another seed another",
          "[bus]") {
  auto one = logOfSeed(7), two = logOfSeed(7), other = logOfSeed(8);
  REQUIRE(one.size() == two.size());
  CHECK(memcmp(one.begin(), two.begin(), one.size()) == 0);
  CHECK_FALSE((one.size() == other.size() && memcmp(one.begin(), other.begin(), one.size()) == 0));
}

}  // namespace
}  // namespace orch::bus
