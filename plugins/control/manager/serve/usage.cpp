#include "serve/usage.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "decide/slot-rules.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "serve/programs.h"
#include "serve/resolve.h"

namespace orch::control::manager {

struct UsageQueries::Asked {
  std::string id, service, nodeId;
  SlotKey slot;
  int64_t createdAtNs;
};

struct UsageQueries::AskedNode {
  std::vector<std::string> tasks;
  std::string missing;                              // why it did not answer
  kj::Maybe<Answer> answer;                         // or what it says,
  std::map<std::string, uint32_t, std::less<>> at;  // by task
};

namespace {
bool isDownNow(const State& state, const std::string& nodeId) {
  auto node = state.find(Kind::NODE, nodeId);
  return node != nullptr && isDown(node->as<schema::Node>());
}
}  // namespace

kj::Maybe<schema::Agent::Client> UsageQueries::agentOf(const std::string& nodeId) {
  if (isDownNow(manager.state(), nodeId)) return nullptr;
  return sessions.agentOf(nodeId);
}

std::vector<UsageQueries::Asked> UsageQueries::chosen(capnp::List<capnp::Text>::Reader typed) {
  View view(manager.state(), env.nowNs(), Seed{});
  std::map<std::string, Asked> all;
  auto add = [&](const TaskReader& task) {
    auto nodeId = text(task.getNodeId());
    // One that was replaced runs nowhere, as far as anybody can tell.
    bool lost = !isWanted(task) && agentOf(nodeId) == nullptr;
    if (!mayRun(task) || lost) return;
    all[task.id()] = {task.id(), text(task.getServiceName()), nodeId, task.slot(),
                      task.getMeta().getCreatedAtNs()};
    if (all.size() > MAX_TASKS) {
      fail(kj::str("more than ", MAX_TASKS, " tasks run; name services or tasks"));
    }
  };
  for (auto one : typed) {
    auto service = view.serviceNamed(manager::view(one));
    if (service.empty()) {
      add(KJ_ASSERT_NONNULL(view.task(resolveRunning(view, one))));
      continue;
    }
    for (auto& slot : view.slots(service)) {
      for (auto& task : slot.tasks) add(task);
    }
  }
  if (typed.size() == 0) {
    for (auto& entry : manager.state().all(Kind::TASK)) add(TaskReader(entry.second));
  }
  std::vector<Asked> sorted;
  for (auto& entry : all) sorted.push_back(std::move(entry.second));
  std::sort(sorted.begin(), sorted.end(), [](auto& left, auto& right) {
    return std::tie(left.service, left.slot, left.createdAtNs) <
           std::tie(right.service, right.slot, right.createdAtNs);
  });
  return sorted;
}

kj::Promise<UsageQueries::Answer> UsageQueries::ask(const std::string& nodeId,
                                                    const AskedNode& node, bool host) {
  auto name = sessions.hostnameOf(nodeId);
  auto agent = agentOf(nodeId);
  KJ_IF_MAYBE (present, agent) {
    auto request = present->usageRequest();
    auto ids = request.initTaskIds(node.tasks.size());
    for (uint32_t i = 0; i < ids.size(); ++i) ids.set(i, node.tasks[i].c_str());
    request.setHost(host);
    kj::Promise<Answer> answer = request.send();
    auto late =
        env.timer().afterDelay(PATIENCE).then([name = kj::str(name)]() -> kj::Promise<Answer> {
          fail(kj::str("node '", name, "' has not answered within ", PATIENCE / kj::SECONDS, " s"));
        });
    auto over = sessions.whenOver(nodeId).catch_([](kj::Exception&&) {});
    auto lost = over.then([name = kj::str(name)]() -> kj::Promise<Answer> {
      fail(kj::str("node '", name, "' was lost before it answered"));
    });
    return answer.exclusiveJoin(kj::mv(late)).exclusiveJoin(kj::mv(lost));
  }
  bool down = isDownNow(manager.state(), nodeId);
  fail(kj::str("node '", name, down ? "' is down" : "' has no session with the manager"));
}

void UsageQueries::describe(const std::string& nodeId, schema::NodeUsage::Builder to) {
  auto& state = manager.state();
  auto node = state.find(Kind::NODE, nodeId);
  if (node == nullptr) return;
  auto description = node->as<schema::Node>().getDescription();
  to.setId(nodeId.c_str());
  to.setNode(description.getHostname());
  uint32_t tasks = 0;
  for (auto& id : state.tasksOf(nodeId)) {
    if (auto task = state.find(Kind::TASK, id)) tasks += !isTerminal(TaskReader(*task));
  }
  to.setTasks(tasks);
  to.setCpuNanos(description.getCpuNanos());
  to.setMemoryBytes(description.getMemoryBytes());
  auto& held = state.usageOf(nodeId);
  to.setReservedCpuNanos(std::max<int64_t>(held.cpuNanos, 0));
  to.setReservedMemoryBytes(std::max<int64_t>(held.memoryBytes, 0));
}

Task<void> UsageQueries::usage(
    capnp::CallContext<Cluster::UsageParams, Cluster::UsageResults> context) {
  bool allNodes = context.getParams().getNodes();
  auto tasks = chosen(context.getParams().getIds());
  std::map<std::string, AskedNode> nodes;
  for (auto& task : tasks) nodes[task.nodeId].tasks.push_back(task.id);
  if (allNodes) {
    for (auto& entry : manager.state().all(Kind::NODE)) nodes[entry.first];
  }
  std::vector<std::pair<AskedNode*, Task<orch::Outcome<Answer>>>> calls;
  for (auto& [id, node] : nodes) {
    auto call = kj::evalNow([&, id = &id, node = &node] { return ask(*id, *node, allNodes); });
    calls.emplace_back(&node, attempt(kj::mv(call)));
  }
  for (auto& [node, call] : calls) {
    auto outcome = co_await kj::mv(call);
    if (!outcome.ok()) {
      node->missing = plainText(outcome.error()).cStr();
      continue;
    }
    auto list = outcome.value().getUsages();
    for (uint32_t i = 0; i < list.size(); ++i) node->at[list[i].getId().cStr()] = i;
    node->answer = kj::mv(outcome.value());
  }
  auto results = context.getResults();
  auto list = results.initTasks(tasks.size());
  for (uint32_t i = 0; i < list.size(); ++i) {
    auto& task = tasks[i];
    auto& node = nodes[task.nodeId];
    list[i].setTask(kj::str(task.service.c_str(), ".", nameOf(task.slot).c_str()));
    list[i].setNode(sessions.hostnameOf(task.nodeId));
    auto at = node.at.find(task.id);
    KJ_IF_MAYBE (answer, node.answer) {
      if (at != node.at.end()) {
        list[i].setUsage(answer->getUsages()[at->second]);
        continue;
      }
      auto problems = answer->getProblems();
      node.missing = problems.size() > 0 ? problems[0].cStr() : "its container does not run";
    }
    list[i].initUsage().setId(task.id.c_str());
    list[i].setMissing(node.missing.c_str());
  }
  if (!allNodes) co_return;
  std::set<std::pair<std::string, std::string>> byName;  // host name, id
  for (auto& entry : manager.state().all(Kind::NODE)) {
    byName.emplace(sessions.hostnameOf(entry.first).cStr(), entry.first);
  }
  auto rows = results.initNodes(byName.size());
  uint32_t next = 0;
  for (auto& [name, id] : byName) {
    auto row = rows[next++];
    describe(id, row);
    auto& node = nodes[id];
    KJ_IF_MAYBE (answer, node.answer) {
      row.setHost(answer->getHost());
    } else {
      row.setMissing(node.missing.empty() ? "it has just joined" : node.missing.c_str());
    }
  }
}

}  // namespace orch::control::manager
