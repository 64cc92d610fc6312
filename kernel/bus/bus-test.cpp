#include "kernel/bus/bus.h"

#include <capnp/serialize.h>
#include <catch2/catch.hpp>

#include "kernel/bus/event-feed.h"
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
    auto opened = log.open().wait(world.waitScope());
    cut = opened.cutBytes;
    damaged = opened.damagedBytes;
    bus = kj::heap<Bus>(world.env(), log);
  }
  void publishMany(int count) {
    for (int i = 0; i < count; ++i) bus->publish("task.started", kj::str(i), {{"n", kj::str(i)}});
  }
  testing::VirtualWorld& world;
  EventLog log;
  uint64_t cut = 0, damaged = 0;
  kj::Own<Bus> bus;
};

struct Reading {
  size_t events = 0;
  size_t pieces = 0;
  std::vector<LogDamage> damages;
};

Reading readAll(Node& node, LogFilter filter = {}) {
  auto& scope = node.world.waitScope();
  Reading reading;
  LogPosition at, end = node.log.end().wait(scope);
  while (at < end) {
    auto piece = node.log.read(at, end, filter).wait(scope);
    at = piece.next;
    reading.events += piece.events.size();
    ++reading.pieces;
    for (auto& damage : piece.damages) reading.damages.push_back(damage);
  }
  return reading;
}

size_t countRead(Node& node) { return readAll(node).events; }

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
    CHECK(countRead(node) == 500);
    node.log.flush().wait(world.waitScope());
  }
  Node again(world);
  CHECK(again.cut == 0);
  CHECK(again.log.lastSequence() == 500);
  again.publishMany(1);
  CHECK(countRead(again) == 501);
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
  CHECK(countRead(again) == 10);
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

TEST_CASE("event log: a limit that was lowered frees the oldest segments at the next start",
          "[bus]") {
  testing::VirtualWorld world(1);
  auto directory = world.env().files().getRoot().openSubdir(
      eventFolder(), kj::WriteMode::CREATE | kj::WriteMode::CREATE_PARENT);
  for (auto* name : {"0000000003.zst", "0000000004.zst", "0000000005.zst", "0000000006.zst"}) {
    directory->openFile(kj::Path(name), kj::WriteMode::CREATE)->writeAll("");
  }
  Node node(world, 2 * EventLog::SEGMENT_BYTES);
  CHECK(directory->listNames().size() == 2);
  CHECK_FALSE(directory->exists(kj::Path("0000000004.zst")));
}

TEST_CASE("event log: damage in the middle costs what was damaged, and is reported", "[bus]") {
  testing::VirtualWorld world(1);
  std::vector<size_t> ends;
  {
    Node node(world);
    for (int round = 0; round < 3; ++round) {
      node.publishMany(10);
      node.log.flush().wait(world.waitScope());
      ends.push_back(segmentBytes(world).size());
    }
  }
  auto directory = world.env().files().getRoot().openSubdir(eventFolder(), kj::WriteMode::MODIFY);
  auto file = directory->openFile(kj::Path("0000000001.zst"), kj::WriteMode::MODIFY);
  kj::byte flipped[1];
  file->read(ends[0] + 40, flipped);
  flipped[0] ^= 0xff;
  file->write(ends[0] + 40, flipped);
  Node again(world);
  CHECK(again.cut == 0);
  CHECK(again.damaged == ends[1] - ends[0]);
  CHECK(again.log.lastSequence() == 30);
  auto reading = readAll(again);
  CHECK(reading.events == 20);
  REQUIRE(reading.damages.size() == 1);
  CHECK(reading.damages[0].at == LogPosition{1, ends[0]});
  CHECK(reading.damages[0].bytes == ends[1] - ends[0]);
  CHECK(again.log.isNews(reading.damages[0]));
  CHECK_FALSE(again.log.isNews(reading.damages[0]));
}

struct Troubles final : EventLogWatcher {
  void writeFailed(kj::StringPtr) override { ++failed; }
  void writeWorks(uint64_t lost) override {
    ++works;
    dropped += lost;
  }
  int failed = 0, works = 0;
  uint64_t dropped = 0;
};

TEST_CASE(
    "event log: a disk that takes nothing is told once, what waits is bounded, and all goes "
    "on when it works again",
    "[bus]") {
  testing::VirtualWorld world(1);
  Node node(world);
  Troubles troubles;
  node.log.watch(troubles);
  // In the place of the file stands a folder.
  auto directory = world.env().files().getRoot().openSubdir(eventFolder(), kj::WriteMode::MODIFY);
  directory->openSubdir(kj::Path("0000000001.zst"), kj::WriteMode::CREATE);
  auto noise = kj::heapString(1000);
  memset(noise.begin(), 'x', noise.size());
  uint64_t published = 0;
  for (int second = 0; second < 20; ++second) {
    for (int i = 0; i < 500; ++i, ++published) node.bus->publish("noise.made", noise);
    world.advance(1 * kj::SECONDS);
  }
  CHECK(troubles.failed == 1);
  CHECK(troubles.works == 0);
  directory->remove(kj::Path("0000000001.zst"));
  world.advance(2 * kj::SECONDS);
  CHECK(troubles.works == 1);
  CHECK(troubles.dropped > published / 4);
  CHECK(countRead(node) == published - troubles.dropped);
}

TEST_CASE("event log: a reader gets what it wants, in pieces", "[bus]") {
  testing::VirtualWorld world(1);
  Node node(world);
  auto noise = kj::heapString(1000);
  memset(noise.begin(), 'x', noise.size());
  for (int i = 0; i < 2000; ++i)
    node.bus->publish(i % 100 == 0 ? "task.ended" : "noise.made", noise);
  auto all = readAll(node);
  CHECK(all.events == 2000);
  CHECK(all.pieces >= 2000 * 1000 / EventLog::PIECE_BYTES / 2);
  LogFilter filter;
  filter.topics = {"task.*"};
  auto some = readAll(node, filter);
  CHECK(some.events == 20);
  CHECK(some.pieces == 1);
}

TEST_CASE("events: what the log holds and what comes meanwhile arrives once and in order",
          "[bus]") {
  testing::VirtualWorld world(1);
  Node node(world);
  auto noise = kj::heapString(1000);
  memset(noise.begin(), 'x', noise.size());
  uint64_t published = 0;
  auto publish = [&](int count) {
    for (int i = 0; i < count; ++i, ++published) node.bus->publish("noise.made", noise);
  };
  publish(3000);
  Seen seen;
  auto gate = kj::newPromiseAndFulfiller<void>();
  FeedRequest request;
  request.sinceNs = 1;
  request.follow = true;
  auto feed = feedEvents(node.log, *node.bus, std::move(request),
                         kj::heap<Recorder>(seen, kj::mv(gate.promise)))
                  .promise()
                  .eagerlyEvaluate(nullptr);
  world.settle();
  CHECK(seen.sequences.size() < 1000);  // the reader is slow: the rest stays in the log
  publish(3000);
  world.settle();
  gate.fulfiller->fulfill();
  for (int i = 0; i < 10; ++i) {
    publish(100);
    world.settle();
  }
  world.advance(2 * kj::SECONDS);
  CHECK(seen.lagged == 0);
  REQUIRE(seen.sequences.size() == published);
  for (uint64_t i = 0; i < published; ++i) REQUIRE(seen.sequences[i] == i + 1);
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
