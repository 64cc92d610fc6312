// Jobs that begin by a schedule.
#include <catch2/catch.hpp>

#include "decide/bench.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "test-jobs.h"

namespace orch::control::manager {
namespace {

using schema::TaskState;

constexpr int64_t SECOND_NS = 1'000'000'000;

Spec scheduled(const char* schedule, SpecChange more = nullptr) {
  return job(1, 0, [=](schema::ServiceSpec::Builder spec) {
    spec.setSchedule(schedule);
    if (more) more(spec);
  });
}

struct Clock : Runs {
  Clock() : Runs({"node1"}) {}
  int64_t nowS() { return cluster.world.env().nowNs() / SECOND_NS; }
  // To so many seconds after the next full hour.
  void toHour(int64_t afterS = 0) {
    cluster.advance((3600 - nowS() % 3600 + afterS) * kj::SECONDS);
    cluster.settle();
  }
  // Seconds until the next run.
  int64_t nextS() {
    return cluster.service("calc").getService().getJob().getNextAtNs() / SECOND_NS - nowS();
  }
};

TEST_CASE("schedule: a run begins at its time, and not before", "[manager]") {
  Clock clock;
  clock.create(scheduled("0 * * * *"));
  CHECK(clock.tasks() == "");
  CHECK(clock.row() == "replicated-job 0/1 (0/1)");
  CHECK(clock.verdict() == schema::Verdict::CONVERGED);
  CHECK(clock.nextS() == 3600 - clock.nowS() % 3600);
  clock.toHour(-1);
  CHECK(clock.tasks() == "");
  clock.cluster.advance(1 * kj::SECONDS);
  clock.cluster.settle();
  CHECK(clock.tasks() == "1:running");
  CHECK(clock.nextS() == 3600);
  clock.cluster.advance(5 * kj::SECONDS);
  clock.end(TaskState::COMPLETE);
  CHECK(clock.past() == "1: 1+0 5s");
  clock.toHour();
  CHECK(clock.tasks() == "1:running 1:complete");
  clock.end(TaskState::FAILED, 1, "task: exit (1)");
  clock.end(TaskState::COMPLETE);
  CHECK(clock.past() == "2: 1+0 0s; 1: 1+0 5s");
}

TEST_CASE("schedule: a run whose time comes while one is under way is skipped", "[manager]") {
  Clock clock;
  clock.create(scheduled("0 * * * *"));
  clock.toHour();
  clock.toHour();
  CHECK(clock.tasks() == "1:running");
  CHECK(clock.past() == "0: 0+0 0s skipped: the run before was under way");
  clock.end(TaskState::COMPLETE);
  CHECK(clock.past() == "1: 1+0 3600s; 0: 0+0 0s skipped: the run before was under way");
  clock.toHour();
  CHECK(clock.iteration() == 2);
}

TEST_CASE("schedule: what was missed while no manager was there runs once", "[manager]") {
  Clock clock;
  clock.create(scheduled("*/10 * * * *"));
  clock.cluster.stop();
  clock.nodes.clear();
  clock.cluster.advance(4 * 3600 * kj::SECONDS + 1 * kj::SECONDS);
  clock.cluster.start();
  clock.add("node1");
  CHECK(clock.iteration() == 1);
  CHECK(clock.past() == "");
  CHECK(clock.tasks() == "1:running");
  CHECK(clock.nextS() <= 600);
  clock.end(TaskState::COMPLETE);
  clock.restart("node1");
  CHECK(clock.iteration() == 1);
  CHECK(clock.running() == 0);
}

TEST_CASE("schedule: a clock that was ahead and is put back holds nothing up", "[manager]") {
  constexpr int64_t HOUR_NS = 3600 * SECOND_NS;
  Bench bench;
  bench.service(1);
  bench.change([&](View& view) {
    view.editService(bench.serviceId, [](schema::Service::Builder service) {
      service.getSpec().getMode().initReplicatedJob();
      service.getSpec().setSchedule("@hourly");
      service.getJob().setNextAtNs(NOW + 8760 * HOUR_NS);
    });
  });
  bench.reconcile();
  View view(bench.state, bench.nowNs, Seed{1, 2, 3, 4});
  auto job = KJ_ASSERT_NONNULL(view.service(bench.serviceId)).getJob();
  CHECK(job.getIteration() == 0);
  CHECK(job.getNextAtNs() > NOW);
  CHECK(job.getNextAtNs() <= NOW + HOUR_NS);
}

TEST_CASE("schedule: a clock that is put forward is noticed within a minute", "[manager]") {
  Clock clock;
  clock.cluster.stop();
  clock.nodes.clear();
  auto& machine = clock.cluster.world.newMachine();
  clock.cluster.machine = &machine.begin(1);
  clock.cluster.start();
  clock.add("node1");
  clock.create(scheduled("0 3 1 1 *"));
  machine.setClock(366 * 24 * 3600 * SECOND_NS, 0);
  clock.cluster.advance(60 * kj::SECONDS);
  clock.cluster.settle();
  CHECK(clock.tasks() == "1:running");
  clock.cluster.stop();
}

TEST_CASE("schedule: only the last ten runs are kept", "[manager]") {
  Clock clock;
  clock.create(scheduled("@hourly"));
  for (int i = 0; i < 12; ++i) {
    clock.toHour();
    clock.end(TaskState::COMPLETE);
  }
  auto response = clock.cluster.service("calc");
  auto past = response.getService().getJob().getPast();
  CHECK(past.size() == 10);
  CHECK(past[0].getIteration() == 12);
  CHECK(past[9].getIteration() == 3);
}

TEST_CASE("schedule: what failed in earlier runs says nothing of this one", "[manager]") {
  Clock clock;
  clock.create(
      scheduled("@hourly", [](auto spec) { spec.getTask().getRestart().setDelayMs(1000); }));
  auto fail = [&](uint32_t times) {
    for (uint32_t i = 0; i < times; ++i) {
      clock.cluster.advance(2 * kj::SECONDS);
      clock.cluster.settle();
      clock.end(TaskState::FAILED, 1, "task: exit (1)");
    }
  };
  clock.toHour();
  fail(2);
  CHECK(clock.verdict() == schema::Verdict::WORKING);
  clock.cluster.advance(2 * kj::SECONDS);
  clock.end(TaskState::COMPLETE);
  clock.toHour();
  fail(2);
  CHECK(clock.verdict() == schema::Verdict::WORKING);
  fail(1);
  CHECK(clock.verdict() == schema::Verdict::STUCK);
  clock.cluster.advance(2 * kj::SECONDS);
  clock.end(TaskState::COMPLETE);
  CHECK(clock.verdict() == schema::Verdict::CONVERGED);
}

TEST_CASE("schedule: a change is for the next run, unless one is under way", "[manager]") {
  Clock clock;
  auto image = [](const char* name, uint64_t force = 0) {
    return [=](schema::ServiceSpec::Builder spec) {
      spec.getTask().getContainer().setImage(name);
      spec.getTask().setForceUpdate(force);
    };
  };
  clock.create(scheduled("@hourly", image("calc:1")));
  clock.update(scheduled("@hourly", image("calc:2")));
  CHECK(clock.tasks() == "");
  SECTION("which then begins anew") {
    clock.toHour();
    clock.update(scheduled("@hourly", image("calc:3")));
    CHECK(clock.iteration() == 2);
    CHECK(clock.tasks() == "1:running 1:shutdown");
    CHECK(clock.past() == "1: 0+0 0s the service was changed");
  }
  SECTION("or a user wants it now") {
    clock.update(scheduled("@hourly", image("calc:2", 1)));
    CHECK(clock.tasks() == "1:running");
    clock.end(TaskState::COMPLETE);
    clock.toHour();
    CHECK(clock.iteration() == 2);
  }
  SECTION("and another schedule counts at once") {
    clock.toHour(60);
    clock.end(TaskState::COMPLETE);
    clock.update(scheduled("5 * * * *", image("calc:2")));
    CHECK(clock.nextS() == 240);
    CHECK(clock.iteration() == 1);
    clock.update(scheduled("", image("calc:2")));
    CHECK(clock.cluster.service("calc").getService().getJob().getNextAtNs() == 0);
    clock.toHour();
    CHECK(clock.iteration() == 1);
  }
}

TEST_CASE("schedule: one that is none, or of no job, is refused", "[manager]") {
  Clock clock;
  CHECK(clock.cluster.createError(scheduled("0 3 * *")) ==
        "usage: --schedule '0 3 * *': the day of the week is missing at column 8");
  CHECK(clock.cluster.createError(scheduled("0 3 * * *", [](auto spec) {
    spec.getMode().initReplicated();
  })) == "usage: --schedule is for jobs: --mode replicated-job or global-job");
}

}  // namespace
}  // namespace orch::control::manager
