// A mount namespace of the test's own in which hugetlb, the controller that hybrid hosts commonly
// leave to v2, is mounted as v1, so that crun works there too. Nothing of it is seen outside.
#pragma once

namespace orch::runtime {

// Once per process, before it starts a thread; does nothing on v1-only and v2 hosts.
void enterPrivateCgroups();

}  // namespace orch::runtime
