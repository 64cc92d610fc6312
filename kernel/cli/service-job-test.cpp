// The built program against a recording server: services whose tasks end.
#include <catch2/catch.hpp>

#include "recording-server.h"

namespace orch::cli {
namespace {

using schema::RestartPolicy;

struct Job {
  Job() { server.job = true; }
  Ran create(Words options) {
    options.insert(options.begin(), {"--mode", "replicated-job"});
    return server.run(orch::cli::create(options));
  }
  void refused(Words options, const std::string& text) {
    auto ran = server.run(orch::cli::create(options));
    CHECK(ran.status == 2);
    CHECK(ran.errors == "orch: " + text + "\n");
    CHECK(server.calls.empty());
  }
  RecordingServer server;
};

TEST_CASE("cli: a job is what its flags say", "[cli]") {
  Job job;
  CHECK(job.create({"-d", "--replicas", "5", "--max-concurrent", "2"}).status == 0);
  auto spec = job.server.lastSpec();
  CHECK(spec.getMode().getReplicatedJob().getCompletions() == 5);
  CHECK(spec.getMode().getReplicatedJob().getMaxConcurrent() == 2);
  CHECK(spec.getTask().getRestart().getCondition() == RestartPolicy::Condition::ON_FAILURE);
  CHECK(spec.getSchedule() == "");
  SECTION("and lists how far it is, as docker does") {
    auto ran = job.server.run({"service", "ls", "--format", "{{.Mode}}: {{.Replicas}}"});
    CHECK(ran.out == "replicated job: 0/2 (1/5 completed)\n");
    auto none = job.server.run({"service", "ls", "-q", "-f", "mode=global-job"});
    CHECK(none.out == "");
    CHECK(job.server.run({"service", "ls", "-q", "-f", "mode=replicated-job"}).out != "");
  }
  SECTION("and is changed as they say") {
    auto ran = job.server.run({"service", "update", "-d", "--max-concurrent", "3", "--replicas",
                               "7", "--schedule", "@daily", "web"});
    CHECK(ran.status == 0);
    auto mode = job.server.lastSpec().getMode().getReplicatedJob();
    CHECK(mode.getCompletions() == 7);
    CHECK(mode.getMaxConcurrent() == 3);
    CHECK(job.server.lastSpec().getSchedule() == "@daily");
  }
}

TEST_CASE("cli: a job may be one on each node, and say when a task is tried again", "[cli]") {
  Job job;
  auto ran = job.server.run(create({"-d", "--mode=global-job", "--restart-condition", "none"}));
  CHECK(ran.status == 0);
  CHECK(job.server.lastSpec().getMode().isGlobalJob());
  CHECK(job.server.lastSpec().getTask().getRestart().getCondition() ==
        RestartPolicy::Condition::NONE);
}

TEST_CASE("cli: what is not for the mode of a service is refused", "[cli]") {
  Job job;
  job.refused({"--mode", "global-job", "--replicas", "2"},
              "--replicas is for replicated services: a global one has one task on each node");
  for (std::string mode : {"replicated", "global", "global-job"}) {
    job.refused({"--mode", mode, "--max-concurrent", "2"},
                "--max-concurrent is for services of --mode replicated-job");
  }
  job.refused({"--max-concurrent", "2"},
              "--max-concurrent is for services of --mode replicated-job");
  job.refused({"--mode", "replicated-job", "--max-concurrent", "-1"},
              "invalid value '-1' for --max-concurrent: expected a whole number from 0 to "
              "4294967295");
}

TEST_CASE("cli: a job is waited for until it is complete", "[cli]") {
  Job job;
  SECTION("which it is") {
    job.server.taskStates = {schema::TaskState::COMPLETE, schema::TaskState::COMPLETE};
    auto ran = job.create({});
    CHECK(ran.status == 0);
    CHECK(ran.out == "id-of-web\njob progress: 2 out of 2 complete\njob complete\n");
  }
  SECTION("or has failed") {
    job.server.converges = false;
    job.server.stuck = true;
    job.server.problem = "task web.2: task: exit (3); no attempt is left of 1";
    auto ran = job.create({"-q"});
    CHECK(ran.status == 1);
    CHECK(ran.errors ==
          "orch: job 'web' failed: task web.2: task: exit (3); no attempt is left of 1; see "
          "'orch service ps web'\n");
  }
  SECTION("unless a schedule begins it") {
    job.server.converges = false;
    auto ran = job.create({"--schedule", "0 3 * * *"});
    CHECK(ran.status == 0);
    CHECK(ran.out == "id-of-web\n");
    CHECK(job.server.lastSpec().getSchedule() == "0 3 * * *");
    auto changed = job.server.run({"service", "update", "--schedule", "@daily", "web"});
    CHECK(changed.status == 0);
    CHECK(changed.out == "web\n");
  }
}

TEST_CASE("cli: a job shows its runs first", "[cli]") {
  Job job;
  job.create({"-d"});
  auto ran = job.server.run({"service", "inspect", "--pretty", "web"});
  CHECK(has(ran.out,
            "  Ended: not yet\n"
            "  Next run: 2023-11-15T22:13:20Z, in Less than a second\n"
            "  Past runs:\n"
            "    2: began at 2023-11-13T22:13:20Z, took 4.0s, 1 completed, 2 failed; task web.2: "
            "task: exit (1)\n"
            "    -: due at 2023-11-12T22:13:20Z; skipped: the run before was under way\n"
            "    1: began at 2023-11-11T22:13:20Z, took 172740.0s, 3 completed\n"));
  CHECK(ran.out.find("Job:\n  Run: 3\n  Began: ") == 0);
}

TEST_CASE("cli: a job's task should complete", "[cli]") {
  Job job;
  job.create({"-d"});
  auto ran = job.server.run(
      {"service", "ps", "--format", "{{.DesiredState}} {{.Name}} {{.CurrentState}}", "web"});
  CHECK(has(ran.out, "Complete web.1 Complete 2 minutes ago\n"));
  CHECK(has(ran.out, "Shutdown  \\_ web.1 Failed 5 minutes ago\n"));
}

}  // namespace
}  // namespace orch::cli
