#include "process-table.h"

#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "etc-files.h"
#include "file-access.h"

namespace orch::runtime {

std::string bootId() {
  auto text = readSmallFile("/proc/sys/kernel/random/boot_id");
  std::string id(text.cStr());
  while (!id.empty() && id.back() == '\n') id.pop_back();
  return id.empty() ? "unknown" : id;
}

namespace {

// Field `number`, from 3 on, of /proc/<pid>/stat; 0 if there is no such process.
uint64_t statField(int pid, int number) {
  KJ_IF_MAYBE (text, readIfThere("/proc/" + std::to_string(pid) + "/stat")) {
    // The name in parentheses may hold anything; the fields count from behind the last one.
    const char* rest = strrchr(text->cStr(), ')');
    if (rest == nullptr) return 0;
    ++rest;
    for (int field = 3; field < number; ++field) {
      rest = strchr(rest + 1, ' ');
      if (rest == nullptr) return 0;
    }
    return strtoull(rest, nullptr, 10);
  }
  return 0;
}

std::vector<std::string> commandLineOf(int pid) {
  std::vector<std::string> arguments;
  KJ_IF_MAYBE (line, readIfThere("/proc/" + std::to_string(pid) + "/cmdline")) {
    const char* end = line->begin() + line->size();
    for (const char* part = line->begin(); part < end; part += strlen(part) + 1) {
      arguments.emplace_back(part);
    }
  }
  return arguments;
}

std::string baseName(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

uint64_t startTicks(int pid) { return statField(pid, 22); }

bool isEnding(ProcessName process) {
  constexpr uint64_t EXITING = 0x4;  // PF_EXITING, include/linux/sched.h
  if (startTicks(process.pid) != process.startTicks) return true;
  return (statField(process.pid, 9) & EXITING) != 0;
}

int parentOf(int pid) { return static_cast<int>(statField(pid, 4)); }

kj::Maybe<kj::AutoCloseFd> openProcess(ProcessName process) {
  if (process.pid <= 0) return nullptr;
  int fd = syscall(SYS_pidfd_open, process.pid, 0);
  if (fd < 0) {
    if (errno == ESRCH || errno == EINVAL) return nullptr;
    failFile("open the process", std::to_string(process.pid), errno);
  }
  kj::AutoCloseFd owned(fd);
  // Asked after the descriptor is there: it cannot come to mean another process any more.
  if (startTicks(process.pid) != process.startTicks) return nullptr;
  return kj::mv(owned);
}

bool hasEnded(int pidfd) {
  pollfd gone{pidfd, POLLIN, 0};
  return poll(&gone, 1, 0) == 1;
}

bool sendSignal(int pidfd, int number) {
  return syscall(SYS_pidfd_send_signal, pidfd, number, nullptr, 0) == 0;
}

bool hasArgument(int pid, const std::string& argument) {
  for (auto& part : commandLineOf(pid)) {
    if (part.compare(0, argument.size(), argument) != 0) continue;
    if (part.size() == argument.size() || part[argument.size()] == '/') return true;
  }
  return false;
}

std::vector<int> processesWithArgument(const std::string& argument) {
  std::vector<int> pids;
  for (auto& name : entriesOf("/proc")) {
    int pid = atoi(name.c_str());
    if (pid > 1 && pid != getpid() && hasArgument(pid, argument)) pids.push_back(pid);
  }
  return pids;
}

bool hasOpen(int pid, const std::string& path) {
  struct stat wanted;
  if (stat(path.c_str(), &wanted) != 0) return false;
  auto folder = "/proc/" + std::to_string(pid) + "/fd";
  for (auto& name : entriesOf(folder)) {
    struct stat open;
    bool same = stat((folder + "/" + name).c_str(), &open) == 0 && open.st_dev == wanted.st_dev &&
                open.st_ino == wanted.st_ino;
    if (same) return true;
  }
  return false;
}

bool runsOneOf(int pid, const std::vector<std::string>& programs) {
  char path[4096];
  ssize_t n = readlink(("/proc/" + std::to_string(pid) + "/exe").c_str(), path, sizeof(path));
  std::string executable(path, n < 0 ? 0 : n);
  constexpr const char* REPLACED = " (deleted)";
  if (size_t at = executable.rfind(REPLACED); at != std::string::npos) executable.resize(at);
  auto arguments = commandLineOf(pid);
  for (auto& program : programs) {
    auto name = baseName(program);
    if (baseName(executable) == name) return true;
    if (!arguments.empty() && baseName(arguments[0]) == name) return true;
    // A script: its interpreter comes first.
    if (arguments.size() > 1 && arguments[1] == program) return true;
  }
  return false;
}

}  // namespace orch::runtime
