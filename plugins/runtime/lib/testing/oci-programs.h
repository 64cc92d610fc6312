// What the cases of programs in containers look at.
#pragma once

#include <catch2/catch.hpp>
#include <unistd.h>

#include "oci-subject.h"
#include "orch/testing/held-time.h"
#include "process-table.h"

namespace orch::runtime {

// Prints what a process has been given.
inline constexpr kj::StringPtr FACTS =
    "id; pwd; echo $ROLE; grep -E '^(Cap|Seccomp:|NoNewPrivs)' /proc/self/status; "
    "grep '^Max open files' /proc/self/limits; cat /proc/self/cgroup; "
    "for kind in pid net mnt ipc uts cgroup; do readlink /proc/self/ns/$kind; done"_kj;

// Starts c1 as that user and with more than a container has by itself; what its own process prints.
inline std::string ownFacts(OciSubject& subject, kj::StringPtr user) {
  auto create = subject.request("c1", kj::str(FACTS, "; echo ready; sleep 1000"));
  auto spec = create.getRequest().getSpec();
  spec.setUser(user);
  spec.setWorkdir("/tmp");
  spec.initEnv(1).set(0, "ROLE=of a test");
  spec.initCapAdd(1).set(0, "NET_ADMIN");
  create.send().wait(subject.waitScope());
  subject.start("c1");
  std::string own;
  while (own.find("ready") == std::string::npos) own = subject.output("c1");
  return own;
}

// Sleeps for so many seconds as no other process of this host does.
inline kj::String ownSeconds(int more) { return kj::str(getpid(), "0", more); }

// Until somebody sleeps for so long, or nobody does.
inline void whenSleepers(OciSubject& subject, kj::StringPtr seconds, bool some) {
  auto what = kj::str(some ? "somebody to sleep " : "nobody to sleep any more ", seconds, " s");
  testing::until(subject.env(), subject.waitScope(), what,
                 [&] { return processesWithArgument(seconds.cStr()).empty() != some; });
}

}  // namespace orch::runtime
