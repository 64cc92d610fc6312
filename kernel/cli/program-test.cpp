// The built program against a recording server: texts, exit statuses, JSON.
#include <catch2/catch.hpp>
#include <signal.h>

#include <algorithm>

#include "recording-server.h"

namespace orch::cli {
namespace {

std::string firstLine(const std::string& text) { return text.substr(0, text.find('\n')); }

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
  check({"service", "update", "--env", "A=1", "web"},
        "orch: unknown flag '--env' for 'orch service update'; there are '--env-add', '--env-rm'");
  // One that takes away is not meant by one that adds, and one letter is near to every other.
  check({"service", "create", "--network-rm", "x", "nginx"},
        "orch: unknown flag '--network-rm' for 'orch service create'");
  check({"service", "inspect", "-x", "web"}, "orch: unknown flag '-x' for 'orch service inspect'");
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
        "orch: invalid value 'colour=red' for --filter: expected id=…, name=…, mode=…, label=…");
  check({"service", "ls", "-f", "mode=bogus"},
        "orch: invalid value 'mode=bogus' for --filter: expected "
        "mode=replicated|global|replicated-job|global-job");
  check({"node", "ls", "-f", "role=bogus"},
        "orch: invalid value 'role=bogus' for --filter: expected role=manager|worker");
  check({"service", "ps", "-f", "desired-state=bogus", "web"},
        "orch: invalid value 'desired-state=bogus' for --filter: expected "
        "desired-state=ready|running|complete|shutdown|remove");
  check({"service", "update", "web", "also"},
        "orch: 'orch service update' takes SERVICE, not 'also'; see 'orch service update --help'");
  check({"-H", "http://1.2.3.4:1", "service", "ls"},
        "orch: invalid value 'http://1.2.3.4:1' for --host: expected a Unix socket such as "
        "unix:///run/orch/orchd.sock, or a manager such as tcp://10.0.0.1:2377");
  check(
      {"-H", "tcp://", "service", "ls"},
      "orch: invalid value 'tcp://' for --host: expected a manager such as tcp://10.0.0.1:2377, or "
      "several as in tcp://10.0.0.1,10.0.0.2");
  check({"cluster", "update"},
        "orch: say what to change: --autolock, --cert-expiry, --external-ca, --image-limit, "
        "--rebalance or --task-history-limit");
  for (auto wrong :
       {"max=2", "every=1m", "max=0,every=1m", "max=2,every=0", "most=2,every=1m", ""}) {
    CHECK(server.run({"cluster", "update", "--rebalance", wrong}).status == 2);
  }
  check({"cluster", "update", "--rebalance", "max=2"},
        "orch: invalid value 'max=2' for --rebalance: expected max=TASKS,every=DURATION such as "
        "max=2,every=1m, or none");
  check({"cluster", "update", "--cert-expiry", "0"},
        "orch: invalid value '0' for --cert-expiry: expected 1h to 43800h");
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
        "ERROR                                              PORTS\n"
        "t1aaaaaaaaaa   web.1       nginx:1   node-1    Running         Running 2 minutes ago\n"
        "t0aaaaaaaaaa    \\_ web.1   nginx:1   node-1    Shutdown        Failed 5 minutes ago    "
        "\"task: non-zero exit (1), which is a long story\"\n");
  CHECK(server.run({"node", "ls"}).out ==
        "ID               HOSTNAME   STATUS    AVAILABILITY   MANAGER STATUS   ENGINE VERSION\n"
        "n1aaaaaaaaaa *   node-1     Ready     Active         Leader           0.1.0\n");
  CHECK(has(server.run({"node", "ls", "-q", "-f", "label=disk=ssd", "-f", "role=MANAGER"}).out,
            "n1aaaaaaaaaa"));
  CHECK(server.run({"node", "ls", "-q", "-f", "label=disk=hdd"}).out == "");
  CHECK(has(server.run({"service", "ps", "-q", "-f", "node=self", "web"}).out, "t1aaaaaaaaaa"));
  for (auto words : {Words{"node", "ps"}, Words{"node", "ps", "self"}, Words{"node", "ps", "a"}}) {
    auto ran = server.run(words);
    CHECK(ran.status == 0);
    CHECK(has(ran.out, " \\_ web.1   nginx:1   node-1    Shutdown"));
  }
  CHECK(server.run({"service", "ps", "-q", "-f", "desired-state=RUNNING", "web"}).out ==
        "t1aaaaaaaaaa\n");
  auto both = server.run({"service", "ps", "-q", "web", "nosuch"});
  CHECK(both.status == 1);
  CHECK(has(both.out, "t1aaaaaaaaaa"));
  CHECK(has(both.errors, "no service 'nosuch'"));
  CHECK(has(server.run({"plugin", "ls"}).out, "store.local   "));
}

