#include "process-table.h"

#include <dirent.h>
#include <kj/debug.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "etc-files.h"

namespace orch::runtime {

std::string bootId() {
  auto text = readSmallFile("/proc/sys/kernel/random/boot_id");
  std::string id(text.cStr());
  while (!id.empty() && id.back() == '\n') id.pop_back();
  return id.empty() ? "unknown" : id;
}

uint64_t startTicks(int pid) {
  auto text = readSmallFile(kj::str("/proc/", pid, "/stat"));
  // The name in parentheses may hold anything; the fields count from behind the last one.
  const char* rest = strrchr(text.cStr(), ')');
  if (rest == nullptr) return 0;
  ++rest;
  for (int field = 3; field < 22; ++field) {
    rest = strchr(rest + 1, ' ');
    if (rest == nullptr) return 0;
  }
  return strtoull(rest, nullptr, 10);
}

kj::Maybe<kj::AutoCloseFd> openProcess(int pid, uint64_t ticks) {
  if (pid <= 0) return nullptr;
  int fd = syscall(SYS_pidfd_open, pid, 0);
  if (fd < 0) {
    if (errno == ESRCH || errno == EINVAL) return nullptr;
    KJ_FAIL_SYSCALL("pidfd_open", errno, pid);
  }
  kj::AutoCloseFd owned(fd);
  // Asked after the descriptor is there: it cannot come to mean another process any more.
  if (startTicks(pid) != ticks) return nullptr;
  return kj::mv(owned);
}

bool sendSignal(int pidfd, int number) {
  return syscall(SYS_pidfd_send_signal, pidfd, number, nullptr, 0) == 0;
}

std::vector<int> processesWithArgument(const std::string& argument) {
  std::vector<int> pids;
  DIR* proc = opendir("/proc");
  if (proc == nullptr) return pids;
  KJ_DEFER(closedir(proc));
  while (dirent* entry = readdir(proc)) {
    int pid = atoi(entry->d_name);
    if (pid <= 1 || pid == getpid()) continue;
    auto line = readSmallFile(kj::str("/proc/", pid, "/cmdline"));
    const char* end = line.begin() + line.size();
    for (const char* part = line.begin(); part < end; part += strlen(part) + 1) {
      if (strncmp(part, argument.c_str(), argument.size()) != 0) continue;
      char next = part[argument.size()];
      if (next != '\0' && next != '/') continue;
      pids.push_back(pid);
      break;
    }
  }
  return pids;
}

}  // namespace orch::runtime
