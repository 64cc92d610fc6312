#include "capabilities.h"

#include <kj/debug.h>
#include <strings.h>

#include <cstdio>
#include <iterator>

#include "orch/fail.h"
#include "orch/kernel-names.h"

namespace orch::runtime {

namespace {

constexpr unsigned COUNT = std::size(CAPABILITY_NAMES);
constexpr const char* DEFAULTS[] = {"CHOWN",   "DAC_OVERRIDE", "FSETID",           "FOWNER",
                                    "MKNOD",   "NET_RAW",      "SETGID",           "SETUID",
                                    "SETFCAP", "SETPCAP",      "NET_BIND_SERVICE", "SYS_CHROOT",
                                    "KILL",    "AUDIT_WRITE"};

kj::Maybe<unsigned> numberOf(const char* name) {
  if (strncasecmp(name, "CAP_", 4) == 0) name += 4;
  for (unsigned i = 0; i < COUNT; ++i) {
    if (strcasecmp(name, CAPABILITY_NAMES[i]) == 0) return i;
  }
  return nullptr;
}

unsigned mustExist(kj::StringPtr name, unsigned last) {
  KJ_IF_MAYBE (number, numberOf(name.cStr())) {
    if (*number > last) {
      fail(kj::str("capability '", name, "' is not known to this host's kernel"));
    }
    return *number;
  }
  fail(kj::str("unknown capability '", name, "': use a name such as NET_ADMIN, or ALL"));
}

bool hasAll(capnp::List<capnp::Text>::Reader names) {
  for (auto name : names) {
    if (strcasecmp(name.cStr(), "ALL") == 0 || strcasecmp(name.cStr(), "CAP_ALL") == 0) return true;
  }
  return false;
}

template <typename F>
void forEachNamed(capnp::List<capnp::Text>::Reader names, unsigned last, F&& use) {
  for (auto name : names) {
    if (strcasecmp(name.cStr(), "ALL") == 0 || strcasecmp(name.cStr(), "CAP_ALL") == 0) continue;
    use(mustExist(name, last));
  }
}

}  // namespace

CapabilitySet CapabilitySet::all(unsigned last) {
  CapabilitySet set;
  for (unsigned i = 0; i <= last && i < COUNT; ++i) set.add(i);
  return set;
}

CapabilitySet CapabilitySet::dockerDefault() {
  CapabilitySet set;
  for (auto name : DEFAULTS) set.add(KJ_ASSERT_NONNULL(numberOf(name)));
  return set;
}

bool CapabilitySet::has(kj::StringPtr name) const {
  return has(KJ_ASSERT_NONNULL(numberOf(name.cStr()), name));
}

std::vector<std::string> CapabilitySet::names() const {
  std::vector<std::string> result;
  for (unsigned i = 0; i < COUNT; ++i) {
    if (has(i)) result.push_back(std::string("CAP_") + CAPABILITY_NAMES[i]);
  }
  return result;
}

CapabilitySet capabilitiesFor(capnp::List<capnp::Text>::Reader add,
                              capnp::List<capnp::Text>::Reader drop, unsigned last) {
  CapabilitySet set = hasAll(add)    ? CapabilitySet::all(last)
                      : hasAll(drop) ? CapabilitySet()
                                     : CapabilitySet::dockerDefault();
  forEachNamed(drop, last, [&](unsigned number) { set.drop(number); });
  if (!hasAll(add)) forEachNamed(add, last, [&](unsigned number) { set.add(number); });
  return set;
}

unsigned lastCapability() {
  unsigned last = COUNT - 1;
  FILE* file = fopen("/proc/sys/kernel/cap_last_cap", "re");
  if (file == nullptr) return last;
  if (fscanf(file, "%u", &last) != 1) last = COUNT - 1;
  fclose(file);
  return last;
}

}  // namespace orch::runtime