TEST_CASE("cli: a name that is filtered for is a beginning, of networks any part", "[cli]") {
  RecordingServer server;
  for (std::string name : {"web", "web-2", "my-web"}) {
    REQUIRE(server.run({"service", "create", "-d", "--name", name, "nginx:1"}).status == 0);
  }
  auto count = [&](Words words) {
    auto out = server.run(words).out;
    return std::count(out.begin(), out.end(), '\n');
  };
  CHECK(count({"service", "ls", "-q", "-f", "name=web"}) == 2);
  CHECK(count({"service", "ps", "-q", "-f", "name=we", "web"}) == 2);
  CHECK(count({"service", "ps", "-q", "-f", "name=eb", "web"}) == 0);
  CHECK(count({"node", "ls", "-q", "-f", "name=node"}) == 1);
  CHECK(count({"node", "ls", "-q", "-f", "name=1"}) == 0);
}

TEST_CASE("cli: lists are printed by a template, with docker's names", "[cli]") {
  RecordingServer server;
  REQUIRE(server.run(create({"-d", "--replicas", "2", "-p", "8080:80"})).status == 0);
  auto format = [&](const char* text) {
    return server.run({"service", "ls", "--format", text}).out;
  };
  CHECK(format("{{.ID}}") == "id-of-web\n");
  CHECK(format("{{.Name}}\\t{{.Replicas}}") == "web\t0/2\n");
  CHECK(format("table {{.Name}}\\t{{.Ports}}") == "NAME      PORTS\nweb       *:8080->80/tcp\n");
  CHECK(format("table").rfind("ID          NAME", 0) == 0);
  auto json =
      "{\"ID\":\"id-of-web\",\"Image\":\"nginx:1\",\"Mode\":\"replicated\",\"Name\":\"web\","
      "\"Ports\":\"*:8080->80/tcp\",\"Replicas\":\"0/2\"}\n";
  CHECK(format("json") == json);
  CHECK(format("{{json .}}") == json);
  CHECK(server.run({"node", "ls", "--format", "{{.ID}} {{if .Self}}*{{end}} {{.ManagerStatus}}"})
            .out == "n1aaaaaaaaaa * Leader\n");
  CHECK(
      server.run({"service", "ps", "--no-trunc", "--format", "{{.CurrentState}}|{{.Error}}", "web"})
          .out ==
      "Running 2 minutes ago|\nFailed 5 minutes ago|\"task: non-zero exit (1), which is a long "
      "story\"\n");
  CHECK(server.run({"plugin", "ls", "--format", "{{.ID}}: {{.State}}"}).out ==
        "store.local: Running\nscheduler.spread: Running\n");
  // Wrong ones are told before anybody is asked, though there may be no row.
  auto wrong = server.run({"-H", "/nowhere", "network", "ls", "--format", "{{.Nme}}"});
  CHECK(wrong.status == 2);
  CHECK(wrong.errors ==
        "orch: invalid value '{{.Nme}}' for --format: there is no field '.Nme'; there are .Driver, "
        ".ID, .IPv6, .Internal, .Labels, .Name, .Scope, .Subnet\n");
}

