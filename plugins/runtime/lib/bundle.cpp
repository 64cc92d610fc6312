#include "bundle.h"

#include <nlohmann/json.hpp>

#include <algorithm>

#include "seccomp-profile.h"

namespace orch::runtime {

namespace {

using Json = nlohmann::json;

constexpr uint64_t PERIOD_US = 100'000;  // the kernel's and docker's default
constexpr uint64_t LONG_PERIOD_US = 1'000'000;
constexpr int64_t MIN_QUOTA_US = 1000;

Json mount(const char* target, const char* type, const char* source,
           std::initializer_list<const char*> options) {
  return {{"destination", target}, {"type", type}, {"source", source}, {"options", options}};
}

Json standardMounts() {
  return Json::array({
      mount("/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}),
      mount("/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}),
      mount("/dev/pts", "devpts", "devpts",
            {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}),
      mount("/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", "ro"}),
      mount("/sys/fs/cgroup", "cgroup", "cgroup", {"ro", "nosuid", "noexec", "nodev"}),
      mount("/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}),
      mount("/dev/shm", "tmpfs", "shm",
            {"nosuid", "noexec", "nodev", "mode=1777", "size=67108864"}),
  });
}

Json mounts(const BundleInput& input) {
  Json list = Json::array();
  for (auto& standard : standardMounts()) {
    bool replaced = false;
    for (auto& own : input.mounts) replaced = replaced || own.target == standard["destination"];
    if (!replaced) list.push_back(standard);
  }
  for (auto& own : input.mounts) {
    list.push_back({{"destination", own.target},
                    {"type", own.type},
                    {"source", own.source},
                    {"options", own.options}});
  }
  return list;
}

// Never those of orchd. What docker's containers get: systemd's default for open files
// (docker.service has none of its own since 25.0), the rest from moby's
// contrib/init/systemd/docker.service.
Json rlimits(const BundleInput& input) {
  auto& ceiling = input.ceiling;
  std::vector<CheckedRlimit> limits = {
      {"RLIMIT_NOFILE", std::min<uint64_t>(1024, ceiling.openFiles),
       std::min<uint64_t>(524'288, ceiling.openFiles)},
      {"RLIMIT_NPROC", ceiling.processes, ceiling.processes},
      {"RLIMIT_CORE", ceiling.coreBytes, ceiling.coreBytes},
  };
  for (auto& chosen : input.checked.rlimits) {
    auto known = std::find_if(limits.begin(), limits.end(),
                              [&](const CheckedRlimit& l) { return l.type == chosen.type; });
    if (known == limits.end()) known = limits.insert(limits.end(), {});
    *known = chosen;
  }
  Json list = Json::array();
  for (auto& limit : limits) {
    list.push_back({{"type", limit.type}, {"soft", limit.soft}, {"hard", limit.hard}});
  }
  return list;
}

Json process(const BundleInput& input) {
  auto spec = input.request.getSpec();
  auto capabilities = input.checked.capabilities.names();
  Json result = {
      {"terminal", spec.getTty()},
      {"user",
       {{"uid", input.user.uid}, {"gid", input.user.gid}, {"additionalGids", input.user.groups}}},
      {"args", input.checked.arguments},
      {"env", input.checked.environment},
      {"cwd", input.checked.workdir},
      {"oomScoreAdj", spec.getOomScoreAdj()},
      {"noNewPrivileges", false},
  };
  // Somebody other than root gets them by running a program that has them, as in docker.
  Json held = input.user.uid == 0 ? Json(capabilities) : Json::array();
  result["capabilities"] = {{"bounding", capabilities}, {"effective", held}, {"permitted", held}};
  result["rlimits"] = rlimits(input);
  return result;
}

Json devices() {
  struct Allowed {
    int major;
    int minor;
  };
  static constexpr Allowed ALLOWED[] = {{1, 5}, {1, 3}, {1, 9}, {1, 8}, {5, 0}, {5, 1}};
  Json rules = Json::array({{{"allow", false}, {"access", "rwm"}}});
  for (auto& device : ALLOWED) {
    rules.push_back({{"allow", true},
                     {"type", "c"},
                     {"major", device.major},
                     {"minor", device.minor},
                     {"access", "rwm"}});
  }
  rules.push_back(
      {{"allow", false}, {"type", "c"}, {"major", 10}, {"minor", 229}, {"access", "rwm"}});
  return rules;
}

Json resources(const BundleInput& input) {
  auto limits = input.request.getResources();
  Json result = {{"devices", devices()}};
  if (limits.getLimitCpuNanos() > 0) {
    auto cpu = cpuQuota(limits.getLimitCpuNanos());
    result["cpu"] = {{"quota", cpu.quotaUs}, {"period", cpu.periodUs}};
  }
  if (auto memory = limits.getLimitMemoryBytes(); memory > 0) {
    result["memory"]["limit"] = memory;
    if (input.limitsSwap) {
      auto swap = limits.getMemorySwapBytes();
      result["memory"]["swap"] = swap != 0 ? swap : static_cast<int64_t>(memory * 2);
    }
  }
  if (limits.getLimitPids() > 0) result["pids"]["limit"] = limits.getLimitPids();
  return result;
}

Json namespaces(const BundleInput& input) {
  Json list =
      Json::array({{{"type", "mount"}}, {{"type", "uts"}}, {{"type", "pid"}}, {{"type", "ipc"}}});
  if (input.hasCgroupNamespace) list.push_back({{"type", "cgroup"}});
  auto network = input.request.getNetwork();
  if (network.isNamespace()) {
    list.push_back({{"type", "network"}, {"path", network.getNamespace().cStr()}});
  } else if (network.isNone()) {
    list.push_back({{"type", "network"}});
  }
  return list;
}

Json seccomp(CapabilitySet capabilities) {
  Json rules = Json::array();
  for (auto& rule : seccompRules(capabilities)) {
    Json entry = {{"names", rule.names},
                  {"action", rule.errnoValue == 0 ? "SCMP_ACT_ALLOW" : "SCMP_ACT_ERRNO"}};
    if (rule.errnoValue != 0) entry["errnoRet"] = rule.errnoValue;
    for (auto& argument : rule.arguments) {
      bool whole = argument.mask == ~uint64_t(0);
      entry["args"].push_back({{"index", argument.index},
                               {"value", whole ? argument.value : argument.mask},
                               {"valueTwo", whole ? 0 : argument.value},
                               {"op", whole ? "SCMP_CMP_EQ" : "SCMP_CMP_MASKED_EQ"}});
    }
    if (!rule.names.empty()) rules.push_back(entry);
  }
  return {{"defaultAction", "SCMP_ACT_ERRNO"},
          {"architectures", seccompArchitectures()},
          {"syscalls", rules}};
}

Json sysctls(schema::ContainerRequest::Reader request) {
  Json result = Json::object();
  if (!request.getNetwork().isHost()) {
    result["net.ipv4.ip_unprivileged_port_start"] = "0";
    result["net.ipv4.ping_group_range"] = "0 2147483647";
  }
  for (auto sysctl : request.getSpec().getSysctls()) {
    result[sysctl.getKey().cStr()] = sysctl.getValue().cStr();
  }
  return result;
}

// As docker 28 (moby, daemon/pkg/oci/defaults.go).
Json maskedPaths(const BundleInput& input) {
  Json paths = {"/proc/acpi",        "/proc/asound",  "/proc/interrupts",
                "/proc/kcore",       "/proc/keys",    "/proc/latency_stats",
                "/proc/sched_debug", "/proc/scsi",    "/proc/timer_list",
                "/proc/timer_stats", "/sys/firmware", "/sys/devices/virtual/powercap"};
  for (auto& path : input.hiddenPaths) paths.push_back(path);
  return paths;
}

Json annotations(const BundleInput& input) {
  Json result = Json::object();
  for (auto label : input.request.getLabels()) {
    auto key = label.getKey();
    if (key.startsWith("run.oci.") || key.startsWith("org.systemd.")) continue;
    result[key.cStr()] = label.getValue().cStr();
  }
  if (!input.seccompFilter.empty()) {
    result["run.oci.seccomp_bpf_data"] = input.seccompFilter;
  }
  return result;
}

}  // namespace

CpuQuota cpuQuota(uint64_t nanos) {
  auto quota = static_cast<int64_t>(nanos / (1'000'000'000 / PERIOD_US));
  if (quota >= MIN_QUOTA_US) return {quota, PERIOD_US};
  return {std::max(static_cast<int64_t>(nanos / (1'000'000'000 / LONG_PERIOD_US)), MIN_QUOTA_US),
          LONG_PERIOD_US};
}

std::string ociConfig(const BundleInput& input) {
  Json linuxPart = {
      {"resources", resources(input)},
      {"cgroupsPath", input.cgroupPath},
      {"namespaces", namespaces(input)},
      {"sysctl", sysctls(input.request)},
      {"maskedPaths", maskedPaths(input)},
      {"readonlyPaths", {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}},
  };
  if (input.seccompFilter.empty()) linuxPart["seccomp"] = seccomp(input.checked.capabilities);
  if (!input.checked.rootPropagation.empty()) {
    linuxPart["rootfsPropagation"] = input.checked.rootPropagation;
  }
  Json config = {
      {"ociVersion", "1.0.2"},
      {"process", process(input)},
      {"root", {{"path", input.rootfs}, {"readonly", input.request.getSpec().getReadOnly()}}},
      {"hostname", input.checked.hostname},
      {"mounts", mounts(input)},
      {"linux", linuxPart},
      {"annotations", annotations(input)},
  };
  return config.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace orch::runtime
