// Containers outlive the plugin.
#include <catch2/catch.hpp>
#include <fcntl.h>
#include <kj/debug.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "oci-subject.h"
#include "orch/attempt.h"
#include "process-table.h"
#include "record.h"

namespace orch::runtime {
namespace {

using State = schema::Container::State;

void waitGone(int pid) {
  KJ_IF_MAYBE (process, openProcess({pid, startTicks(pid)})) {
    pollfd gone{process->get(), POLLIN, 0};
    REQUIRE(poll(&gone, 1, 30'000) == 1);
  }
}

// conmon's exit file, made by a rename; the folder is watched by nobody else meanwhile.
void waitForFile(const std::string& path) {
  for (unsigned i = 0; i < 3000 && access(path.c_str(), F_OK) != 0; ++i) usleep(10'000);
  REQUIRE(access(path.c_str(), F_OK) == 0);
}

TEST_CASE("runtime: a new plugin adopts what runs", "[runtime][root][cgroup]") {
  OciSubject subject("adopt");
  subject.request("c1", "trap 'exit 6' TERM; echo before; while true; do sleep 0.05; done")
      .send()
      .wait(subject.waitScope());
  subject.start("c1");
  subject.request("c2", "exit 9").send().wait(subject.waitScope());
  auto pid = subject.pidOf("c1");
  auto ticks = startTicks(pid);
  subject.crash();
  CHECK(startTicks(pid) == ticks);
  subject.restart();

  auto listed = subject.runtime().listRequest().send().wait(subject.waitScope());
  REQUIRE(listed.getContainers().size() == 2);
  CHECK(listed.getContainers()[0].getState() == State::RUNNING);
  CHECK(listed.getContainers()[0].getPid() == pid);
  CHECK(listed.getContainers()[0].getStartedAtNs() > 0);
  CHECK(listed.getContainers()[1].getState() == State::CREATED);
  while (subject.output("c1") != "before\n") {
    subject.timer().afterDelay(5 * kj::MILLISECONDS).wait(subject.waitScope());
  }
  auto stop = subject.runtime().stopRequest();
  stop.setId("c1");
  stop.setGraceMs(60'000);
  CHECK(stop.send().wait(subject.waitScope()).getExit().getCode() == 6);
  subject.start("c2");
  CHECK(subject.wait("c2") == 9);
  subject.remove("c1");
  subject.remove("c2");
}

TEST_CASE("runtime: the exit of one that ended meanwhile is known", "[runtime][root][cgroup]") {
  OciSubject subject("away");
  subject.request("c1", "while [ ! -e /data/go ]; do sleep 0.02; done; exit 42")
      .send()
      .wait(subject.waitScope());
  subject.start("c1");
  auto pid = subject.pidOf("c1");
  auto rootfs = kj::str("/proc/", pid,
                        "/root"
                        "/data/go");
  subject.crash();
  std::ofstream(rootfs.cStr()) << "go";
  waitForFile(
      kj::str(subject.folder(), "/run/runtime.", PLUGIN_UNDER_TEST.name, "/exits/c1").cStr());
  subject.restart();
  CHECK(subject.wait("c1") == 42);
  // And is still known after a second restart.
  subject.crash();
  subject.restart();
  CHECK(subject.wait("c1") == 42);
  subject.remove("c1");
}

TEST_CASE("runtime: an end that nobody saw is lost", "[runtime][root][cgroup]") {
  OciSubject subject("lost");
  subject.request("c1", "sleep 1000").send().wait(subject.waitScope());
  subject.start("c1");
  auto pid = subject.pidOf("c1");
  subject.crash();
  auto bundle = kj::str(subject.folder(), "/run/runtime.", PLUGIN_UNDER_TEST.name, "/c1");
  for (int conmon : processesWithArgument(bundle.cStr())) {
    if (conmon != static_cast<int>(pid)) {
      kill(conmon, SIGKILL);
      waitGone(conmon);
    }
  }
  kill(pid, SIGKILL);
  waitGone(pid);
  // As a conmon leaves it that was not there any more when its container was removed.
  auto stray =
      kj::str(subject.folder(), "/run/runtime.", PLUGIN_UNDER_TEST.name, "/exits/stranger");
  std::ofstream(stray.cStr()) << "0";
  subject.restart();
  CHECK_FALSE(std::filesystem::exists(stray.cStr()));
  CHECK(subject.wait("c1") == -1);
  subject.remove("c1");
}

TEST_CASE("runtime: a pid that means somebody else now is left alone", "[runtime][root][cgroup]") {
  OciSubject subject("recycled");
  subject.request("c1", "exit 0").send().wait(subject.waitScope());
  subject.start("c1");
  CHECK(subject.wait("c1") == 0);
  subject.crash();
  // As if the container still ran when orchd died, under a pid that is this test's today.
  StateFile state;
  state.bootId = bootId();
  state.init = {getpid(), startTicks(getpid()) - 1};
  state.startedAtNs = 5;
  writeState(subject.diskFile("c1", "state"), state);
  subject.restart();
  CHECK(subject.wait("c1") == 0);
  subject.remove("c1");
}

TEST_CASE("runtime: after a reboot nothing is taken for running", "[runtime][root][cgroup]") {
  OciSubject subject("reboot");
  CHECK(subject.run(subject.request("c1", "echo words; exit 0")) == 0);
  subject.crash();
  StateFile state;
  state.bootId = "an-earlier-boot";
  state.init = {getpid(), startTicks(getpid())};
  state.startedAtNs = 5;
  writeState(subject.diskFile("c1", "state"), state);
  subject.restart();
  CHECK(subject.wait("c1") == -1);
  CHECK(subject.output("c1") == "words\n");
  subject.remove("c1");
}

// As a start does that is ended right after it: the runtime still says that it is created. Or as
// one that is not ended, and does the rest.
void letGo(OciSubject& subject, kj::StringPtr id, bool whole) {
  auto path = kj::str(subject.folder(), "/run/runtime.", PLUGIN_UNDER_TEST.name, "/state/", id,
                      "/exec.fifo");
  kj::AutoCloseFd pipe(open(path.cStr(), O_RDWR | O_CLOEXEC));
  REQUIRE(pipe.get() >= 0);
  REQUIRE(write(pipe, "0", 1) == 1);
  auto pid = subject.pidOf(id);
  while (hasOpen(static_cast<int>(pid), path.cStr())) {
    subject.timer().afterDelay(5 * kj::MILLISECONDS).wait(subject.waitScope());
  }
  if (whole) REQUIRE(unlink(path.cStr()) == 0);
}

TEST_CASE("runtime: a start that was ended in its middle, or goes on, is done by the next one",
          "[runtime][root][cgroup]") {
  OciSubject subject("half-started");
  for (auto [crashes, whole] :
       {std::pair(false, false), std::pair(true, false), std::pair(false, true)}) {
    subject.request("c1", "trap 'exit 3' TERM; echo ready; while true; do sleep 0.05; done")
        .send()
        .wait(subject.waitScope());
    letGo(subject, "c1", whole);
    if (crashes) {
      subject.crash();
      subject.restart();
      auto listed = subject.runtime().listRequest().send().wait(subject.waitScope());
      REQUIRE(listed.getContainers().size() == 1);
      CHECK(listed.getContainers()[0].getState() == State::RUNNING);
    }
    subject.start("c1");
    // Before that a signal would find nobody who hears it.
    while (subject.output("c1") != "ready\n") {
      subject.timer().afterDelay(5 * kj::MILLISECONDS).wait(subject.waitScope());
    }
    auto stop = subject.runtime().stopRequest();
    stop.setId("c1");
    stop.setGraceMs(60'000);
    CHECK(stop.send().wait(subject.waitScope()).getExit().getCode() == 3);
    subject.remove("c1");
  }
}

// At each of many instants of a creation and start: crash, recover, and what is then listed works
// or is gone without a trace.
TEST_CASE("runtime: a crash at any instant of a start leaves nothing half-made",
          "[runtime][root][cgroup]") {
  OciSubject subject("crash");
  auto started = [&] {
    auto request = subject.request("c1", "trap 'exit 3' TERM; while true; do sleep 0.05; done");
    return request.send().ignoreResult().then([&] {
      auto start = subject.runtime().startRequest();
      start.setId("c1");
      return start.send().ignoreResult();
    });
  };
  // As long as it takes here and now, and a bit longer.
  auto begin = subject.timer().now();
  started().wait(subject.waitScope());
  auto whole = subject.timer().now() - begin;
  subject.remove("c1");
  for (unsigned step = 0; step < 24; ++step) {
    auto instant = whole * step / 20;
    INFO("crash after " << instant / kj::MILLISECONDS << " ms of " << whole / kj::MILLISECONDS);
    started().exclusiveJoin(subject.timer().afterDelay(instant)).wait(subject.waitScope());
    subject.crash();
    subject.restart();
    auto listed = subject.runtime().listRequest().send().wait(subject.waitScope());
    if (listed.getContainers().size() > 0) {
      auto container = listed.getContainers()[0];
      CHECK(container.getPid() > 0);
      CHECK(container.getState() != State::EXITED);
      auto again = subject.runtime().startRequest();
      again.setId("c1");
      auto outcome = attempt(again.send().ignoreResult()).promise().wait(subject.waitScope());
      // crun's init may not survive two starts, the first of which was killed.
      bool ended = !outcome.ok() && PLUGIN_UNDER_TEST.name == "crun" &&
                   outcome.message() == "container 'c1' ended before it was started";
      CAPTURE(outcome.ok() ? "" : outcome.message().cStr());
      CHECK((outcome.ok() || ended));
      subject.remove("c1");
    }
    for (auto& left : leftovers(subject.folder(), "/no-such-cgroup")) {
      CHECK(left == "nothing may be left over");
    }
    CHECK(subject.cgroupFile("c1", "pids", "pids.current", "pids.current") == "");
  }
}

}  // namespace
}  // namespace orch::runtime
