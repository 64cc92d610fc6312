// Whether the kernel has the network as the records say: read, never changed.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "layout.h"
#include "lib/findings.h"
#include "record.h"

namespace orch::network::bridge {

struct Checked {
  Findings node;
  std::map<std::string, Findings> tasks;
};
// Blocking: for worker threads, in the node's network namespace. Whether a task's devices are up is
// not looked at: network.overlay takes down those of tasks that have no way out.
Checked checkBridge(const Layout& layout, const std::vector<TaskRecord>& records);

// Puts right what of these is not; what is right is not touched. The table is `writeTable`'s.
void mend(const Layout& layout, const std::vector<TaskRecord>& records);

}  // namespace orch::network::bridge
