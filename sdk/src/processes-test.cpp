#include <catch2/catch.hpp>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "orch/attempt.h"
#include "orch/env.h"

namespace orch {
namespace {

ProcessSpec shell(kj::StringPtr script) {
  ProcessSpec spec;
  spec.argv.add(kj::str("sh"));
  spec.argv.add(kj::str("-c"));
  spec.argv.add(kj::str(script));
  return spec;
}

TEST_CASE("processes: a command's output, errors and status are told apart", "[env]") {
  auto io = kj::setupAsyncIo();
  auto env = newSystemEnv(io);
  auto result = env->command(shell("echo out; echo err >&2; exit 3")).wait(io.waitScope);
  CHECK(result.status == 3);
  CHECK(result.output == "out\n");
  CHECK(result.errors == "err\n");
}

TEST_CASE("processes: a signal is 128 and its number", "[env]") {
  auto io = kj::setupAsyncIo();
  auto env = newSystemEnv(io);
  auto result = env->command(shell("kill -TERM $$")).wait(io.waitScope);
  CHECK(result.status == 128 + SIGTERM);
}

TEST_CASE("processes: the environment is what was given and nothing else", "[env]") {
  auto io = kj::setupAsyncIo();
  auto env = newSystemEnv(io);
  ProcessSpec spec;
  spec.argv.add(kj::str("/usr/bin/env"));
  spec.env.add(kj::str("ONLY=this"));
  auto result = env->command(kj::mv(spec)).wait(io.waitScope);
  CHECK(result.output == "ONLY=this\n");
}

TEST_CASE("processes: a program that does not exist is named", "[env]") {
  auto io = kj::setupAsyncIo();
  auto env = newSystemEnv(io);
  ProcessSpec spec;
  spec.argv.add(kj::str("no-such-program"));
  auto outcome = attempt(env->command(kj::mv(spec))).wait(io.waitScope);
  REQUIRE_FALSE(outcome.ok());
  CHECK(strstr(outcome.message().cStr(),
               "cannot run 'no-such-program': No such file or directory") != nullptr);
}

TEST_CASE("processes: two hundred short ones are all reaped", "[env]") {
  auto io = kj::setupAsyncIo();
  auto env = newSystemEnv(io);
  kj::Vector<kj::Promise<void>> all;
  int good = 0;
  for (int i = 0; i < 200; ++i) {
    all.add(env->processes().spawn(shell("exit 7")).then([&good](kj::Own<Process>&& process) {
      auto exit = process->onExit().then([&good](int status) {
        if (WIFEXITED(status) && WEXITSTATUS(status) == 7) ++good;
      });
      return exit.attach(kj::mv(process));
    }));
  }
  kj::joinPromises(all.releaseAsArray()).wait(io.waitScope);
  CHECK(good == 200);
  CHECK(waitpid(-1, nullptr, WNOHANG) == -1);  // ECHILD: nobody is left
}

TEST_CASE("processes: a child has the limit of open files of before this process raised its own",
          "[env]") {
  struct rlimit before;
  REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
  struct rlimit low = {256, before.rlim_max};
  REQUIRE(setrlimit(RLIMIT_NOFILE, &low) == 0);
  auto io = kj::setupAsyncIo();
  auto env = newSystemEnv(io);
  REQUIRE(setrlimit(RLIMIT_NOFILE, &before) == 0);
  auto result = env->command(shell("ulimit -n")).wait(io.waitScope);
  CHECK(result.output == "256\n");
  struct rlimit after;
  REQUIRE(getrlimit(RLIMIT_NOFILE, &after) == 0);
  CHECK(after.rlim_cur == before.rlim_cur);
}

TEST_CASE("processes: cancelling a command ends it", "[env]") {
  auto io = kj::setupAsyncIo();
  auto env = newSystemEnv(io);
  auto spawned = env->processes().spawn(shell("exec sleep 1000")).wait(io.waitScope);
  auto exit = spawned->onExit();
  CHECK(spawned->signal(SIGKILL));
  int status = exit.wait(io.waitScope);
  CHECK(WIFSIGNALED(status));
  CHECK_FALSE(spawned->signal(SIGTERM));
}

}  // namespace
}  // namespace orch
