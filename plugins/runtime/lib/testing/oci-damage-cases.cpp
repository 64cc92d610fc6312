// Damaged files, a disk that is full, a runtime that hangs.
#include <catch2/catch.hpp>
#include <fcntl.h>
#include <kj/debug.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "file-access.h"
#include "oci-subject.h"
#include "orch/attempt.h"
#include "process-table.h"

namespace orch::runtime {
namespace {

using State = schema::Container::State;

std::string contentOf(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

void wait5Ms(OciSubject& subject) {
  subject.timer().afterDelay(5 * kj::MILLISECONDS).wait(subject.waitScope());
}

TEST_CASE("runtime: a flipped byte of a running container's files costs nothing",
          "[runtime][root][cgroup]") {
  OciSubject subject("flipped");
  subject.request("c1", "trap 'exit 6' TERM; echo ready; while true; do sleep 0.05; done")
      .send()
      .wait(subject.waitScope());
  subject.start("c1");
  auto pid = subject.pidOf("c1");
  auto ticks = startTicks(pid);
  for (auto name : {"state", "record"}) {
    auto path = subject.diskFile("c1", name);
    auto whole = contentOf(path);
    REQUIRE(whole.size() > 50);
    for (size_t i = 0; i < whole.size(); ++i) {
      INFO("byte " << i << " of '" << name << "'");
      subject.crash();
      auto damaged = whole;
      damaged[i] ^= 1 << i % 8;
      std::ofstream(path, std::ios::binary) << damaged;
      subject.restart();
      auto listed = subject.runtime().listRequest().send().wait(subject.waitScope());
      REQUIRE(listed.getContainers().size() == 1);
      REQUIRE(listed.getContainers()[0].getPid() == pid);
      REQUIRE(listed.getContainers()[0].getState() == State::RUNNING);
      REQUIRE(startTicks(pid) == ticks);
    }
  }
  auto stop = subject.runtime().stopRequest();
  stop.setId("c1");
  stop.setGraceMs(60'000);
  CHECK(stop.send().wait(subject.waitScope()).getExit().getCode() == 6);
  subject.remove("c1");
}

TEST_CASE("runtime: a container of which too little is known is left alone until it is removed",
          "[runtime][root][cgroup]") {
  OciSubject subject("unknown");
  subject.request("c1", "sleep 1000").send().wait(subject.waitScope());
  subject.start("c1");
  auto pid = subject.pidOf("c1");
  auto ticks = startTicks(pid);
  subject.crash();
  auto record = subject.diskFile("c1", "record");
  auto copy = kj::str(subject.folder(), "/run/runtime.", PLUGIN_UNDER_TEST.name, "/c1/record");
  for (auto path : {kj::StringPtr(record.c_str()), kj::StringPtr(copy)}) {
    std::ofstream(path.cStr()) << "nonsense";
  }
  subject.restart();
  CHECK(startTicks(pid) == ticks);
  while (subject.logged("error runtime.damaged") < 1) wait5Ms(subject);
  auto listed = subject.runtime().listRequest().send().wait(subject.waitScope());
  REQUIRE(listed.getContainers().size() == 1);
  CHECK(listed.getContainers()[0].getState() == State::RUNNING);
  auto refused = [&](kj::Promise<void> call) {
    CHECK_THAT(conformance::errorText(kj::mv(call), subject.waitScope()),
               Catch::Contains("'" + record + "' is damaged"));
  };
  refused(subject.request("c1", "sleep 1000").send().ignoreResult());
  auto start = subject.runtime().startRequest();
  start.setId("c1");
  refused(start.send().ignoreResult());
  auto stop = subject.runtime().stopRequest();
  stop.setId("c1");
  refused(stop.send().ignoreResult());
  CHECK(startTicks(pid) == ticks);
  auto process = KJ_ASSERT_NONNULL(openProcess({static_cast<int>(pid), ticks}));
  subject.remove("c1");
  CHECK(hasEnded(process));
}

TEST_CASE("runtime: a full disk is said once when logs are lost, and once when it is over",
          "[runtime][root][cgroup]") {
  OciSubject subject("log-full", 2 << 20);
  subject.request("c1", "while true; do echo line; sleep 0.02; done")
      .send()
      .wait(subject.waitScope());
  subject.start("c1");
  while (subject.output("c1").empty()) wait5Ms(subject);
  CHECK(subject.logged("warn runtime.log-full") == 0);
  subject.setDiskFull(true);
  while (subject.logged("warn runtime.log-full") < 1) wait5Ms(subject);
  subject.setDiskFull(false);
  while (subject.logged("warn runtime.log-full") < 2) wait5Ms(subject);
  subject.remove("c1");
}

TEST_CASE("runtime: one log that cannot be rotated does not keep another from it",
          "[runtime][root][cgroup]") {
  OciSubject subject("log-error");
  for (auto id : {"c1", "c2"}) {
    auto request = subject.request(id, "while true; do seq 1 100; sleep 0.02; done");
    request.getRequest().getLog().setMaxBytes(4096);
    request.send().wait(subject.waitScope());
    subject.start(id);
  }
  // No name can be given to what is moved past the highest number.
  std::filesystem::create_directories(subject.diskFile("c1", "log.18446744073709551615"));
  auto rotated = [&](kj::StringPtr id) {
    return access(subject.diskFile(id, "log.3").c_str(), F_OK) == 0;
  };
  while (!rotated("c2")) wait5Ms(subject);
  subject.remove("c1");
  subject.remove("c2");
}

TEST_CASE("runtime: a fast writer's log stays near its limit", "[runtime][root][cgroup]") {
  OciSubject subject("log-fast");
  auto request = subject.request("c1", "yes 'a line of some length that is written for ever'");
  request.getRequest().getLog().setMaxBytes(1 << 20);
  request.getRequest().getLog().setMaxFiles(1);
  request.send().wait(subject.waitScope());
  subject.start("c1");
  auto newest = [&] {
    uint64_t number = 0;
    for (auto& name : entriesOf(subject.diskFile("c1", ""))) {
      if (name.rfind("log.", 0) == 0) number = std::max<uint64_t>(number, atoi(name.c_str() + 4));
    }
    return number;
  };
  while (newest() < 20) wait5Ms(subject);
  unsigned files = 0;
  for (auto& name : entriesOf(subject.diskFile("c1", ""))) files += name.rfind("log.", 0) == 0;
  CHECK(files <= 2);  // the second one is being removed
  subject.remove("c1");
}

TEST_CASE("runtime: a runtime that hangs is given up", "[runtime][root][cgroup]") {
  OciSubject subject("hangs");
  subject.crash();
  subject.setProgram("case \" $* \" in *' start '*) exec sleep 1000;; esac");
  subject.holdTime();
  subject.restart();
  subject.request("c1", "true").send().wait(subject.waitScope());
  auto start = subject.runtime().startRequest();
  start.setId("c1");
  auto started = attempt(start.send().ignoreResult()).promise();
  testing::until(subject.env(), subject.waitScope(), "the end of its time", [&] {
    subject.time().advance(1 * kj::MILLISECONDS);
    return started.poll(subject.waitScope());
  });
  auto outcome = started.wait(subject.waitScope());
  REQUIRE_FALSE(outcome.ok());
  CHECK_THAT(outcome.message().cStr(),
             Catch::Contains("start has not ended within 500 ms and was given up"));
  subject.remove("c1");
}

TEST_CASE("runtime: what could not be cleared away is removed later", "[runtime][root][cgroup]") {
  OciSubject subject("leftover");
  subject.crash();
  // A mount in the way of the clearing.
  auto folder = subject.diskFile("c1", "volumes");
  auto script = kj::str("case \" $* \" in *' create '*) mkdir ", folder.c_str(),
                        "; mount -t tmpfs none ", folder.c_str(), "; exit 1;; esac");
  subject.setProgram(script);
  subject.restart();
  auto create = [&] { return subject.request("c1", "true").send().ignoreResult(); };
  CHECK_THAT(conformance::errorText(create(), subject.waitScope()),
             Catch::Contains("cannot create the container"));
  while (subject.logged("error runtime.leftover") < 1) wait5Ms(subject);
  auto remove = [&] {
    auto call = subject.runtime().removeRequest();
    call.setId("c1");
    return conformance::errorText(call.send().ignoreResult(), subject.waitScope());
  };
  CHECK_THAT(remove(), Catch::StartsWith("cannot remove container 'c1': cannot remove '" + folder));
  KJ_SYSCALL(umount(folder.c_str()));
  CHECK(remove() == "no error");
  CHECK_FALSE(std::filesystem::exists(subject.diskFile("c1", "")));
}

TEST_CASE("runtime: who only reads a container's files is not ended with it",
          "[runtime][root][cgroup]") {
  OciSubject subject("reader");
  subject.request("c1", "sleep 1000").send().wait(subject.waitScope());
  subject.start("c1");
  subject.crash();
  auto bundle = kj::str(subject.folder(), "/run/runtime.", PLUGIN_UNDER_TEST.name, "/c1");
  auto file = kj::str(bundle, "/config.json");
  int fds[2];
  KJ_SYSCALL(pipe2(fds, O_CLOEXEC));  // closed by the exec, which the other end sees
  kj::AutoCloseFd execSeen(fds[0]), execEnd(fds[1]);
  int reader = fork();
  if (reader == 0) {
    execl("/bin/busybox", "busybox", "tail", "-f", file.cStr(), nullptr);
    _exit(127);
  }
  execEnd = nullptr;
  KJ_DEFER({
    kill(reader, SIGKILL);
    waitpid(reader, nullptr, 0);
  });
  char nothing;
  KJ_SYSCALL(read(execSeen, &nothing, 1));
  REQUIRE(hasArgument(reader, file.cStr()));
  // As after a crash in the middle of a creation: all of it is taken away.
  std::filesystem::remove(subject.diskFile("c1", "state"));
  int pid = atoi(KJ_ASSERT_NONNULL(readIfThere(kj::str(bundle, "/pid").cStr())).cStr());
  auto process = KJ_ASSERT_NONNULL(openProcess({pid, startTicks(pid)}));
  subject.restart();
  CHECK(hasEnded(process));
  CHECK(subject.runtime().listRequest().send().wait(subject.waitScope()).getContainers().size() ==
        0);
  CHECK(kill(reader, 0) == 0);
  CHECK(waitpid(reader, nullptr, WNOHANG) == 0);
}

}  // namespace
}  // namespace orch::runtime
