// What scheduling does with the tasks of one service: what it knows of them, and giving them their
// nodes, or the reason why they have none.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "schedule/node-book.h"

namespace orch::control::manager {

inline constexpr int64_t ASK_AGAIN_NS = 5'000'000'000;
inline constexpr int64_t RECENT_FAILURE_NS = 300'000'000'000;

// Tasks that ended badly on each node within five minutes.
std::map<std::string, uint32_t> recentFailures(const View& view, const Slots& slots,
                                               uint64_t specVersion);
// Tasks on each node that end as soon as the one that is to replace them runs.
std::map<std::string, uint32_t> aboutToLeave(const Slots& slots);
// Whether it had not been told that before.
bool explain(View& view, const TaskReader& task, const std::string& why);
// What it is placed by: a change of nothing but constraints left the tasks' specs as they were.
schema::TaskSpec::Reader specFor(const View& view, const TaskReader& task);
// Gives the chosen nodes to those of the tasks that still wait, which are of one service and spec.
// A strategy may be wrong, and its answer old: each node is checked again. Answers how many have
// one now.
size_t assign(View& view, NodeBook& book, const std::string& serviceId,
              std::span<const std::string> taskIds, std::span<const uint32_t> nodes,
              const std::string& strategy);
// A task whose slot is a node, or that was to be moved there: there is nothing to choose.
void assignToOwn(View& view, const TaskReader& task);

}  // namespace orch::control::manager
