#include <arpa/inet.h>

#include <algorithm>
#include <cstdlib>

#include "orch/amounts.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "orch/image-reference.h"
#include "orch/kernel-names.h"
#include "serve/resolve.h"
#include "serve/validate.h"

namespace orch::control::manager {

namespace {
constexpr uint64_t MAX_GRACE_MS = 1000ull * 3600 * 24;
constexpr size_t MAX_CHECK_BYTES = 64 << 10;
constexpr size_t MAX_HOSTNAME = 63;  // the kernel takes 64

// For suggestions.
std::vector<std::string> signals() {
  std::vector<std::string> names;
  for (auto& known : SIGNAL_NAMES) names.emplace_back(known.name);
  return names;
}
std::vector<std::string> capabilities() {
  return {std::begin(CAPABILITY_NAMES), std::end(CAPABILITY_NAMES)};
}
std::vector<std::string> ulimits() { return {std::begin(ULIMIT_NAMES), std::end(ULIMIT_NAMES)}; }

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

bool allDigits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

// `RTMIN`, `RTMIN+3`, `RTMAX-3`: the kernel has 34 to 64, of which 32 and 33 are glibc's own.
bool isRealTime(std::string_view name) {
  constexpr int MOST_OFFSET = 30;
  bool least = name.starts_with("RTMIN");
  if (!least && !name.starts_with("RTMAX")) return false;
  name.remove_prefix(5);
  if (name.empty()) return true;
  bool right = name[0] == (least ? '+' : '-');
  name.remove_prefix(1);
  return right && name.size() <= 2 && allDigits(name) &&
         std::stoi(std::string(name)) <= MOST_OFFSET;
}

void checkSignal(kj::StringPtr signal) {
  if (signal.size() == 0) return;
  if (allDigits(view(signal)) && signal.size() <= 2) {
    int number = std::stoi(signal.cStr());
    if (number >= 1 && number <= 64) return;
  }
  auto name = upper(view(signal), "SIG");
  if (among(signals(), name) || isRealTime(name)) return;
  fail(kj::str("usage: no signal '", signal,
               "' for --stop-signal; use a name as SIGTERM or SIGRTMIN+3, or a number of 1 to 64",
               suggestion(name, signals()).c_str()));
}

void checkCapability(kj::StringPtr flag, kj::StringPtr capability) {
  auto name = upper(view(capability), "CAP_");
  if (name == "ALL" || among(capabilities(), name)) return;
  fail(kj::str("usage: no capability '", capability, "' for ", flag,
               "; use a name as NET_ADMIN, or ALL", suggestion(name, capabilities()).c_str()));
}

// What belongs to a namespace, as moby has it (opts/opts.go, ValidateSysctl); others would change
// the node.
void checkSysctl(kj::StringPtr key, bool hostNetwork) {
  bool allowed = key == "kernel.sem";
  for (kj::StringPtr prefix : {"net."_kj, "kernel.msg"_kj, "kernel.shm"_kj, "fs.mqueue."_kj}) {
    allowed |= key.startsWith(prefix) && key.size() > prefix.size();
  }
  refuseIf(!allowed, "--sysctl '", key,
           "' belongs to the node; a container has net.*, kernel.msg*, kernel.sem, "
           "kernel.shm* and fs.mqueue.* of its own");
  refuseIf(hostNetwork && key.startsWith("net."), "--sysctl '", key,
           "' cannot be combined with --network host: it would change the node");
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
  refuseIf(!valid, "the hostname '", name, "' must be at most ", MAX_HOSTNAME,
           " letters, digits, '-', '_' and '.'");
}

void checkLists(schema::ContainerSpec::Reader container, bool hostNetwork) {
  for (auto entry : container.getEnv()) {
    bool valid = entry.size() > 0 && entry[0] != '=' && entry.findFirst('=') != nullptr;
    refuseIf(!valid, "the environment variable '", entry, "' must be NAME=VALUE");
  }
  for (auto name : container.getCapAdd()) checkCapability("--cap-add", name);
  for (auto name : container.getCapDrop()) checkCapability("--cap-drop", name);
  for (auto limit : container.getUlimits()) {
    if (!among(ulimits(), text(limit.getName()))) {
      fail(kj::str("usage: no --ulimit '", limit.getName(), "'; use a name as nofile",
                   suggestion(view(limit.getName()), ulimits()).c_str()));
    }
    bool valid =
        limit.getSoft() >= -1 && limit.getHard() >= -1 &&
        (limit.getHard() == -1 || (limit.getSoft() != -1 && limit.getSoft() <= limit.getHard()));
    refuseIf(!valid, "--ulimit ", limit.getName(), "=", limit.getSoft(), ":", limit.getHard(),
             " must have a soft limit that is at most the hard one; -1 is unlimited");
  }
  for (auto entry : container.getSysctls()) checkSysctl(entry.getKey(), hostNetwork);
  for (auto entry : container.getHosts()) {
    KJ_IF_MAYBE (colon, entry.findFirst(':')) {
      auto name = kj::heapString(entry.slice(0, *colon));
      if (name.size() > 0 && isAddress(entry.slice(*colon + 1))) continue;
    }
    fail(kj::str("usage: the host '", entry, "' must be NAME:ADDRESS"));
  }
  for (auto server : container.getDns()) {
    refuseIf(!isAddress(server), "the DNS server '", server, "' must be an IP address");
  }
}

void checkHealth(schema::HealthCheck::Reader health) {
  auto test = health.getTest();
  if (test.size() > 0) {
    auto kind = test[0];
    bool none = kind == "NONE" && test.size() == 1;
    bool program = kind == "CMD" && test.size() > 1 && test[1].size() > 0;
    bool shell = kind == "CMD-SHELL" && test.size() == 2 && test[1].size() > 0;
    refuseIf(
        !none && !program && !shell,
        "the test of a health check must be CMD and its words, CMD-SHELL and one text, or NONE");
    size_t bytes = 0;
    for (auto word : test) bytes += word.size() + 1;
    refuseIf(bytes > MAX_CHECK_BYTES, "--health-cmd must be at most ", MAX_CHECK_BYTES,
             " bytes, not ", bytes);
  }
  struct Named {
    kj::StringPtr flag;
    uint64_t ms;
  };
  for (auto& one : {Named{"--health-interval", health.getIntervalMs()},
                    Named{"--health-timeout", health.getTimeoutMs()},
                    Named{"--health-start-period", health.getStartPeriodMs()},
                    Named{"--health-start-interval", health.getStartIntervalMs()}}) {
    refuseIf(one.ms > MAX_GRACE_MS, one.flag, " must be at most ", durationText(MAX_GRACE_MS),
             ", not ", durationText(one.ms));
  }
}

}  // namespace

void validateContainer(schema::TaskSpec::Reader task) {
  auto container = task.getContainer();
  auto image = container.getImage();
  refuseIf(image.size() == 0, "an image is needed");
  auto parsed = attemptNow([&] { parseImageReference(image); });
  if (!parsed.ok()) fail(kj::str("usage: ", plainText(parsed.error())));
  checkHostname(container.getHostname());
  checkSignal(container.getStopSignal());
  if (container.getWorkdir().size() > 0) checkAbsolute("--workdir", container.getWorkdir());
  refuseIf(container.getStopGraceMs() > MAX_GRACE_MS, "--stop-grace-period must be at most ",
           durationText(MAX_GRACE_MS), ", not ", durationText(container.getStopGraceMs()));
  refuseIf(container.getDrainMs() > MAX_GRACE_MS, "--drain-timeout must be at most ",
           durationText(MAX_GRACE_MS), ", not ", durationText(container.getDrainMs()));
  refuseIf(container.getOomScoreAdj() < -1000 || container.getOomScoreAdj() > 1000,
           "--oom-score-adj must be -1000 to 1000, not ", container.getOomScoreAdj());
  checkHealth(container.getHealth());
  bool hostNetwork = false;
  for (auto network : task.getNetworks()) hostNetwork |= network.getName() == "host";
  checkLists(container, hostNetwork);
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
    refuseIf(normal == "/", "a mount cannot have the target '/'");
    refuseIf(!targets.insert(normal).second, "two mounts have the target '", normal.c_str(), "'");
    auto propagation = text(mount.getPropagation());
    refuseIf(!propagation.empty() && mount.getType() != schema::Mount::Type::BIND, "the mount of '",
             target, "' has a propagation, which only bind mounts have");
    if (!propagation.empty() && !among(PROPAGATIONS, propagation)) {
      fail(kj::str("usage: no bind-propagation '", propagation.c_str(),
                   "'; there is rprivate, private, rshared, shared, rslave and slave",
                   suggestion(propagation, PROPAGATIONS).c_str()));
    }
    switch (mount.getType()) {
      case schema::Mount::Type::BIND:
        checkAbsolute("the source of a bind mount", mount.getSource());
        break;
      case schema::Mount::Type::VOLUME:
        refuseIf(mount.getSource().findFirst('/') != nullptr, "the volume name '",
                 mount.getSource(), "' is a path, which needs type=bind");
        if (mount.getSource().size() > 0) checkName("volume", mount.getSource());
        break;
      case schema::Mount::Type::TMPFS:
        refuseIf(mount.getSource().size() > 0, "the tmpfs mount of '", target,
                 "' cannot have a source ('", mount.getSource(), "')");
        refuseIf(mount.getTmpfsMode() > 07777, "the mode of the tmpfs mount of '", target,
                 "' must be at most 7777 (octal)");
        break;
    }
  }
}

}  // namespace orch::control::manager