TEST_CASE("cli: volumes are listed, shown and removed", "[cli]") {
  RecordingServer server;
  auto list = server.run({"volume", "ls"});
  CHECK(list.out ==
        "DRIVER    VOLUME NAME   NODE      USED BY\nlocal     data          node-1    web.1\n");
  CHECK(list.errors ==
        "orch: warning: nothing is known of node node-2: it has no session with the manager\n");
  CHECK(server.run({"volume", "ls", "-q", "-f", "name=at"}).out == "data\n");
  CHECK(server.run({"volume", "ls", "-q", "-f", "dangling=true"}).out == "");
  CHECK(server.run({"volume", "inspect", "-f", "{{.Mountpoint}}", "data"}).out == "/v/data\n");
  CHECK(server.run({"volume", "inspect", "nosuch"}).status == 1);
  auto both = server.run({"volume", "rm", "data", "nosuch"});
  CHECK(both.status == 1);
  CHECK(both.out == "data\n");
  CHECK(both.errors == "orch: no volume 'nosuch'; see 'orch volume ls'\n");
  CHECK(server.run({"volume", "rm", "--force", "nosuch"}).status == 0);
  // Names are data that somebody wanted to keep: docker's prune leaves those alone, too.
  CHECK(server.run({"volume", "prune"}).status == 2);
  CHECK(server.calls == Words{"removeVolume data", "removeVolume nosuch", "removeVolume nosuch"});
}

TEST_CASE("cli: discovered hosts are listed and watched, and a token is made", "[cli]") {
  RecordingServer server;
  auto list = server.run({"discovery", "ls"});
  CHECK(list.out ==
        "ADDRESS         ROLE      NODE           STATUS    BACKENDS\n"
        "10.0.0.1:2377   manager   n1aaaaaaaaaa             discovery.file#1\n"
        "10.0.0.2:2377                            Held\n");
  CHECK(list.errors == "orch: warning: discovery.file#1: '/etc/orch/hosts' does not exist\n");
  CHECK(server.run({"discovery", "ls", "-q", "-f", "role=manager"}).out == "10.0.0.1:2377\n");
  CHECK(server.run({"discovery", "ls", "-q", "-f", "backend=discovery.node"}).out == "");
  CHECK(server.run({"discovery", "ls", "--format", "{{.Address}} {{.Node}}", "--no-trunc"}).out ==
        "10.0.0.1:2377 n1aaaaaaaaaaaaaaaaaaaaaaa\n10.0.0.2:2377 \n");
  CHECK(has(server.run({"discovery", "ls", "--json"}).out, "\"manager\""));
  CHECK(server.run({"discovery", "watch"}).out ==
        "+ 10.0.0.1:2377\n- 10.0.0.1:2377\n+ 10.0.0.2:2377\n");
  CHECK(server.run({"discovery", "create", "token://h:1"}).out == "token://h:1/v1/0123\n");
  CHECK(server.run({"discovery", "create"}).status == 2);
}

TEST_CASE("cli: what inspect shows is printed by a template", "[cli]") {
  RecordingServer server;
  REQUIRE(server.run(create({"-d", "-l", "a.b=c", "-p", "8080:80"})).status == 0);
  auto format = [&](const char* text) {
    return server.run({"service", "inspect", "-f", text, "web"}).out;
  };
  CHECK(format("{{.ID}} {{.Spec.Name}}") == "id-of-web web\n");
  CHECK(format("{{.Spec.TaskTemplate.ContainerSpec.Image}}") == "nginx:1\n");
  CHECK(format("{{json .Spec.Labels}}") == "[{\"key\":\"a.b\",\"value\":\"c\"}]\n");
  CHECK(format("{{index .Spec.Labels \"a.b\"}}") == "c\n");
  CHECK(format("{{.Version.Index}}") == "11\n");
  auto wrong = server.run({"service", "inspect", "--format", "{{.Spec.Nme}}", "web"});
  CHECK(wrong.status == 2);
  CHECK(has(wrong.errors, "there is no field '.Nme'; there are .Name, .Labels, .Mode, "));
  CHECK(server.run({"service", "inspect", "--format", "x", "--pretty", "web"}).status == 2);
}

