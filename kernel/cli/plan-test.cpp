#include <catch2/catch.hpp>
#include <fcntl.h>
#include <kj/io.h>
#include <unistd.h>

#include "recording-server.h"

namespace orch::cli {
namespace {

TEST_CASE("cli: a command is planned, and not carried out", "[cli]") {
  RecordingServer server;
  REQUIRE(server.run(create({"-d", "--name", "web"})).status == 0);
  server.calls.clear();
  auto planned = [&](Words words) {
    server.calls.clear();
    words.insert(words.begin(), "plan");
    auto ran = server.run(words);
    CHECK(ran.status == 0);
    return server.calls;
  };
  CHECK(planned({"service", "create", "--name", "db", "nginx:1", "--replicas", "9"}) ==
        Words{"plan create db"});
  CHECK(planned({"service", "update", "--image", "nginx:2", "web"}) ==
        Words{"plan update id-of-web"});
  CHECK(planned({"service", "scale", "web=4", "db=2"}) ==
        Words{"plan scale web=4", "plan scale db=2"});
  CHECK(planned({"service", "rollback", "web"}) == Words{"plan rollback web"});
  CHECK(planned({"service", "rollback", "--to", "2", "web"}) == Words{"plan rollback web to 2"});
  CHECK(planned({"service", "rm", "web", "db"}) == Words{"plan remove web", "plan remove db"});
}

TEST_CASE("cli: a plan says what would start, what waits, and what is left", "[cli]") {
  RecordingServer server;
  auto ran = server.run({"plan", "service", "scale", "web=3"});
  CHECK(ran.errors == "orch: warning: nobody knows the image\n");
  CHECK(ran.out ==
        "ACTION    TASK      NODE      AFTER     DETAIL\n"
        "start     web.2     n1        10s       web:1\n"
        "wait      web.3                         no suitable node\n"
        "\n"
        "NODE      TASKS     CORES NOT RESERVED   MEMORY NOT RESERVED\n"
        "n1        1 -> 2    1.5 of 4             512MiB of 1GiB\n"
        "\n"
        "web: 2 of 3 tasks run, and not all of them without n1\n"
        "\n"
        "'orch apply p1' makes it so\n");
  CHECK(has(server.run({"plan", "--json", "service", "scale", "web=3"}).out, "\"id\": \"p1\""));
  server.calls.clear();
  CHECK(server.run({"apply", "p1"}).out == "p1\n");
  CHECK(server.calls == Words{"apply p1"});
}

TEST_CASE("cli: what is not to be planned is refused before anything is asked", "[cli]") {
  RecordingServer server;
  auto refused = [&](Words words, const std::string& text) {
    auto ran = server.run(words);
    CHECK(ran.status == 2);
    CHECK_THAT(ran.errors, Catch::StartsWith("orch: " + text));
  };
  refused({"plan", "node", "ls"}, "'orch node ls' cannot be planned; there are service create, ");
  refused({"plan", "service", "crate"}, "unknown command 'service crate'");
  refused({"plan", "service", "scale", "web"}, "invalid value 'web' for SERVICE=REPLICAS");
  refused({"plan", "node", "update", "--wait", "--availability", "drain", "n2"},
          "a plan has nothing to --wait for");
  refused({"plan"}, "");
  refused({"simulate"}, "what is to be simulated?");
  refused({"simulate", "--add", "cpus=8"}, "invalid value 'cpus=8' for --add: expected cpus=");
  refused({"simulate", "--add", "cpus=8,memory=1g,disk=1"}, "invalid value");
  refused({"simulate", "--scale", "web"}, "invalid value 'web' for --scale");
  CHECK(server.calls.empty());
}

TEST_CASE("cli: a simulation loses, adds and scales", "[cli]") {
  RecordingServer server;
  auto ran = server.run({"simulate", "--lose", "n2", "--add", "cpus=8,memory=32g,label.zone=a",
                         "--add", "cpus=0.5,memory=1g,name=small", "--scale", "web=40"});
  CHECK(ran.status == 0);
  CHECK(server.calls == Words{"plan add new-1 8000000000 34359738368 1",
                              "plan add small 500000000 1073741824 0", "plan lose n2",
                              "plan scale web=40"});
  CHECK_FALSE(has(ran.out, "apply"));
}

TEST_CASE("cli: why a task is where it is, and what would change that", "[cli]") {
  RecordingServer server;
  auto ran = server.run({"why", "web"});
  CHECK(ran.out ==
        "web.3 is pending: no suitable node\n"
        "\n"
        "NODE      MAY RUN   WHY NOT, OR HOW IT STANDS   WHAT WOULD CHANGE THAT\n"
        "n1        yes       tasks: 7\n"
        "n2        no        drained                     orch node update --availability active "
        "n2\n");
  CHECK(has(server.run({"why", "--node", "n2", "web"}).out, "drained"));
  auto missing = server.run({"why", "--node", "n9", "web"});
  CHECK(missing.status == 1);
  CHECK(missing.errors == "orch: there is no node 'n9'; see 'orch node ls'\n");
}

TEST_CASE("cli: a replay counts where tasks would be, and names those that would be elsewhere",
          "[cli]") {
  RecordingServer server;
  CHECK(server.run({"replay", "--since", "1700000000"}).out ==
        "no task was given a node in that time\n");
  CHECK(server.calls.back() == "replay  since 1700000000000000000");
  std::string counts =
      "1 decision from 2023-11-14T22:13:20.000000000Z to 2023-11-14T22:13:20.000000000Z\n"
      "\n"
      "SERVICE   TASKS     THE SAME NODE   ANOTHER   NONE\n"
      "web       3         1               1         1\n";
  CHECK(server.run({"replay", "--scheduler", "binpack"}).out == counts);
  CHECK(server.run({"replay", "--scheduler", "binpack", "--each"}).out ==
        counts +
            "\n"
            "TIME                             TASK      NODE      WOULD BE ON\n"
            "2023-11-14T22:13:20.000000000Z   web.2     n1        n2\n"
            "2023-11-14T22:13:20.000000000Z   web.3     n1        none: no suitable node\n");
}

TEST_CASE("cli: a journal is replayed from a file, and one that cannot be is named", "[cli]") {
  RecordingServer server;
  auto path = kj::str("/tmp/orch-cli-replay-", getpid());
  KJ_DEFER(unlink(path.cStr()));
  auto write = [&](kj::StringPtr content) {
    kj::AutoCloseFd file(open(path.cStr(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    kj::FdOutputStream(file.get()).write(content.begin(), content.size());
  };
  write("a journal");
  CHECK(server.run({"replay", path.cStr(), "--scheduler", "binpack"}).status == 0);
  CHECK(server.calls.back() == "replay binpack since 0 of a journal");
  write("");
  auto empty = server.run({"replay", path.cStr()});
  CHECK(empty.status == 2);
  CHECK(has(empty.errors, "is empty"));
  auto folder = server.run({"replay", "/tmp"});
  CHECK(folder.status == 2);
  CHECK(has(folder.errors, "the journal '/tmp' is no file"));
  auto missing = server.run({"replay", "/does/not/exist"});
  CHECK(missing.status == 1);
  CHECK(missing.errors ==
        "orch: cannot read the journal '/does/not/exist': No such file or directory\n");
}

}  // namespace
}  // namespace orch::cli
