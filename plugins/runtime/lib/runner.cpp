#include "runner.h"

#include <fcntl.h>
#include <kj/debug.h>
#include <nlohmann/json.hpp>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>

#include "orch/fail.h"
#include "process-table.h"
#include "runner/protocol.h"

// From runner-program.c.
extern "C" const char orchRunnerBegin[];
extern "C" const char orchRunnerEnd[];

namespace orch::runtime {

Runner::Runner(kj::Own<kj::AsyncIoStream> socket, kj::AutoCloseFd process)
    : socket(kj::mv(socket)), process(kj::mv(process)) {}

void Runner::kill() { sendSignal(process, SIGKILL); }

bool Runner::hasEnded() const { return runtime::hasEnded(process); }

Task<RunResult> Runner::run(const std::vector<std::string>& command, uint64_t timeoutMs,
                            uint32_t maxOutputBytes) {
  KJ_REQUIRE(idle, "a runner runs one program at a time");
  RunnerRequest request = {};
  request.timeoutMs = static_cast<uint32_t>(std::min<uint64_t>(timeoutMs, UINT32_MAX));
  request.maxOutputBytes = std::min<uint32_t>(maxOutputBytes, RUNNER_MAX_OUTPUT);
  for (auto& word : command) request.commandBytes += word.size() + 1;
  if (command.empty() || request.commandBytes > RUNNER_MAX_COMMAND) {
    fail(kj::str("a command has 1 byte to ", int(RUNNER_MAX_COMMAND), ", with its words' ends"));
  }
  auto message = kj::heapArray<kj::byte>(sizeof(request) + request.commandBytes);
  memcpy(message.begin(), &request, sizeof(request));
  auto end = message.begin() + sizeof(request);
  for (auto& word : command) {
    memcpy(end, word.c_str(), word.size() + 1);
    end += word.size() + 1;
  }
  idle = false;
  co_await socket->write(message.begin(), message.size());
  RunnerAnswer answer = {};
  size_t got = co_await socket->tryRead(&answer, sizeof(answer), sizeof(answer));
  // It is in the hands of whoever is root in the container.
  bool sound = got == sizeof(answer) && answer.outputBytes <= request.maxOutputBytes;
  if (!sound) fail(kj::str("what runs programs in the container has ended, or has been ended"));
  RunResult result;
  result.output = kj::heapArray<kj::byte>(answer.outputBytes);
  co_await socket->read(result.output.begin(), result.output.size());
  idle = true;
  if (answer.error != 0) {
    fail(kj::str("cannot run '", command[0].c_str(), "': ", strerror(answer.error)));
  }
  result.exitCode = answer.exitCode;
  result.timedOut = answer.timedOut != 0;
  co_return kj::mv(result);
}

kj::AutoCloseFd runnerProgram() {
  int fd;
  KJ_SYSCALL(fd = memfd_create("orch-runner", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  kj::AutoCloseFd owned(fd);
  for (auto at = orchRunnerBegin; at < orchRunnerEnd;) {
    ssize_t n;
    KJ_SYSCALL(n = write(fd, at, orchRunnerEnd - at));
    at += n;
  }
  KJ_SYSCALL(fchmod(fd, 0755));
  KJ_SYSCALL(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE));
  return owned;
}

std::string runnerProcess(const std::string& config) {
  auto process = nlohmann::json::parse(config).at("process");
  process["terminal"] = false;
  process["args"] = {"/proc/self/fd/" + std::to_string(RUNNER_PROGRAM_FD)};
  for (auto& limit : process.value("rlimits", nlohmann::json::array())) {
    if (limit.at("type") != "RLIMIT_NOFILE") continue;
    process["args"].push_back(std::to_string(limit.at("soft").get<uint64_t>()));
  }
  return process.dump();
}

}  // namespace orch::runtime
