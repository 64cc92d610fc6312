#include "orch/testing/stopped-process.h"

#include <kj/debug.h>
#include <poll.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "orch/testing/sockets.h"

namespace orch::testing {

namespace {
// Stopped, or at its end (man 5 proc).
bool standsStill(const std::filesystem::path& thread) {
  std::ifstream file(thread / "stat");
  std::string text;
  std::getline(file, text);
  auto name = text.rfind(')');  // it may hold anything
  if (name == std::string::npos || name + 2 >= text.size()) return true;
  return std::string("TtZX").find(text[name + 2]) != std::string::npos;
}

bool allStandStill(const std::string& threads) {
  std::error_code ended;
  for (std::filesystem::directory_iterator one(threads, ended), end; !ended && one != end;
       one.increment(ended)) {
    if (!standsStill(one->path())) return false;
  }
  return true;
}
}  // namespace

void stopProcess(pid_t pid) {
  KJ_SYSCALL(kill(pid, SIGSTOP), pid);
  auto threads = "/proc/" + std::to_string(pid) + "/task";
  for (int waitedMs = 0; !allStandStill(threads); ++waitedMs) {
    KJ_REQUIRE(waitedMs < PATIENCE_MS, "the process does not stop", pid);
    poll(nullptr, 0, 1);
  }
}

}  // namespace orch::testing
