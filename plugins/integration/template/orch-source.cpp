#include "orch-source.h"

#include <algorithm>

#include "lib/node-address.h"
#include "orch/attempt.h"
#include "orch/schema/cluster.capnp.h"

namespace orch::integration::templates {

namespace {
constexpr const char* CLUSTER_TASKS = "cluster-tasks";
constexpr const char* NODE_TASKS = "tasks";
// After that it is said that nobody has said anything.
constexpr kj::Duration PATIENCE = 10 * kj::SECONDS;
// Of the question who the nodes are.
constexpr kj::Duration NODES_LIMIT = 5 * kj::SECONDS;
}  // namespace

OrchSource::OrchSource(Env& env, Host& host, OrchSettings settings)
    : env(env), host(host), settings(settings) {}

void OrchSource::end() {
  ended = true;
  changes.cancel("the plugin has stopped");
  looking = nullptr;
  KJ_IF_MAYBE (running, watch) (*running)->end();
  watch = nullptr;
  known = nullptr;
  told = nullptr;
}

bool OrchSource::knows(const Query& query) const { return settings.answers && orchKnows(query); }

Task<void> OrchSource::follow(Query query, Listener& listener) {
  begin();
  listeners.emplace(&listener, query);
  KJ_DEFER(listeners.erase(&listener));
  if (known != nullptr) listener.answered(orchAnswer(query, entries, nodes, host.node().id.cStr()));
  if (!trouble.empty()) listener.failed(trouble.c_str());
  co_await kj::Promise<void>(kj::NEVER_DONE);
}

void OrchSource::begin() {
  if (watch != nullptr || ended) return;
  auto service = settings.whole ? CLUSTER_TASKS : NODE_TASKS;
  auto& running = watch.emplace(kj::refcounted<TaskWatch>(env, host, *this, service));
  running->start();
  looking = keepNodes().promise().eagerlyEvaluate(nullptr);
}

kj::Promise<void> OrchSource::tasksChanged(const TaskView& tasks) {
  return changes.wrap(change(tasks).promise());
}

void OrchSource::tasksUnknown(kj::StringPtr reason) {
  trouble = reason.cStr();
  for (auto& entry : listeners) entry.first->failed(reason);
}

Task<void> OrchSource::change(const TaskView& tasks) {
  std::set<std::string> ids{host.node().id.cStr()};
  tasks.visit([&](const std::string&, uint64_t, schema::TaskEntry::Reader entry) {
    ids.insert(entry.getTask().getNodeId().cStr());
  });
  co_await meet(std::move(ids));
  known = tasks;
  trouble.clear();
  derive();
  tellAll();
  KJ_IF_MAYBE (watches, told) co_await watches->whenSettled();
}

Task<void> OrchSource::meet(std::set<std::string> ids) {
  bool all = std::all_of(ids.begin(), ids.end(), [&](auto& id) { return nodes.count(id) > 0; });
  if (all) co_return;
  auto read = co_await attempt(look());
  if (read.ok()) co_return;
  host.log().warn("template.nodes-unknown, their tasks are left out", {{"reason", read.message()}});
}

Task<void> OrchSource::look() { return settings.whole ? readNodes() : readOwn(); }

Task<void> OrchSource::readOwn() {
  auto address = co_await nodeAddress(host);
  OrchNode own{host.node().name.cStr(), address, {}};
  for (auto& label : host.node().labels) own.labels[label.key.cStr()] = label.value.cStr();
  nodes[host.node().id.cStr()] = std::move(own);
}

Task<void> OrchSource::readNodes() {
  co_await readOwn();
  auto cluster = host.service<schema::ClusterControl>("cluster");
  kj::Promise<capnp::Response<schema::ClusterControl::NodesResults>> asked =
      cluster.nodesRequest().send();
  auto answer = co_await env.timer().timeoutAfter(NODES_LIMIT, kj::mv(asked));
  OrchNodes fresh;
  for (auto node : answer.getNodes()) {
    OrchNode one;
    one.name = node.getDescription().getHostname().cStr();
    one.address = hostPartOf(node.getAddress().cStr());
    for (auto label : node.getDescription().getEngineLabels()) {
      one.labels[label.getKey().cStr()] = label.getValue().cStr();
    }
    for (auto label : node.getLabels()) one.labels[label.getKey().cStr()] = label.getValue().cStr();
    std::string id = node.getMeta().getId().cStr();
    // One that no other reaches has not said where it is.
    if (one.address.empty() && id == host.node().id.cStr()) one.address = nodes[id].address;
    fresh[id] = std::move(one);
  }
  nodes = std::move(fresh);
}

Task<void> OrchSource::keepNodes() {
  co_await env.timer().afterDelay(PATIENCE);
  if (known == nullptr && trouble.empty()) {
    tasksUnknown(kj::str("nobody has said yet what runs; does ",
                         settings.whole ? "control.manager" : "control.agent",
                         " run? 'orch plugin ls'"));
  }
  for (;;) {
    co_await env.timer().afterDelay(LOOK_AT_NODES);
    auto read = co_await attempt(look());
    bool tells = read.ok() && known != nullptr;
    if (!tells) continue;
    derive();
    tellAll();
  }
}

void OrchSource::derive() {
  entries.clear();
  std::string self = host.node().id.cStr();
  KJ_IF_MAYBE (tasks, known) {
    tasks->visit([&](const std::string&, uint64_t, schema::TaskEntry::Reader entry) {
      for (auto& one : orchEntries(entry, nodes, self)) entries.push_back(std::move(one));
    });
  }
}

void OrchSource::tellAll() {
  std::string self = host.node().id.cStr();
  auto all = listeners;  // one may go while another is told
  for (auto& [listener, query] : all) {
    if (listeners.count(listener) == 0) continue;
    listener->answered(orchAnswer(query, entries, nodes, self));
  }
}

}  // namespace orch::integration::templates