TEST_CASE("cli: services are found by their labels, port ranges are one", "[cli]") {
  RecordingServer server;
  Words ports = {"-d", "-l", "tier=front", "-p", "8080-8082:80-82", "-p", "53:53/udp"};
  REQUIRE(server.run(create(ports)).status == 0);
  REQUIRE(server.run({"service", "create", "-d", "--name", "db", "nginx:1"}).status == 0);
  CHECK(server.run({"service", "ls", "-q", "-f", "label=tier"}).out == "id-of-web\n");
  CHECK(server.run({"service", "ls", "-q", "-f", "label=tier=front"}).out == "id-of-web\n");
  CHECK(server.run({"service", "ls", "-q", "-f", "label=tier=back"}).out == "");
  CHECK(has(server.run({"service", "ls"}).out, "*:8080-8082->80-82/tcp, *:53->53/udp"));
  server.pausedBefore = true;
  auto ran = server.run({"service", "inspect", "--pretty", "web"});
  CHECK(ran.out.rfind("Update:\n  State: paused\n  Began: ", 0) == 0);
  CHECK(has(ran.out, "  Message: update paused: task web.1 failed: exit 1\nMeta:"));
}

TEST_CASE("cli: JSON is one document on stdout", "[cli]") {
  RecordingServer server;
  CHECK(server.run({"service", "ls", "--json"}).out == "[]\n");
  auto created = server.run(create({"--json", "--verify", "0s"}));
  CHECK(created.status == 0);
  CHECK(created.out.rfind("{\"service\": {", 0) == 0);
  CHECK(has(created.out, "\"name\": \"web\""));
  CHECK(has(created.out, "\"version\": 11"));
  CHECK(has(created.out, "\"stopGraceMs\": 10000"));
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
  auto ran = server.run(create({"--verify", "0s"}));
  CHECK(ran.status == 0);
  CHECK(ran.out ==
        "id-of-web\noverall progress: 2 out of 2 tasks\nverify: service web converged\n");
  CHECK(server.run(create({"-q", "--verify=0s", "--name", "second"})).out == "id-of-second\n");
  CHECK(server.run({"service", "scale", "--verify", "0s", "web=2"}).out ==
        "web scaled to 2\noverall progress: 2 out of 2 tasks\nverify: service web converged\n");
  CHECK(server.run({"service", "rm", "web"}).out ==
        "web\noverall progress: 0 containers still to stop\nverify: service web is gone\n");
}

TEST_CASE("cli: a service has to stay converged", "[cli]") {
  RecordingServer server;
  auto ran = server.run(create({"--verify", "20ms"}));
  CHECK(ran.status == 0);
  auto waiting = "verify: waiting 20ms to see that the tasks stay up\n";
  CHECK(ran.out == std::string("id-of-web\noverall progress: 2 out of 2 tasks\n") + waiting +
                       "verify: service web converged\n");
  server.unsteady = 1;
  ran = server.run({"service", "scale", "--verify", "20ms", "web=2"});
  CHECK(ran.status == 0);
  CHECK(ran.out ==
        std::string("web scaled to 2\noverall progress: 2 out of 2 tasks\n") + waiting +
            "overall progress: 1 out of 2 tasks\nverify: not all stayed up, beginning anew\n" +
            "verify: service web converged\n");
  // Not if all have come to their end, and not after an update through which the server watched.
  server.taskStates = {schema::TaskState::COMPLETE, schema::TaskState::COMPLETE};
  ran = server.run({"service", "scale", "--verify", "1h", "web=2"});
  CHECK_FALSE(has(ran.out, "waiting"));
  server.taskStates = {schema::TaskState::RUNNING, schema::TaskState::RUNNING};
  server.updates = true;
  ran = server.run({"service", "update", "--verify", "1h", "--image", "nginx:2", "web"});
  CHECK(ran.status == 0);
  CHECK_FALSE(has(ran.out, "waiting"));
}

