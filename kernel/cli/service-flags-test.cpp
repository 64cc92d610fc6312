// The built program against a recording server: what its flags make of a service.
#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>

#include "recording-server.h"

namespace orch::cli {
namespace {

TEST_CASE("cli: create sends what its flags say", "[cli]") {
  RecordingServer server;
  auto file = server.tryPath("vars");
  std::ofstream(file) << "FROM_FILE=1\nA=file\n";
  auto ran = server.run(create({"--replicas",
                                "3",
                                "-e",
                                "A=1",
                                "-eB=two words",
                                "--env",
                                "HOME",
                                "--env-file",
                                file,
                                "-l",
                                "tier=front",
                                "--container-label=x",
                                "-p",
                                "8080:80",
                                "--publish",
                                "target=53,protocol=udp,mode=host",
                                "--limit-cpu",
                                "0.5",
                                "--limit-memory=64m",
                                "--limit-pids",
                                "100",
                                "--reserve-cpu=.25",
                                "--reserve-memory",
                                "32m",
                                "--memory-swap",
                                "-1",
                                "--restart-condition",
                                "on-failure",
                                "--restart-delay",
                                "2s",
                                "--restart-max-attempts",
                                "4",
                                "--restart-window",
                                "1m",
                                "--parallelism",
                                "2",
                                "--update-delay",
                                "1s",
                                "--update-order=start-first",
                                "--update-failure-action",
                                "continue",
                                "--update-monitor",
                                "10s",
                                "--update-max-failure-ratio",
                                "0.5",
                                "--update-progress-deadline",
                                "5m",
                                "--rollback-parallelism",
                                "3",
                                "--rollback-delay",
                                "2s",
                                "--rollback-order=start-first",
                                "--rollback-failure-action",
                                "continue",
                                "--rollback-monitor",
                                "20s",
                                "--rollback-max-failure-ratio",
                                "0.25",
                                "--placement-pref",
                                "spread=node.labels.zone",
                                "--placement-pref",
                                "spread=engine.labels.rack",
                                "--mount",
                                "type=tmpfs,target=/t",
                                "--affinity=service!=web",
                                "--filter=mine:x==y",
                                "--constraint",
                                "node.role==worker",
                                "--network",
                                "back,alias=db,alias=database",
                                "--hostname",
                                "h",
                                "-u",
                                "1:2",
                                "-w",
                                "/w",
                                "--read-only",
                                "--init",
                                "--stop-signal",
                                "SIGINT",
                                "--stop-grace-period",
                                "3s",
                                "--drain-timeout",
                                "4s",
                                "--ulimit",
                                "nofile=10:20",
                                "--cap-add",
                                "net_admin",
                                "--cap-drop",
                                "ALL",
                                "--entrypoint",
                                "sh -c",
                                "--replicas-max-per-node",
                                "2",
                                "--endpoint-mode",
                                "dnsrr",
                                "--lb-algorithm",
                                "sh",
                                "--lb-persistence",
                                "10m",
                                "--sysctl",
                                "net.core.somaxconn=9",
                                "--host",
                                "db:10.0.0.1",
                                "--dns",
                                "1.1.1.1",
                                "--dns-search",
                                "lan",
                                "--dns-option",
                                "ndots:2",
                                "--group",
                                "wheel",
                                "-it",
                                "--runtime",
                                "crun",
                                "--strategy",
                                "binpack",
                                "--log-opt",
                                "max-size=1m",
                                "--log-opt",
                                "max-file=5",
                                "--oom-score-adj",
                                "-5",
                                "-d"},
                               {"nginx:1", "run", "--replicas", "9", "-d", "--", "x="}),
                        {"HOME=/home/me"});
  INFO(ran.errors);
  REQUIRE(ran.status == 0);
  CHECK(ran.out == "id-of-web\n");
  CHECK(ran.errors == "");
  auto spec = server.lastSpec();
  auto task = spec.getTask();
  auto container = task.getContainer();
  CHECK(spec.getName() == "web");
  CHECK(spec.getMode().getReplicated().getReplicas() == 3);
  CHECK(container.getImage() == "nginx:1");
  REQUIRE(container.getArgs().size() == 6);
  CHECK(container.getArgs()[1] == "--replicas");
  CHECK(container.getArgs()[4] == "--");
  CHECK(container.getArgs()[5] == "x=");
  REQUIRE(container.getEnv().size() == 4);
  CHECK(container.getEnv()[0] == "FROM_FILE=1");
  CHECK(container.getEnv()[1] == "A=1");
  CHECK(container.getEnv()[2] == "B=two words");
  CHECK(container.getEnv()[3] == "HOME=/home/me");
  CHECK(spec.getLabels()[0].getValue() == "front");
  CHECK(container.getLabels()[0].getKey() == "x");
  CHECK(spec.getEndpoint().getPorts()[0].getPublished() == 8080);
  CHECK(spec.getEndpoint().getPorts()[1].getMode() == schema::PortSpec::PublishMode::HOST);
  CHECK(spec.getEndpoint().getMode() == schema::EndpointSpec::Mode::DNSRR);
  CHECK(spec.getEndpoint().getAlgorithm() == schema::EndpointSpec::Algorithm::SH);
  CHECK(spec.getEndpoint().getPersistenceMs() == 600'000);
  auto resources = task.getResources();
  CHECK(resources.getLimitCpuNanos() == 500'000'000);
  CHECK(resources.getLimitMemoryBytes() == 64 << 20);
  CHECK(resources.getLimitPids() == 100);
  CHECK(resources.getReserveCpuNanos() == 250'000'000);
  CHECK(resources.getMemorySwapBytes() == -1);
  auto restart = task.getRestart();
  CHECK(restart.getCondition() == schema::RestartPolicy::Condition::ON_FAILURE);
  CHECK(restart.getDelayMs() == 2000);
  CHECK(restart.getMaxAttempts() == 4);
  CHECK(restart.getWindowMs() == 60'000);
  auto update = spec.getUpdate();
  CHECK(update.getParallelism() == 2);
  CHECK(update.getDelayMs() == 1000);
  CHECK(update.getOrder() == schema::UpdateConfig::Order::START_FIRST);
  CHECK(update.getFailureAction() == schema::UpdateConfig::FailureAction::CONTINUE);
  CHECK(update.getMonitorMs() == 10'000);
  CHECK(update.getMaxFailureRatio() == 0.5f);
  CHECK(update.getProgressDeadlineMs() == 300'000);
  auto rollback = spec.getRollback();
  CHECK(rollback.getParallelism() == 3);
  CHECK(rollback.getDelayMs() == 2000);
  CHECK(rollback.getOrder() == schema::UpdateConfig::Order::START_FIRST);
  CHECK(rollback.getFailureAction() == schema::UpdateConfig::FailureAction::CONTINUE);
  CHECK(rollback.getMonitorMs() == 20'000);
  CHECK(rollback.getMaxFailureRatio() == 0.25f);
  CHECK(task.getPlacement().getSpreadOver()[0] == "node.labels.zone");
  CHECK(task.getPlacement().getSpreadOver()[1] == "engine.labels.rack");
  CHECK(container.getMounts()[0].getTarget() == "/t");
  CHECK(task.getPlacement().getConstraints()[0] == "node.role==worker");
  CHECK(task.getPlacement().getFilters()[0] == "affinity:service!=web");
  CHECK(task.getPlacement().getFilters()[1] == "mine:x==y");
  CHECK(task.getPlacement().getMaxReplicasPerNode() == 2);
  CHECK(task.getPlacement().getStrategy() == "binpack");
  CHECK(task.getNetworks()[0].getName() == "back");
  CHECK(task.getNetworks()[0].getAliases()[1] == "database");
  CHECK(container.getHostname() == "h");
  CHECK(container.getUser() == "1:2");
  CHECK(container.getWorkdir() == "/w");
  CHECK(container.getReadOnly());
  CHECK(container.getInit());
  CHECK(container.getTty());
  CHECK(container.getInteractive());
  CHECK(container.getStopSignal() == "SIGINT");
  CHECK(container.getStopGraceMs() == 3000);
  CHECK(container.getUlimits()[0].getHard() == 20);
  CHECK(container.getCapAdd()[0] == "NET_ADMIN");
  CHECK(container.getCapDrop()[0] == "ALL");
  CHECK(container.getCommand().size() == 2);
  CHECK(container.getSysctls()[0].getValue() == "9");
  CHECK(container.getHosts()[0] == "db:10.0.0.1");
  CHECK(container.getDns()[0] == "1.1.1.1");
  CHECK(container.getDnsSearch()[0] == "lan");
  CHECK(container.getDnsOptions()[0] == "ndots:2");
  CHECK(container.getGroups()[0] == "wheel");
  CHECK(container.getOomScoreAdj() == -5);
  CHECK(task.getRuntime() == "crun");
  CHECK(task.getLog().getMaxBytes() == 1 << 20);
  CHECK(task.getLog().getMaxFiles() == 5);
  REQUIRE(server.requestIds.size() == 1);
  CHECK(server.requestIds[0].size() == 25);
}

TEST_CASE("cli: an empty entrypoint takes the image's away", "[cli]") {
  RecordingServer server;
  REQUIRE(server.run(create({"-d", "--entrypoint", ""}, {"nginx", "echo"})).status == 0);
  auto command = server.lastSpec().getTask().getContainer().getCommand();
  REQUIRE(command.size() == 1);
  CHECK(command[0] == "");
}

TEST_CASE("cli: an --env-file that cannot be read says why", "[cli]") {
  RecordingServer server;
  auto refused = [&](const std::string& file) {
    auto ran = server.run(create({"-d", "--env-file", file}));
    CHECK(ran.status == 2);
    return ran.errors;
  };
  CHECK(has(refused("/nope"), "expected a file: No such file or directory"));
  CHECK(has(refused("/"), "expected a file: Is a directory"));
  auto file = server.tryPath("vars");
  std::ofstream(file) << std::string("A=1\0B\n", 6);
  CHECK(has(refused(file), "expected a file of UTF-8 without zero bytes"));
}

TEST_CASE("cli: create leaves what is not given to the schema's defaults", "[cli]") {
  RecordingServer server;
  REQUIRE(server.run({"service", "create", "-d", "nginx"}).status == 0);
  auto spec = server.lastSpec();
  CHECK(spec.getMode().getReplicated().getReplicas() == 1);
  CHECK(spec.getName().size() > 3);
  CHECK(spec.getUpdate().getParallelism() == 1);
  CHECK(spec.getTask().getRestart().getDelayMs() == -1);
  CHECK(spec.getTask().getContainer().getStopGraceMs() == 10'000);
}

TEST_CASE("cli: a wrong value is refused in one line and nothing is sent", "[cli]") {
  RecordingServer server;
  struct Case {
    const char* flag;
    const char* value;
  };
  for (auto [flag, value] : std::vector<Case>{{"--replicas", "many"},
                                              {"--replicas", "-1"},
                                              {"--replicas", ""},
                                              {"--mode", "daemon"},
                                              {"--limit-memory", "lots"},
                                              {"--limit-cpu", "0.0001"},
                                              {"--limit-pids", "-5"},
                                              {"--reserve-cpu", "x"},
                                              {"--memory-swap", "-2"},
                                              {"--restart-condition", "no"},
                                              {"--restart-delay", "5"},
                                              {"--restart-max-attempts", "x"},
                                              {"--restart-window", "1y"},
                                              {"--update-parallelism", "-1"},
                                              {"--update-delay", "soon"},
                                              {"--update-order", "first"},
                                              {"--update-failure-action", "stop"},
                                              {"--update-monitor", "-1s"},
                                              {"--update-max-failure-ratio", "2"},
                                              {"--update-progress-deadline", "x"},
                                              {"--stop-grace-period", "x"},
                                              {"--drain-timeout", "soon"},
                                              {"--endpoint-mode", "dns"},
                                              {"--lb-algorithm", "fast"},
                                              {"--lb-persistence", "long"},
                                              {"--publish", "web"},
                                              {"--mount", "type=nfs,target=/a"},
                                              {"--env", "=x"},
                                              {"--env-file", "/does/not/exist"},
                                              {"--label", "=x"},
                                              {"--container-label", "=x"},
                                              {"--env", "A=\xff"},
                                              {"--label", "\xfe=x"},
                                              {"--isolation", "hyperv"},
                                              {"--log-driver", "xml"},
                                              {"--update-delay", "8761h"},
                                              {"--verify", "soon"},
                                              {"--network", ""},
                                              {"--network", "back,alias="},
                                              {"--network", "back,front"},
                                              {"--network", "alias=db"},
                                              {"--user", "a b"},
                                              {"--entrypoint", "'a"},
                                              {"--replicas-max-per-node", "x"},
                                              {"--sysctl", "=1"},
                                              {"--dns-search", "a b"},
                                              {"--dns-option", ""},
                                              {"--group", ""},
                                              {"--read-only", "=maybe"},
                                              {"--log-opt", "max-size=x"},
                                              {"--log-opt", "colour=red"},
                                              {"--log-opt", "max-file=0"}}) {
    INFO(flag << " " << value);
    std::string joined = std::string(flag) + (value[0] == '=' && flag == std::string("--read-only")
                                                  ? std::string(value)
                                                  : "=" + std::string(value));
    auto ran = server.run(create({joined, "-d"}));
    INFO(ran.errors);
    CHECK(ran.status == 2);
    CHECK(ran.out == "");
    CHECK(has(ran.errors, "orch: invalid "));
    CHECK(has(ran.errors, flag));
    CHECK(has(ran.errors, "expected "));
    CHECK(ran.errors.find('\n') == ran.errors.size() - 1);
  }
  CHECK(server.calls.empty());
}

TEST_CASE("cli: what a value may be is left to the server", "[cli]") {
  RecordingServer server;
  REQUIRE(server
              .run(create({"-d", "--hostname", "build_01", "--strategy", "first#two", "--cap-add",
                           "cap_fly", "--stop-signal", "SIGFOO"}))
              .status == 0);
  auto task = server.lastSpec().getTask();
  CHECK(task.getContainer().getHostname() == "build_01");
  CHECK(task.getContainer().getStopSignal() == "SIGFOO");
  CHECK(task.getContainer().getCapAdd()[0] == "FLY");
  CHECK(task.getPlacement().getStrategy() == "first#two");
}

TEST_CASE("cli: what docker has and orch has not is called by its name", "[cli]") {
  RecordingServer server;
  auto refused = [&](Words words, const std::string& text) {
    auto ran = server.run(words);
    CHECK(ran.status == 2);
    CHECK(ran.errors == "orch: " + text + "\n");
  };
  auto help = "; see 'orch service create --help'";
  for (std::string flag : {"--secret", "--config"}) {
    refused(create({flag, "x"}), "'" + flag + "' is not available yet" + help);
  }
  refused(create({"--mode", "batch"}),
          "invalid value 'batch' for --mode: expected replicated, global, replicated-job or "
          "global-job");
  refused(create({"--log-driver", "none"}),
          "--log-driver none is not available yet; use json-file");
  CHECK(server.calls.empty());
  auto ran = server.run(
      create({"-d", "--no-resolve-image", "--isolation", "default", "--log-driver", "json-file"}));
  CHECK(ran.status == 0);
  CHECK(ran.errors == "");
}

TEST_CASE("cli: what an update would remove and is not there is a warning", "[cli]") {
  RecordingServer server;
  REQUIRE(server.run(create({"-d", "-e", "A=1", "-e", "B=2", "-p", "80:80"})).status == 0);
  auto warned = [&](Words words, const std::string& text) {
    words.insert(words.begin(), {"service", "update", "-d", "web"});
    auto ran = server.run(words);
    CHECK(ran.status == 0);
    CHECK(ran.errors == "orch: warning: " + text + " names nothing of the service\n");
  };
  warned({"--env-rm", "C"}, "--env-rm 'C'");
  warned({"--publish-rm", "81"}, "--publish-rm '81'");
  warned({"--label-rm", "x"}, "--label-rm 'x'");
  warned({"--constraint-rm", "node.role==worker"}, "--constraint-rm 'node.role==worker'");
  warned({"--affinity-rm", "service==db"}, "--affinity-rm 'service==db'");
  warned({"--host-rm", "db", "--env-rm", "A"}, "--host-rm 'db'");
  CHECK(server.lastSpec().getTask().getContainer().getEnv().size() == 1);
  auto ran = server.run({"service", "update", "-d", "--publish-rm", "80", "web"});
  CHECK(ran.errors == "");
  CHECK(server.lastSpec().getEndpoint().getPorts().size() == 0);
}

TEST_CASE("cli: an update that comes too late is made again on what there is now", "[cli]") {
  RecordingServer server;
  REQUIRE(server.run(create({"-d"})).status == 0);
  server.outOfSequence = 3;
  auto ran = server.run({"service", "update", "-d", "--env-add", "A=1", "web"});
  CHECK(ran.status == 0);
  CHECK(server.requestIds.size() == 5);
  CHECK(server.requestIds[1] != server.requestIds[2]);
  server.outOfSequence = 1000;
  ran = server.run({"service", "update", "-d", "--env-add", "A=2", "web"});
  CHECK(ran.status == 1);
  CHECK(has(ran.errors, "update out of sequence"));
}

TEST_CASE("cli: update changes what its flags say and keeps the rest", "[cli]") {
  RecordingServer server;
  REQUIRE(server
              .run(create({"-d", "-e", "A=1", "-e", "B=2", "-l", "x=1", "-p", "80:80", "-p",
                           "53:53/udp", "--mount", "source=v,target=/v", "--limit-memory", "64m",
                           "--cap-add", "CHOWN", "--host", "db:10.0.0.1"}))
              .status == 0);
  auto ran = server.run({"service",
                         "update",
                         "--env-add",
                         "A=9",
                         "--env-rm",
                         "B",
                         "--env-add",
                         "C=3",
                         "--label-rm",
                         "x",
                         "--label-add",
                         "y=2",
                         "--publish-rm",
                         "80",
                         "--publish-add",
                         "81:81",
                         "--mount-rm",
                         "/v",
                         "--mount-add",
                         "type=tmpfs,target=/t",
                         "--image",
                         "nginx:2",
                         "--args",
                         "run 'it now'",
                         "--force",
                         "--replicas",
                         "5",
                         "--cap-drop",
                         "CHOWN",
                         "--host-rm",
                         "db",
                         "web",
                         "-d",
                         "--read-only=true",
                         "--user="});
  INFO(ran.errors);
  REQUIRE(ran.status == 0);
  CHECK(ran.out == "web\n");
  CHECK(server.lastVersion == 11);
  auto spec = server.lastSpec();
  auto container = spec.getTask().getContainer();
  REQUIRE(container.getEnv().size() == 2);
  CHECK(container.getEnv()[0] == "A=9");
  CHECK(container.getEnv()[1] == "C=3");
  REQUIRE(spec.getLabels().size() == 1);
  CHECK(spec.getLabels()[0].getKey() == "y");
  REQUIRE(spec.getEndpoint().getPorts().size() == 2);
  CHECK(spec.getEndpoint().getPorts()[0].getTarget() == 53);
  CHECK(spec.getEndpoint().getPorts()[1].getTarget() == 81);
  REQUIRE(container.getMounts().size() == 1);
  CHECK(container.getMounts()[0].getTarget() == "/t");
  CHECK(container.getImage() == "nginx:2");
  REQUIRE(container.getArgs().size() == 2);
  CHECK(container.getArgs()[1] == "it now");
  CHECK(spec.getTask().getForceUpdate() == 1);
  CHECK(spec.getMode().getReplicated().getReplicas() == 5);
  CHECK(container.getCapAdd().size() == 0);
  CHECK(container.getCapDrop()[0] == "CHOWN");
  CHECK(container.getHosts().size() == 0);
  CHECK(container.getReadOnly());
  CHECK(spec.getTask().getResources().getLimitMemoryBytes() == 64 << 20);
  CHECK(spec.getName() == "web");
}

TEST_CASE("cli: a global service has no replicas", "[cli]") {
  RecordingServer server;
  auto ran = server.run(create({"--mode", "global", "--replicas", "2"}));
  CHECK(ran.status == 2);
  CHECK(ran.errors ==
        "orch: --replicas is for replicated services: a global one has one task on each node\n");
  CHECK(server.calls.empty());
  REQUIRE(server.run(create({"-d", "--mode", "global"})).status == 0);
  CHECK(server.lastSpec().getMode().isGlobal());
  auto list = {"service", "ls", "--format", "{{.Mode}} {{.Replicas}}", "-f", "mode=global"};
  CHECK(server.run({list.begin(), list.end()}).out == "global 0/1\n");
  ran = server.run({"service", "update", "--replicas", "2", "web"});
  CHECK(ran.status == 2);
  CHECK(has(ran.errors, "--replicas is for replicated services"));
  REQUIRE(server.run({"service", "update", "-d", "--force", "web"}).status == 0);
  CHECK(server.lastSpec().getMode().isGlobal());
  CHECK(server.lastSpec().getTask().getForceUpdate() == 1);
}

}  // namespace
}  // namespace orch::cli
