// What orchd itself leaves in its log when a plugin in the kernel takes it down or holds it up.
#include <capnp/rpc-twoparty.h>
#include <catch2/catch.hpp>
#include <fcntl.h>
#include <kj/debug.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "test-node.h"

namespace orch {
namespace {

// A real orchd whose one plugin is a copy in a folder of its own.
class Orchd {
 public:
  explicit Orchd(kj::StringPtr name, const char* loopLimit = "4s")
      : folder(name),
        io(kj::setupAsyncIo()),
        env(newSystemEnv(io)),
        plugin(folder.sub("own.so").cStr()) {
    std::ofstream(plugin, std::ios::binary) << pluginContent();
    std::string manifest = folder.sub("node.toml").cStr();
    std::ofstream(manifest) << "[node]\nname = 'test'\ndata = '" << folder.sub("data").cStr()
                            << "'\nrun = '" << folder.sub("run").cStr() << "'\nloopLimit = '"
                            << loopLimit << "'\n"
                            << misbehaving("kernel", ("file = '" + plugin + "'\n").c_str());
    ProcessSpec spec;
    for (auto* arg :
         {"sh", "-c", "exec " PROGRAMS "/orchd --config \"$0\" 2>\"$1\"", manifest.c_str()})
      spec.argv.add(kj::str(arg));
    spec.argv.add(folder.sub("log"));
    spec.env.add(kj::str("PATH=/usr/bin:/bin"));
    spec.env.add(kj::str("LD_LIBRARY_PATH=" PROGRAMS "/../lib"));
    spec.dieWithParent = true;
    process = env->processes().spawn(kj::mv(spec)).wait(io.waitScope);
    auto socket = kj::str("unix:", folder.sub("run/orchd.sock"));
    auto address = io.provider->getNetwork().parseAddress(socket).wait(io.waitScope);
    testing::until(*env, io.waitScope, "a connection to orchd", [&]() {
      auto connected = attempt(address->connect()).wait(io.waitScope);
      if (connected.ok()) stream = kj::mv(connected.value());
      return connected.ok() || !process->signal(0);
    });
    REQUIRE(stream.get() != nullptr);
    connection = kj::heap<capnp::TwoPartyClient>(*stream);
  }
  Outcome<void> call(kj::StringPtr wish) { return attempt(begin(wish)).wait(io.waitScope); }
  kj::Promise<void> begin(kj::StringPtr wish) {
    auto find = connection->bootstrap().castAs<schema::Gateway>().serviceRequest();
    find.setName("test.misbehaves");
    auto request = find.send().getCapability().castAs<schema::Scheduler>().openRequest();
    request.initNodes(1)[0].setId(wish);
    return request.send().ignoreResult();
  }
  int ended() { return process->onExit().wait(io.waitScope); }
  std::string log() {
    std::ifstream log(folder.sub("log").cStr());
    return std::string((std::istreambuf_iterator<char>(log)), std::istreambuf_iterator<char>());
  }