TEST_CASE("cli: an update that another one takes the place of has not converged", "[cli]") {
  RecordingServer server;
  REQUIRE(server.run(create({"-d"})).status == 0);
  server.updates = true;
  server.superseded = true;
  auto ran = server.run({"service", "update", "--image", "nginx:2", "web"});
  CHECK(ran.status == 1);
  CHECK(ran.errors ==
        "orch: another update of service 'web' took the place of this one; see 'orch service ps "
        "web'\n");
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
  server.taskStates = {schema::TaskState::PREPARING, schema::TaskState::PENDING,
                       schema::TaskState::RUNNING};
  server.problem = "task web.1: no image 'web:1' for web.1.abcdefghijklmnopqrstuvwx0";
  ran = server.run({"service", "scale", "web=2"});
  CHECK(
      ran.out ==
      "web scaled to 2\noverall progress: 1 out of 2 tasks\nproblem: no image 'web:1' for the task "
      "(on 2 tasks)\n");
  CHECK(ran.errors ==
        "orch: service 'web' cannot converge: task web.1: no image 'web:1' for the task; it stays "
        "and goes on trying: see 'orch service ps web', end it with 'orch service rm web'\n");
  server.paused = true;
  server.taskStates = {schema::TaskState::FAILED, schema::TaskState::RUNNING,
                       schema::TaskState::RUNNING};
  ran = server.run({"service", "update", "--image", "nginx:2", "web"});
  CHECK(ran.status == 1);
  CHECK(
      ran.errors ==
      "orch: the update of service 'web' is paused: task web.1 failed: exit 1; the old spec still "
      "serves, in 1 of 2 tasks; see 'orch service ps web'; the way back: 'orch service rollback "
      "web'\n");
}

TEST_CASE("cli: a pause that was there before is no failure of the command", "[cli]") {
  RecordingServer server;
  REQUIRE(server.run(create({"-d"})).status == 0);
  server.pausedBefore = true;
  server.converges = false;
  server.stuck = true;
  server.taskStates = {schema::TaskState::RUNNING, schema::TaskState::RUNNING};
  auto ran = server.run({"service", "scale", "--verify", "0s", "web=2"});
  INFO(ran.errors);
  CHECK(ran.status == 0);
  CHECK(has(ran.out, "overall progress: 2 out of 2 tasks\n"));
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
  auto ran = server.run(create({"--verify", "0s"}));
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

TEST_CASE("cli: what is refused after the connection was lost may have been done", "[cli]") {
  RecordingServer server;
  server.disconnects = 1;
  server.refusalAfter = "no manager leads the cluster at the moment";
  auto ran = server.run(create({}));
  CHECK(ran.status == 1);
  CHECK(server.requestIds.size() == 2);
  CHECK(ran.errors ==
        "orch: no manager leads the cluster at the moment; the connection was lost when this was "
        "asked first: whether the change was made is unknown: look with 'orch service ls', then "
        "ask again\n");
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
  auto version = server.run({"version", "--format", "{{.Server.Version}} {{.Server.Node}}"});
  CHECK(version.out == "9.9.9 node-1\n");
  version = server.run({"version", "--format", "orch version {{.Client.Version}}"});
  CHECK(version.out == server.run({"--version"}).out);
  CHECK(server.run({"version", "--format", "{{.Nme}}"}).status == 2);
  CHECK(has(server.run({"image", "ls"}).errors, "no service 'image.oci' runs here"));
}

TEST_CASE("cli: completion knows commands, flags, choices and names", "[cli]") {
  RecordingServer server;
  REQUIRE(server.run(create({"-d"})).status == 0);
  auto complete = [&](Words words) {
    words.insert(words.begin(), {"__complete", "--"});
    return server.run(words).out;
  };
  CHECK(complete({"service", "sc"}) == "scale\n");
  CHECK(complete({"service", "create", "--replicas-"}) == "--replicas-max-per-node\n");
  CHECK(complete({"service", "create", "--update-order", ""}) == "stop-first\nstart-first\n");
  CHECK(complete({"service", "rm", "w"}) == "web\n");
  // A value of a flag, also after bash's `=`, and not the command's operands.
  CHECK(complete({"service", "create", "--strategy", ""}) == "spread\n");
  CHECK(complete({"service", "create", "--runtime", "=", "cr"}) == "crun\n");
  CHECK(complete({"service", "update", "--image", "we"}) == "");
  CHECK(complete({"service", "update", "--env-add", ""}) == "");
  CHECK(complete({"node", "inspect", ""}) == "self\nnode-1\n");
  CHECK(has(server.run({"completion", "bash"}).out, "complete -o bashdefault"));
}

}  // namespace
}  // namespace orch::cli
