#include "unpack/platform.h"

#include <sys/utsname.h>

#include <algorithm>
#include <map>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace orch::image::oci {

namespace {

std::string lower(std::string text) {
  for (auto& c : text) {
    if (c >= 'A' && c <= 'Z') c += 'a' - 'A';
  }
  return text;
}

// Of `v3` or `3`.
std::optional<unsigned> levelOf(std::string_view variant) {
  if (variant.starts_with('v')) variant.remove_prefix(1);
  if (variant.size() != 1 || variant[0] < '1' || variant[0] > '9') return std::nullopt;
  return variant[0] - '0';
}

// What an image without a variant is for.
unsigned leastLevel(std::string_view architecture) {
  if (architecture == "arm") return 7;
  return architecture == "arm64" ? 8 : 1;
}

}  // namespace

std::string Platform::text() const {
  return os + "/" + architecture + (variant.empty() ? "" : "/" + variant);
}

std::string Node::text() const {
  return "linux/" + architecture + (level > 1 ? "/v" + std::to_string(level) : "");
}

Platform normalized(Platform platform) {
  struct Name {
    const char* architecture;
    const char* variant;
  };
  static const std::map<std::string_view, Name> NAMES = {
      {"x86_64", {"amd64", ""}},    {"x86-64", {"amd64", ""}},     {"aarch64", {"arm64", ""}},
      {"armhf", {"arm", "v7"}},     {"armv7l", {"arm", "v7"}},     {"armel", {"arm", "v6"}},
      {"armv6l", {"arm", "v6"}},    {"i386", {"386", ""}},         {"i686", {"386", ""}},
      {"ppc64el", {"ppc64le", ""}}, {"mips64el", {"mips64le", ""}}};
  platform.os = lower(platform.os);
  platform.architecture = lower(platform.architecture);
  platform.variant = lower(platform.variant);
  auto name = NAMES.find(platform.architecture);
  if (name != NAMES.end()) {
    platform.architecture = name->second.architecture;
    if (*name->second.variant != '\0') platform.variant = name->second.variant;
  }
  if (auto level = levelOf(platform.variant)) {
    bool least = platform.architecture != "arm" && *level == leastLevel(platform.architecture);
    platform.variant = least ? std::string() : "v" + std::to_string(*level);
  }
  return platform;
}

unsigned thisLevel(const std::string& architecture) {
#if defined(__x86_64__)
  // The levels of the x86-64 psABI. The compiler's tests also ask whether the system saves what
  // the processor has.
  unsigned a, b, c = 0, d, extended = 0;
  __get_cpuid(1, &a, &b, &c, &d);
  __get_cpuid(0x80000001, &a, &b, &extended, &d);
  constexpr unsigned CMPXCHG16B = 1 << 13, MOVBE = 1 << 22, F16C = 1 << 29;
  constexpr unsigned LAHF = 1 << 0, LZCNT = 1 << 5;
  bool second = (c & CMPXCHG16B) && (extended & LAHF) && __builtin_cpu_supports("ssse3") &&
                __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
  bool third = second && (c & MOVBE) && (c & F16C) && (extended & LZCNT) &&
               __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
               __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  bool fourth = third && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                __builtin_cpu_supports("avx512vl");
  if (architecture == "amd64") return fourth ? 4 : third ? 3 : second ? 2 : 1;
#endif
  struct utsname name;
  // armv6l, armv7l, armv8l
  if (architecture == "arm" && uname(&name) == 0 && std::string_view(name.machine).size() > 4) {
    if (auto level = levelOf(std::string_view(name.machine).substr(4, 1))) return *level;
  }
  return leastLevel(architecture);
}

std::optional<unsigned> suitability(const Platform& platform, const Node& node) {
  if (!platform.os.empty() && platform.os != "linux") return std::nullopt;
  if (platform.architecture.empty()) return 0;
  if (platform.architecture != node.architecture) return std::nullopt;
  if (platform.variant.empty()) return leastLevel(node.architecture);
  auto level = levelOf(platform.variant);
  if (!level || *level > node.level) return std::nullopt;
  return level;
}

}  // namespace orch::image::oci
