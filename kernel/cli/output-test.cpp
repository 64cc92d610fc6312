#include "output.h"

#include <capnp/message.h>
#include <catch2/catch.hpp>

#include "human.h"
#include "pretty.h"
#include "progress.h"

namespace orch::cli {
namespace {

TEST_CASE("cli: columns are ten wide at least and three apart", "[cli]") {
  Table table;
  table.row(kj::arr(kj::str("ID"), kj::str("NAME"), kj::str("PORTS")));
  table.row(kj::arr(kj::str("0123456789ab"), kj::str("wéb"), kj::str("*:80->80/tcp")));
  CHECK(table.text() ==
        "ID             NAME      PORTS\n"
        "0123456789ab   wéb       *:80->80/tcp\n");
  CHECK(table.text(34) == "ID            NAME  PORTS\n0123456789ab  wéb   *:80->80/tcp\n");
  Table broken;
  broken.row(kj::arr(kj::str("A"), kj::str("B")));
  broken.row(kj::arr(kj::str("a\nb"), kj::str("\x1b[31m")));
  CHECK(broken.text() == "A         B\na b        [31m\n");
  CHECK(ellipsis("abcdef", 4) == "abc…");
  CHECK(ellipsis("äöü", 3) == "äöü");
  CHECK(ending("abcdef", 4) == "…def");
  CHECK(ending("äöüß", 3) == "…üß");
}

TEST_CASE("cli: times and sizes read as docker's", "[cli]") {
  constexpr int64_t SECOND = 1'000'000'000;
  CHECK(humanDuration(SECOND / 2) == "Less than a second");
  CHECK(humanDuration(-SECOND) == "Less than a second");
  CHECK(shortDuration(512) == "512us");
  CHECK(shortDuration(32'768) == "32ms");
  CHECK(shortDuration(2'097'152) == "2.0s");
  CHECK(humanDuration(45 * SECOND) == "45 seconds");
  CHECK(humanDuration(61 * SECOND) == "About a minute");
  CHECK(humanDuration(3600 * SECOND) == "About an hour");
  CHECK(humanDuration(26 * 3600 * SECOND) == "26 hours");
  CHECK(humanDuration(15 * 24 * 3600 * SECOND) == "2 weeks");
  CHECK(sinceText("Running", 10 * SECOND, 130 * SECOND) == "Running 2 minutes ago");
  CHECK(sinceText("New", 0, 130 * SECOND) == "New");
  CHECK(humanSize(4'262'000) == "4.26MB");
  CHECK(binarySize(64 << 20) == "64MiB");
  CHECK(timestamp(1'700'000'000'000'000'001) == "2023-11-14T22:13:20.000000001Z");
}

TEST_CASE("cli: text in JSON is escaped and always UTF-8", "[cli]") {
  CHECK(jsonText("a\"\\\n"_kj) == "\"a\\\"\\\\\\n\"");
  CHECK(jsonText("ä€\xff\xc3"_kj) == "\"ä€��\"");
  CHECK(jsonText("\xed\xa0\x80"_kj) == "\"�\"");
}

TEST_CASE("cli: pretty leaves out what is not set and spells units out", "[cli]") {
  capnp::MallocMessageBuilder message;
  auto service = message.initRoot<schema::Service>();
  service.initMeta().setId("abc");
  auto container = service.initSpec().initTask().initContainer();
  container.setImage("nginx");
  auto label = service.getSpec().initLabels(1)[0];
  label.setKey("a");
  label.setValue("b");
  auto text = pretty(capnp::toDynamic(service.asReader()));
  INFO(text.cStr());
  CHECK(strstr(text.cStr(), "Id: abc\n") != nullptr);
  CHECK(strstr(text.cStr(), "Labels: a=b\n") != nullptr);
  CHECK(strstr(text.cStr(), "Stop grace: 10s\n") != nullptr);
  CHECK(strstr(text.cStr(), "Hostname") == nullptr);
}

TEST_CASE("cli: progress has a bar per task, up to twenty", "[cli]") {
  capnp::MallocMessageBuilder message;
  auto progress = message.initRoot<schema::ServiceProgress>();
  progress.setDesired(2);
  progress.setRunning(1);
  auto tasks = progress.initTasks(2);
  tasks[0].setSlot(1);
  tasks[0].setState(schema::TaskState::RUNNING);
  tasks[1].setSlot(2);
  tasks[1].setError("no such image 'nginx:none'");
  auto lines = progressLines(progress, Goal::converged, 120);
  REQUIRE(lines.size() == 3);
  CHECK(lines[0] == "overall progress: 1 out of 2 tasks");
  CHECK(lines[1] == "1/2: running   [=================================================>]");
  CHECK(lines[2] == "2/2: no such image 'nginx:none'");
  CHECK(displayWidth(progressLines(progress, Goal::converged, 40)[1]) == 39);
  tasks[1].setSlot(0);
  tasks[1].setNodeId("n1aaaaaaaaaaaaaaaaaaaaaaa");
  CHECK(progressLines(progress, Goal::converged, 120)[2] ==
        "n1aaaaaaaaaa: no such image 'nginx:none'");
  progress.initTasks(21);
  CHECK(progressLines(progress, Goal::converged, 80).size() == 1);
}

}  // namespace
}  // namespace orch::cli
