#include "orch/testing/test-server.h"

#include <fcntl.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <signal.h>

#include <deque>
#include <exception>
#include <fstream>
#include <iostream>

#include "orch/testing/stopped-process.h"

namespace orch::testing {

namespace {
constexpr size_t SHOWN_LINES = 30;
}  // namespace

TestServer::TestServer(Env& env, kj::WaitScope& scope, kj::StringPtr log)
    : env(env), scope(scope), log(log) {}

TestServer::~TestServer() noexcept(false) {
  if (std::uncaught_exceptions() > 0) printLog();
  kill();
}

void TestServer::start(ProcessSpec spec) {
  KJ_REQUIRE(process.get() == nullptr, "it runs");
  int fd;
  KJ_SYSCALL(fd = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600), log.c_str());
  kj::AutoCloseFd file(fd);
  spec.fds.add(ProcessSpec::Fd{1, file});
  spec.fds.add(ProcessSpec::Fd{2, file});
  spec.dieWithParent = true;
  process = env.processes().spawn(kj::mv(spec)).wait(scope);
  exit = process->onExit().eagerlyEvaluate(nullptr);
}

void TestServer::kill() {
  if (process.get() == nullptr) return;
  process->signal(SIGKILL);
  exit.wait(scope);
  process = nullptr;
}

void TestServer::signal(int number) {
  if (number == SIGSTOP) {
    stopProcess(static_cast<pid_t>(process->pid()));
  } else {
    process->signal(number);
  }
}

void TestServer::printLog() const {
  std::ifstream file(log);
  std::deque<std::string> last;
  for (std::string line; std::getline(file, line);) {
    last.push_back(line);
    if (last.size() > SHOWN_LINES) last.pop_front();
  }
  std::cerr << "---- the end of " << log << " ----\n";
  for (auto& line : last) std::cerr << line << '\n';
}

}  // namespace orch::testing
