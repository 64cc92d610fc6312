#include "process-usage.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <sstream>

#include "file-access.h"
#include "orch/attempt.h"

namespace orch::runtime {

namespace {

std::string procFile(int pid, const char* name) {
  auto path = "/proc/" + std::to_string(pid) + "/" + name;
  std::string text;
  auto read = attemptNow([&] {
    KJ_IF_MAYBE (content, readIfThere(path)) text.assign(content->begin(), content->size());
  });
  return read.ok() ? text : "";
}

bool inOurNetwork(int pid) {
  struct stat own, its;
  bool known = stat("/proc/self/ns/net", &own) == 0 &&
               stat(("/proc/" + std::to_string(pid) + "/ns/net").c_str(), &its) == 0;
  return !known || (own.st_dev == its.st_dev && own.st_ino == its.st_ino);
}

// Control characters would do things to a terminal.
std::string printable(std::string text) {
  for (auto& c : text) {
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) c = ' ';
  }
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

bool describeStat(const std::string& text, ProcessFacts& facts) {
  auto open = text.find('('), close = text.rfind(')');
  if (open == std::string::npos || close == std::string::npos) return false;
  facts.command = "[" + text.substr(open + 1, close - open - 1) + "]";
  std::istringstream fields(text.substr(close + 1));
  std::string state, skipped;
  fields >> state >> facts.parent;
  for (int field = 5; field < 14; ++field) fields >> skipped;
  uint64_t userTicks = 0, systemTicks = 0;
  fields >> userTicks >> systemTicks;
  facts.cpuNs = (userTicks + systemTicks) * (1'000'000'000 / uint64_t(sysconf(_SC_CLK_TCK)));
  return bool(fields);
}

}  // namespace

NetworkUsage sumOfDevices(const std::string& text) {
  NetworkUsage sum;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    auto colon = line.find(':');
    if (colon == std::string::npos) continue;  // the two lines of headings
    auto begin = line.find_first_not_of(' ');
    if (line.substr(begin, colon - begin) == "lo") continue;
    std::istringstream numbers(line.substr(colon + 1));
    uint64_t received = 0, sent = 0, skipped;
    numbers >> received;
    for (int i = 0; i < 7; ++i) numbers >> skipped;
    numbers >> sent;
    sum.receivedBytes = std::max<int64_t>(sum.receivedBytes, 0) + static_cast<int64_t>(received);
    sum.sentBytes = std::max<int64_t>(sum.sentBytes, 0) + static_cast<int64_t>(sent);
  }
  // A namespace with nothing but lo has carried nothing.
  if (sum.receivedBytes < 0 && !text.empty()) sum = {0, 0};
  return sum;
}

NetworkUsage networkUsage(ProcessName process) {
  if (process.pid <= 0 || inOurNetwork(process.pid)) return {};
  auto sum = sumOfDevices(procFile(process.pid, "net/dev"));
  // Read before it ended, it was the same process's.
  return startTicks(process.pid) == process.startTicks ? sum : NetworkUsage{};
}

std::vector<ProcessFacts> factsOf(const std::vector<int>& pids) {
  std::vector<ProcessFacts> all;
  for (int pid : pids) {
    ProcessFacts facts;
    facts.pid = pid;
    if (!describeStat(procFile(pid, "stat"), facts)) continue;
    auto status = procFile(pid, "status");
    if (auto at = status.find("\nUid:"); at != std::string::npos) {
      facts.uid = static_cast<uint32_t>(strtoul(status.c_str() + at + 5, nullptr, 10));
    }
    auto words = procFile(pid, "cmdline");
    words.resize(std::min(words.size(), MAX_COMMAND_BYTES));
    words = printable(std::move(words));
    if (!words.empty()) facts.command = std::move(words);
    facts.command = printable(std::move(facts.command));
    all.push_back(std::move(facts));
  }
  return all;
}

std::string userNamed(const std::string& passwd, uint32_t uid) {
  std::istringstream lines(passwd);
  for (std::string line; std::getline(lines, line);) {
    auto password = line.find(':');
    if (password == std::string::npos || password == 0) continue;
    auto number = line.find(':', password + 1);
    if (number == std::string::npos) continue;
    char* end;
    auto found = strtoul(line.c_str() + number + 1, &end, 10);
    if (end != line.c_str() + number + 1 && found == uid)
      return printable(line.substr(0, password));
  }
  return "";
}

}  // namespace orch::runtime
