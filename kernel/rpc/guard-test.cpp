#include "kernel/rpc/guard.h"

#include <catch2/catch.hpp>

#include "orch/attempt.h"
#include "orch/fail.h"
#include "orch/revocable.h"
#include "orch/schema/scheduler.capnp.h"
#include "orch/schema/store.capnp.h"
#include "orch/testing/virtual-env.h"

namespace orch::rpc {
namespace {

constexpr uint64_t DEADLINE_MS = 1000;

// Never answers `place`; says when it is let go.
class HungTable final : public schema::PlacementTable::Server {
 public:
  explicit HungTable(bool& gone) : gone(gone) {}
  ~HungTable() noexcept(false) { gone = true; }
  kj::Promise<void> place(PlaceContext context) override {
    context.allowCancellation();
    return kj::NEVER_DONE;
  }

 private:
  bool& gone;
};

// A plugin's object that gives a sink of its own to a store when it is opened.
class Inside final : public schema::Scheduler::Server {
 public:
  Inside(schema::Store::Client store, bool& tableGone) : store(kj::mv(store)), gone(tableGone) {}
  kj::Promise<void> open(OpenContext context) override {
    context.getResults().setTable(kj::heap<HungTable>(gone));
    auto load = store.loadRequest();
    load.setSink(kj::heap<Sink>());
    return load.send().ignoreResult();
  }

 private:
  class Sink final : public schema::ObjectSink::Server {
    kj::Promise<void> objects(ObjectsContext) override { return kj::READY_NOW; }
  };
  schema::Store::Client store;
  bool& gone;
};

class Outside final : public schema::Store::Server {
 public:
  kj::Promise<void> load(LoadContext context) override {
    return context.getParams().getSink().objectsRequest().send().ignoreResult();
  }
};

struct GuardFixture {
  GuardFixture() {
    auto outside = guard->around(schema::Scheduler::Client(kj::heap<Inside>(store, tableGone)));
    scheduler = outside;
  }
  Outcome<void> place(schema::PlacementTable::Client& table) {
    return attempt(table.placeRequest().send().ignoreResult()).wait(world.waitScope());
  }

  testing::VirtualWorld world{1};
  MethodTable methods;
  CallStats stats;
  bool tableGone = false;
  kj::Own<Guard> guard = kj::refcounted<Guard>(Guard::Plugin{"test.one", false, DEADLINE_MS},
                                               world.env().timer(), methods, stats);
  // As the plugin gets it from its kernel: from outside.
  schema::Store::Client store =
      capnp::reverseMembrane(schema::Store::Client(kj::heap<Outside>()), guard->addRef());
  schema::Scheduler::Client scheduler = nullptr;
};

TEST_CASE("guard: a call on a returned capability, and one on a sink that was given, are counted",
          "[rpc]") {
  GuardFixture f;
  f.scheduler.openRequest().send().wait(f.world.waitScope());
  CHECK(f.stats.calls() == 2);  // `open`, and `objects` of the sink
}

TEST_CASE("guard: a call in a row of late ones is told, whichever capability it came through",
          "[rpc]") {
  GuardFixture f;
  auto late = f.stats.whenLate();
  auto table = f.scheduler.openRequest().send().getTable();
  for (uint32_t i = 0; i < CallStats::LATE_CALLS; ++i) {
    CHECK_FALSE(late.poll(f.world.waitScope()));
    auto begin = f.world.env().timer().now();
    CHECK(f.place(table).error().getType() == kj::Exception::Type::OVERLOADED);
    CHECK(f.world.env().timer().now() - begin == DEADLINE_MS * kj::MILLISECONDS);
  }
  CHECK(late.poll(f.world.waitScope()));
}

// As an admin's connection has it.
TEST_CASE("guard: whoever holds what a call is to return need not wait for the call", "[rpc]") {
  GuardFixture f;
  auto revocable = kj::refcounted<Revocable>(kj::Promise<void>(kj::NEVER_DONE));
  auto behind = capnp::membrane(f.scheduler, kj::mv(revocable));
  schema::Scheduler::Client found =
      kj::evalLater([behind = kj::mv(behind)]() mutable { return kj::mv(behind); });
  auto table = found.openRequest().send().getTable();
  CHECK(f.place(table).error().getType() == kj::Exception::Type::OVERLOADED);
}

TEST_CASE("guard: its end ends calls, and lets go of what others hold", "[rpc]") {
  GuardFixture f;
  auto table = f.scheduler.openRequest().send().wait(f.world.waitScope()).getTable();
  auto call = attempt(table.placeRequest().send().ignoreResult()).promise();
  CHECK_FALSE(call.poll(f.world.waitScope()));
  f.guard->end("it was stopped");
  CHECK(plainText(call.wait(f.world.waitScope()).error()) ==
        "plugin 'test.one': it was stopped while it was asked for 'method 2'");
  CHECK(plainText(f.place(table).error()) ==
        "plugin 'test.one': it was stopped; it is not running right now");
  CHECK(f.tableGone);
}

}  // namespace
}  // namespace orch::rpc
