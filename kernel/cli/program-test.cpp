// The built program against a recording server: texts, exit statuses, JSON, and what was sent.
#include <catch2/catch.hpp>
#include <signal.h>

#include <filesystem>
#include <fstream>

#include "recording-server.h"

namespace orch::cli {
namespace {

using Words = std::vector<std::string>;

Words create(Words options, Words rest = {"nginx:1"}) {
  Words words = {"service", "create", "--name", "web"};
  words.insert(words.end(), options.begin(), options.end());
  words.insert(words.end(), rest.begin(), rest.end());
  return words;
}

std::string firstLine(const std::string& text) { return text.substr(0, text.find('\n')); }

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

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
                                "--mount",
                                "type=tmpfs,target=/t",
                                "--constraint",
                                "node.role==worker",
                                "--network",
                                "back",
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
                                "-t",
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
  CHECK(container.getMounts()[0].getTarget() == "/t");
  CHECK(task.getPlacement().getConstraints()[0] == "node.role==worker");
  CHECK(task.getPlacement().getMaxReplicasPerNode() == 2);
  CHECK(task.getPlacement().getStrategy() == "binpack");
  CHECK(task.getNetworks()[0] == "back");
  CHECK(container.getHostname() == "h");
  CHECK(container.getUser() == "1:2");
  CHECK(container.getWorkdir() == "/w");
  CHECK(container.getReadOnly());
  CHECK(container.getInit());
  CHECK(container.getTty());
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
                                              {"--name", "-web-"},
                                              {"--mode", "daemon"},
                                              {"--limit-memory", "1m"},
                                              {"--limit-memory", "lots"},
                                              {"--limit-cpu", "0.0001"},
                                              {"--limit-pids", "-5"},
                                              {"--reserve-cpu", "x"},
                                              {"--reserve-memory", "1k"},
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
                                              {"--stop-signal", "SIGFOO"},
                                              {"--stop-grace-period", "x"},
                                              {"--endpoint-mode", "dns"},
                                              {"--publish", "web"},
                                              {"--mount", "type=nfs,target=/a"},
                                              {"--env", "=x"},
                                              {"--env-file", "/does/not/exist"},
                                              {"--label", "=x"},
                                              {"--container-label", "=x"},
                                              {"--constraint", "zone=east"},
                                              {"--network", ""},
                                              {"--hostname", "a b"},
                                              {"--user", "a b"},
                                              {"--workdir", "relative"},
                                              {"--ulimit", "files=1"},
                                              {"--cap-add", "FLY"},
                                              {"--cap-drop", "FLY"},
                                              {"--entrypoint", "'a"},
                                              {"--replicas-max-per-node", "x"},
                                              {"--sysctl", "=1"},
                                              {"--host", "db"},
                                              {"--dns", "one"},
                                              {"--dns-search", "a b"},
                                              {"--dns-option", ""},
                                              {"--group", ""},
                                              {"--read-only", "=maybe"},
                                              {"--runtime", "a b"},
                                              {"--strategy", "?"},
                                              {"--log-opt", "max-size=x"},
                                              {"--log-opt", "colour=red"},
                                              {"--log-opt", "max-file=0"},
                                              {"--oom-score-adj", "2000"}}) {
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

TEST_CASE("cli: what is mistyped is answered with what was meant", "[cli]") {
  RecordingServer server;
  auto check = [&](Words words, const std::string& text) {
    auto ran = server.run(words);
    CHECK(ran.status == 2);
    CHECK(ran.out == "");
    CHECK(ran.errors == text + "\n");
  };
  check({"servce", "ls"}, "orch: unknown command 'servce'; did you mean 'service'?");
  check({"service", "creat"},
        "orch: unknown command 'service creat'; did you mean 'service create'?");
  check({"service", "create", "--replica", "3", "nginx"},
        "orch: unknown flag '--replica' for 'orch service create'; did you mean '--replicas'?");
  check({"service", "ls", "--quite"},
        "orch: unknown flag '--quite' for 'orch service ls'; did you mean '--quiet'?");
  check({"service", "create"},
        "orch: 'orch service create' takes IMAGE [COMMAND] [ARG...]; see 'orch service create "
        "--help'");
  check({"service", "ls", "web"},
        "orch: 'orch service ls' takes no arguments, not 'web'; see 'orch service ls --help'");
  check({"service", "create", "--replicas"},
        "orch: '--replicas' needs a value; see 'orch service create --help'");
  check({"service", "scale", "web"},
        "orch: invalid value 'web' for SERVICE=REPLICAS: expected the name of a service, '=' and a "
        "number");
  check({"service", "ls", "--filter", "colour=red"},
        "orch: invalid value 'colour=red' for --filter: expected id=…, name=…, mode=…");
  check({"-H", "tcp://1.2.3.4:1", "service", "ls"},
        "orch: invalid value 'tcp://1.2.3.4:1' for --host: expected a Unix socket such as "
        "unix:///run/orch/orchd.sock");
  CHECK(server.run({"service"}).status == 2);
  CHECK(server.run({}).status == 2);
  CHECK(server.calls.empty());
}

TEST_CASE("cli: an orchd that is not there is one line that says what to do", "[cli]") {
  RecordingServer server;
  auto missing = server.tryPath("missing.sock");
  auto ran = server.run({"--host", missing, "service", "ls"});
  CHECK(ran.status == 1);
  CHECK(ran.errors ==
        "orch: cannot reach orchd at '" + missing +
            "': No such file or directory; is orchd running? start it with 'systemctl start orchd' "
            "or 'orchd --config FILE', or name its socket with --host\n");
}

TEST_CASE("cli: lists have docker's columns", "[cli]") {
  RecordingServer server;
  REQUIRE(server.run(create({"-d", "--replicas", "2", "-p", "8080:80"})).status == 0);
  CHECK(server.run({"service", "ls"}).out ==
        "ID          NAME      MODE         REPLICAS   IMAGE     PORTS\n"
        "id-of-web   web       replicated   0/2        nginx:1   *:8080->80/tcp\n");
  CHECK(server.run({"service", "ls", "-q"}).out == "id-of-web\n");
  CHECK(server.run({"service", "list", "--filter", "name=db", "-q"}).out == "");
  CHECK(server.run({"service", "ps", "web"}).out ==
        "ID             NAME        IMAGE     NODE      DESIRED STATE   CURRENT STATE           "
        "ERROR                              PORTS\n"
        "t1aaaaaaaaaa   web.1       nginx:1   node-1    Running         Running 2 minutes ago   "
        "                                   \n"
        "t0aaaaaaaaaa    \\_ web.1   nginx:1   node-1    Shutdown        Failed 5 minutes ago    "
        "\"task: non-zero exit (1), whic…\"   \n");
  CHECK(server.run({"node", "ls"}).out ==
        "ID             HOSTNAME   STATUS    AVAILABILITY   MANAGER STATUS   ENGINE VERSION\n"
        "n1aaaaaaaaaa   node-1     Ready     Active         Leader           0.1.0\n");
  CHECK(has(server.run({"plugin", "ls"}).out, "store.local   "));
}

TEST_CASE("cli: JSON is one document on stdout", "[cli]") {
  RecordingServer server;
  CHECK(server.run({"service", "ls", "--json"}).out == "[]\n");
  auto created = server.run(create({"--json"}));
  CHECK(created.status == 0);
  CHECK(created.out.rfind("{\"service\": {", 0) == 0);
  CHECK(has(created.out, "\"name\": \"web\""));
  CHECK_FALSE(has(created.out, "overall progress"));
  auto list = server.run({"--json", "service", "ls"});
  CHECK(list.out.rfind("[{\"id\":\"id-of-web\",\"name\":\"web\"", 0) == 0);
  CHECK(has(server.run({"service", "inspect", "web"}).out, "\"image\": \"nginx:1\""));
  CHECK(has(server.run({"service", "inspect", "--pretty", "web"}).out, "Image: nginx:1\n"));
  auto both = server.run({"service", "inspect", "web", "nosuch"});
  CHECK(both.status == 1);
  CHECK(has(both.out, "\"image\": \"nginx:1\""));
  CHECK(both.errors == "orch: no service 'nosuch'; see 'orch service ls'\n");
}

TEST_CASE("cli: without --detach a change is followed until it has converged", "[cli]") {
  RecordingServer server;
  auto ran = server.run(create({}));
  CHECK(ran.status == 0);
  CHECK(ran.out ==
        "id-of-web\noverall progress: 2 out of 2 tasks\nverify: service web converged\n");
  CHECK(server.run(create({"-q", "--name", "second"})).out == "id-of-second\n");
  CHECK(server.run({"service", "scale", "web=2"}).out ==
        "web scaled to 2\noverall progress: 2 out of 2 tasks\nverify: service web converged\n");
  CHECK(server.run({"service", "rm", "web"}).out ==
        "web\noverall progress: 0 containers still to stop\nverify: service web is gone\n");
}

TEST_CASE("cli: what cannot converge ends with the reason", "[cli]") {
  RecordingServer server;
  server.converges = false;
  server.stuck = true;
  server.problem = "no suitable node";
  auto ran = server.run(create({}));
  CHECK(ran.status == 1);
  CHECK(ran.out == "id-of-web\noverall progress: 1 out of 2 tasks\nproblem: no suitable node\n");
  CHECK(ran.errors ==
        "orch: service 'web' cannot converge: no suitable node; see 'orch service ps web'\n");
  server.paused = true;
  ran = server.run({"service", "update", "--force", "web"});
  CHECK(ran.status == 1);
  CHECK(ran.errors ==
        "orch: the update of service 'web' is paused: task web.1 failed: exit 1; see 'orch service "
        "ps web'\n");
}

TEST_CASE("cli: Ctrl-C ends the wait and leaves the service as it is", "[cli]") {
  RecordingServer server;
  server.converges = false;
  auto ran = server.runAndInterrupt(create({}), SIGINT);
  CHECK(ran.status == 130);
  CHECK(has(ran.out,
            "orch: interrupted: service 'web' goes on without being watched; see 'orch "
            "service ps web'\n"));
}

TEST_CASE("cli: a change survives a restart of orchd with the same request id", "[cli]") {
  RecordingServer server;
  server.disconnects = 2;
  auto ran = server.run(create({}));
  INFO(ran.errors);
  CHECK(ran.status == 0);
  REQUIRE(server.requestIds.size() == 3);
  CHECK(server.requestIds[0] == server.requestIds[1]);
  CHECK(server.requestIds[0] == server.requestIds[2]);
}

TEST_CASE("cli: an orchd that does not come back leaves the outcome unknown", "[cli]") {
  RecordingServer server;
  server.disconnects = 1;
  server.comesBack = false;
  auto ran = server.run(create({}));
  CHECK(ran.status == 1);
  CHECK(has(ran.errors, "orch: lost the connection to orchd at '" + server.socket() + "' ("));
  CHECK(has(ran.errors,
            "could not reach it again within 5 s; whether the change was made is "
            "unknown"));
}

TEST_CASE("cli: the server's refusals are printed as they are", "[cli]") {
  RecordingServer server;
  server.refusal = "port 80 is published by 'db'; choose another";
  auto ran = server.run(create({}));
  CHECK(ran.status == 1);
  CHECK(ran.errors == "orch: port 80 is published by 'db'; choose another\n");
  server.refusal = "usage: a global service has no replicas";
  ran = server.run(create({}));
  CHECK(ran.status == 2);
  CHECK(ran.errors == "orch: a global service has no replicas\n");
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

TEST_CASE("cli: logs are prefixed as docker's, and stderr stays stderr", "[cli]") {
  RecordingServer server;
  auto ran = server.run({"service", "logs", "--tail", "5", "web"});
  CHECK(ran.out ==
        "web.1.t1aaaaaaaaaa@node-1    | hello\nweb.1.t1aaaaaaaaaa@node-1    | half of a line\n");
  CHECK(ran.errors == "web.1.t1aaaaaaaaaa@node-1    | oops\n");
  CHECK(server.lastLogOptions().getTail() == 5);
  CHECK_FALSE(server.lastLogOptions().getFollow());
  CHECK(server.run({"service", "logs", "--raw", "-t", "web"}).errors ==
        "2023-11-14T22:13:20.000000001Z oops\n");
  CHECK(firstLine(server.run({"service", "logs", "--no-task-ids", "web"}).out) ==
        "web.1@node-1    | hello");
  CHECK(has(server.run({"service", "logs", "--json", "web"}).out, "\"text\": \"half of a line\"}"));
  CHECK(server.run({"service", "logs", "--tail", "x", "web"}).status == 2);
}

TEST_CASE("cli: events, configuration and help", "[cli]") {
  RecordingServer server;
  CHECK(server.run({"events", "--no-follow"}).out ==
        "2023-11-14T22:13:20.000000001Z task.started t1 (service=web)\n");
  CHECK(server.run({"events", "--no-follow", "--filter", "subject=t2"}).out == "");
  CHECK(server.run({"config", "show"}).out == "[node]\nname = \"node-1\"\n");
  auto help = server.run({"service", "create", "--help"});
  CHECK(help.status == 0);
  CHECK(has(help.out, "-e, --env KEY=VALUE"));
  CHECK(has(help.out, "--host NAME:ADDRESS"));
  CHECK(has(server.run({"service", "--help"}).out, "  scale "));
  CHECK(has(server.run({"--version"}).out, "orch version "));
  CHECK(has(server.run({"image", "ls"}).errors, "no service 'image.oci' runs here"));
}

TEST_CASE("cli: completion knows commands, flags, choices and names", "[cli]") {
  RecordingServer server;
  REQUIRE(server.run(create({"-d"})).status == 0);
  auto complete = [&](Words words) {
    words.insert(words.begin(), {"__complete", "--"});
    return server.run(words).out;
  };
  CHECK(complete({"serv"}) == "service\n");
  CHECK(complete({"service", "sc"}) == "scale\n");
  CHECK(complete({"service", "create", "--replicas-"}) == "--replicas-max-per-node\n");
  CHECK(complete({"service", "create", "--update-order", ""}) == "stop-first\nstart-first\n");
  CHECK(complete({"service", "rm", "w"}) == "web\n");
  CHECK(complete({"node", "inspect", ""}) == "self\nnode-1\n");
  CHECK(has(server.run({"completion", "bash"}).out, "complete -o bashdefault"));
}

}  // namespace
}  // namespace orch::cli
