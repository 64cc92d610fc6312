#include <arpa/inet.h>

#include <algorithm>
#include <cstdlib>

#include "orch/fail.h"
#include "reference.h"
#include "resolve.h"
#include "validate.h"

namespace orch::control::manager {

namespace {
constexpr uint64_t MAX_GRACE_MS = 1000ull * 3600 * 24;
constexpr size_t MAX_HOSTNAME = 253;

// signal(7), of Linux; RTMIN and RTMAX with offsets are not among them.
const std::vector<std::string>& signals() {
  static const std::vector<std::string> NAMES = {
      "HUP",  "INT",  "QUIT", "ILL",    "TRAP",   "ABRT",  "BUS",  "FPE",  "KILL", "USR1", "SEGV",
      "USR2", "PIPE", "ALRM", "TERM",   "STKFLT", "CHLD",  "CONT", "STOP", "TSTP", "TTIN", "TTOU",
      "URG",  "XCPU", "XFSZ", "VTALRM", "PROF",   "WINCH", "IO",   "PWR",  "SYS"};
  return NAMES;
}

// capabilities(7), of Linux 6.
const std::vector<std::string>& capabilities() {
  static const std::vector<std::string> NAMES = {"CHOWN",
                                                 "DAC_OVERRIDE",
                                                 "DAC_READ_SEARCH",
                                                 "FOWNER",
                                                 "FSETID",
                                                 "KILL",
                                                 "SETGID",
                                                 "SETUID",
                                                 "SETPCAP",
                                                 "LINUX_IMMUTABLE",
                                                 "NET_BIND_SERVICE",
                                                 "NET_BROADCAST",
                                                 "NET_ADMIN",
                                                 "NET_RAW",
                                                 "IPC_LOCK",
                                                 "IPC_OWNER",
                                                 "SYS_MODULE",
                                                 "SYS_RAWIO",
                                                 "SYS_CHROOT",
                                                 "SYS_PTRACE",
                                                 "SYS_PACCT",
                                                 "SYS_ADMIN",
                                                 "SYS_BOOT",
                                                 "SYS_NICE",
                                                 "SYS_RESOURCE",
                                                 "SYS_TIME",
                                                 "SYS_TTY_CONFIG",
                                                 "MKNOD",
                                                 "LEASE",
                                                 "AUDIT_WRITE",
                                                 "AUDIT_CONTROL",
                                                 "SETFCAP",
                                                 "MAC_OVERRIDE",
                                                 "MAC_ADMIN",
                                                 "SYSLOG",
                                                 "WAKE_ALARM",
                                                 "BLOCK_SUSPEND",
                                                 "AUDIT_READ",
                                                 "PERFMON",
                                                 "BPF",
                                                 "CHECKPOINT_RESTORE"};
  return NAMES;
}

// getrlimit(2).
const std::vector<std::string>& ulimits() {
  static const std::vector<std::string> NAMES = {
      "core",   "cpu",   "data", "fsize",  "locks",  "memlock",    "msgqueue", "nice",
      "nofile", "nproc", "rss",  "rtprio", "rttime", "sigpending", "stack",    "as"};
  return NAMES;
}

bool among(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string upper(std::string_view name, std::string_view prefix) {
  std::string result(name);
  std::transform(result.begin(), result.end(), result.begin(), [](char c) {
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  });
  return result.starts_with(prefix) ? result.substr(prefix.size()) : result;
}

void checkSignal(kj::StringPtr signal) {
  if (signal.size() == 0) return;
  char* end = nullptr;
  long number = strtol(signal.cStr(), &end, 10);
  if (*end == '\0' && number >= 1 && number <= 64) return;
  auto name = upper(view(signal), "SIG");
  if (among(signals(), name)) return;
  fail(kj::str("usage: no signal '", signal, "'", suggestion(name, signals()).c_str(),
               "; a name as SIGTERM or a number of 1 to 64"));
}

void checkCapability(kj::StringPtr capability) {
  auto name = upper(view(capability), "CAP_");
  if (name == "ALL" || among(capabilities(), name)) return;
  fail(kj::str("usage: no capability '", capability, "'", suggestion(name, capabilities()).c_str(),
               "; a name as NET_ADMIN, or ALL"));
}

void checkAbsolute(kj::StringPtr what, kj::StringPtr path) {
  if (path.startsWith("/")) return;
  fail(kj::str("usage: ", what, " must be an absolute path, not '", path, "'"));
}

bool isAddress(kj::StringPtr text) {
  unsigned char buffer[16];
  return inet_pton(AF_INET, text.cStr(), buffer) == 1 ||
         inet_pton(AF_INET6, text.cStr(), buffer) == 1;
}

void checkHostname(kj::StringPtr name) {
  if (name.size() == 0) return;
  bool valid = name.size() <= MAX_HOSTNAME && name[0] != '-' && name[0] != '.' &&
               std::all_of(name.begin(), name.end(), [](char c) {
                 return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                        (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
               });
  if (!valid)
    fail(kj::str("usage: the hostname '", name, "' must be letters, digits, '-' and '.'"));
}

void checkLists(schema::ContainerSpec::Reader container) {
  for (auto entry : container.getEnv()) {
    bool valid = entry.size() > 0 && entry[0] != '=' && entry.findFirst('=') != nullptr;
    if (!valid) fail(kj::str("usage: the environment variable '", entry, "' must be NAME=VALUE"));
  }
  for (auto name : container.getCapAdd()) checkCapability(name);
  for (auto name : container.getCapDrop()) checkCapability(name);
  for (auto limit : container.getUlimits()) {
    if (!among(ulimits(), text(limit.getName()))) {
      fail(kj::str("usage: no ulimit '", limit.getName(), "'",
                   suggestion(view(limit.getName()), ulimits()).c_str(), "; a name as nofile"));
    }
    bool valid =
        limit.getSoft() >= -1 && limit.getHard() >= -1 &&
        (limit.getHard() == -1 || (limit.getSoft() != -1 && limit.getSoft() <= limit.getHard()));
    if (!valid) {
      fail(kj::str("usage: the ulimit ", limit.getName(), "=", limit.getSoft(), ":",
                   limit.getHard(),
                   " must have a soft limit that is at most the hard one; -1 is unlimited"));
    }
  }
  for (auto entry : container.getSysctls()) {
    if (entry.getKey().findFirst('.') == nullptr) {
      fail(
          kj::str("usage: the sysctl '", entry.getKey(), "' must be a name as net.core.somaxconn"));
    }
  }
  for (auto entry : container.getHosts()) {
    KJ_IF_MAYBE (colon, entry.findFirst(':')) {
      auto name = kj::heapString(entry.slice(0, *colon));
      if (name.size() > 0 && isAddress(entry.slice(*colon + 1))) continue;
    }
    fail(kj::str("usage: the host '", entry, "' must be NAME:ADDRESS"));
  }
  for (auto server : container.getDns()) {
    if (!isAddress(server))
      fail(kj::str("usage: the DNS server '", server, "' must be an IP address"));
  }
}
}  // namespace

void validateContainer(schema::ContainerSpec::Reader container) {
  auto image = container.getImage();
  if (image.size() == 0) fail(kj::str("usage: an image is needed"));
  auto problem = referenceProblem(view(image));
  if (!problem.empty()) {
    fail(kj::str("usage: '", image, "' is no image reference: ", problem.c_str()));
  }
  checkHostname(container.getHostname());
  checkSignal(container.getStopSignal());
  if (container.getWorkdir().size() > 0)
    checkAbsolute("the working directory", container.getWorkdir());
  if (container.getStopGraceMs() > MAX_GRACE_MS) {
    fail(kj::str("usage: the stop grace period must be at most 24 hours, not ",
                 container.getStopGraceMs(), " ms"));
  }
  if (container.getOomScoreAdj() < -1000 || container.getOomScoreAdj() > 1000) {
    fail(kj::str("usage: the OOM score adjustment must be -1000 to 1000, not ",
                 container.getOomScoreAdj()));
  }
  checkLists(container);
}

void validateMounts(schema::ContainerSpec::Reader container) {
  static const std::vector<std::string> PROPAGATIONS = {"rprivate", "private", "rshared",
                                                        "shared",   "rslave",  "slave"};
  std::set<std::string> targets;
  for (auto mount : container.getMounts()) {
    auto target = mount.getTarget();
    checkAbsolute("the target of a mount", target);
    auto normal = text(target);
    while (normal.size() > 1 && normal.back() == '/') normal.pop_back();
    if (normal == "/") fail(kj::str("usage: a mount cannot have the target '/'"));
    if (!targets.insert(normal).second) {
      fail(kj::str("usage: two mounts have the target '", normal.c_str(), "'"));
    }
    auto propagation = text(mount.getPropagation());
    if (!propagation.empty() && mount.getType() != schema::Mount::Type::BIND) {
      fail(kj::str("usage: the mount of '", target,
                   "' has a propagation, which only bind mounts have"));
    }
    if (!propagation.empty() && !among(PROPAGATIONS, propagation)) {
      fail(kj::str("usage: no bind propagation '", propagation.c_str(), "'",
                   suggestion(propagation, PROPAGATIONS).c_str(),
                   "; rprivate, private, rshared, shared, rslave or slave"));
    }
    switch (mount.getType()) {
      case schema::Mount::Type::BIND:
        checkAbsolute("the source of a bind mount", mount.getSource());
        break;
      case schema::Mount::Type::VOLUME:
        if (mount.getSource().size() > 0) checkName("volume", mount.getSource());
        break;
      case schema::Mount::Type::TMPFS:
        if (mount.getSource().size() > 0) {
          fail(kj::str("usage: the tmpfs mount of '", target, "' cannot have a source ('",
                       mount.getSource(), "')"));
        }
        if (mount.getTmpfsMode() > 07777) {
          fail(kj::str("usage: the mode of the tmpfs mount of '", target,
                       "' must be at most 7777 (octal)"));
        }
        break;
    }
  }
}

}  // namespace orch::control::manager