  testing::TestFolder folder;
  kj::AsyncIoContext io;
  kj::Own<Env> env;
  std::string plugin;  // its file
  kj::Own<Process> process;
  kj::Own<kj::AsyncIoStream> stream;
  kj::Own<capnp::TwoPartyClient> connection;
};

TEST_CASE("crash: the signal, the plugin's file and the stack are in the log", "[plugin][root]") {
  struct Case {
    const char* wish;
    int signal;
    const char* said;
  };
  const Case cases[] = {
      {"segv", SIGSEGV, "kernel.crashed: signal 11 (SIGSEGV) at 0x8 in "},
      {"call nowhere", SIGSEGV, "kernel.crashed: signal 11 (SIGSEGV) at 0x10 in "},
      {"overflow", SIGSEGV, "kernel.crashed: signal 11 (SIGSEGV) at 0x"},
      {"worker segv", SIGSEGV, "kernel.crashed: signal 11 (SIGSEGV) at 0x8 in "},
      {"worker overflow", SIGSEGV, "kernel.crashed: signal 11 (SIGSEGV) at 0x"},
      {"ill", SIGILL, "kernel.crashed: signal 4 (SIGILL) at 0x"},
      {"bus", SIGBUS, "kernel.crashed: signal 7 (SIGBUS) in "},
      {"fpe", SIGFPE, "kernel.crashed: signal 8 (SIGFPE) in "},
      {"abort", SIGABRT, "kernel.crashed: signal 6 (SIGABRT) in "},
      {"terminate", SIGABRT, "kernel.crashed: signal 6 (SIGABRT) in "},
  };
  for (auto& crash : cases) {
    INFO(crash.wish);
    Orchd orchd("crash");
    CHECK_FALSE(orchd.call(crash.wish).ok());
    int status = orchd.ended();
    CHECK(WIFSIGNALED(status));
    CHECK(WTERMSIG(status) == crash.signal);
    auto log = orchd.log();
    INFO(log);
    CHECK(log.find(crash.said) != std::string::npos);
    CHECK(log.find(" in " + orchd.plugin) != std::string::npos);
    CHECK(log.find("\n  " + orchd.plugin + " 0x") != std::string::npos);
    bool told = log.find("an exception that nobody caught: thrown where nobody catches") !=
                std::string::npos;
    CHECK(told == (crash.wish == std::string("terminate")));
  }
}

TEST_CASE("crash: one of the kernel's own says so", "[plugin][root]") {
  Orchd orchd("crash-kernel");
  CHECK(orchd.call("n1").ok());
  REQUIRE(orchd.process->signal(SIGSEGV));
  CHECK(WTERMSIG(orchd.ended()) == SIGSEGV);
  auto log = orchd.log();
  INFO(log);
  CHECK(log.find("kernel.crashed: signal 11 (SIGSEGV) in the kernel; its stack") !=
        std::string::npos);
  CHECK(log.find(":\n  /") != std::string::npos);
}

TEST_CASE("crash: orchd ends though work on a thread does not", "[plugin][root]") {
  Orchd orchd("end-hangs");
  auto hanging = orchd.begin("worker hang");
  CHECK(orchd.call("n1").ok());
  REQUIRE(orchd.process->signal(SIGTERM));
  CHECK(WTERMSIG(orchd.ended()) == SIGALRM);
  auto log = orchd.log();
  INFO(log);
  CHECK(log.find("\nkernel.end-hangs: work on a thread does not end") != std::string::npos);
}

TEST_CASE("watchdog: who holds the loop is told, and orchd goes on", "[plugin][root]") {
  Orchd orchd("loop-slow", "1m");
  auto released = orchd.folder.sub("released");
  KJ_SYSCALL(mkfifo(released.cStr(), 0600));
  auto call = orchd.begin(kj::str("block until ", released));
  testing::until(*orchd.env, orchd.io.waitScope, "the log says who holds the loop", [&]() {
    return orchd.log().find("kernel.loop-slow, waiting for it heldBy=" + orchd.plugin) !=
           std::string::npos;
  });
  // Not waited for: there is a reader, or nobody holds the loop.
  int pipe;
  KJ_SYSCALL(pipe = open(released.cStr(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
  close(pipe);
  CHECK(attempt(kj::mv(call)).wait(orchd.io.waitScope).ok());
  CHECK(orchd.call("n1").ok());
}

TEST_CASE("watchdog: who blocks the loop is named, and orchd ends", "[plugin][root]") {
  Orchd orchd("watchdog");
  CHECK_FALSE(orchd.call("block").ok());
  int status = orchd.ended();
  CHECK(WIFSIGNALED(status));
  CHECK(WTERMSIG(status) == SIGABRT);
  CHECK(orchd.log().find(
            "kernel.loop-blocked: the event loop has stood still for too long; held by " +
            orchd.plugin) != std::string::npos);
}

}  // namespace
}  // namespace orch
