#include <capnp/message.h>

#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "display.h"
#include "filter.h"
#include "human.h"
#include "inspect.h"
#include "listing.h"
#include "orch/fail.h"
#include "orch/generic-resources.h"
#include "progress.h"
#include "remove-each.h"
#include "task-table.h"
#include "value.h"

namespace orch::cli {

namespace {

constexpr Option NODE_LS_OPTIONS[] = {
    {"-f,--filter", "FILTER",
     "Only what matches: id=, name= (or how it begins), role=, label= (of the engine), node.label=",
     true},
    ORCH_LIST_OPTIONS  //
};
constexpr Column NODE_COLUMNS[] = {{nullptr, "ID"},
                                   {"ID", nullptr},
                                   {"Self", nullptr},
                                   {"Hostname", "HOSTNAME"},
                                   {nullptr, "STATUS"},
                                   {"Status", nullptr},
                                   {"StatusReason", nullptr},
                                   {"Availability", "AVAILABILITY"},
                                   {"ManagerStatus", "MANAGER STATUS"},
                                   {"EngineVersion", "ENGINE VERSION"},
                                   {"Resources", nullptr}};

kj::StringPtr roleOf(schema::Node::Reader node) {
  return node.getRole() == schema::Node::Role::MANAGER ? "manager"_kj : "worker"_kj;
}

// `gpu 3/4` are in use, of what its manifest has under [node] resources.
kj::String resourcesOf(schema::Node::Reader node) {
  auto parts = KJ_MAP(one, node.getDescription().getGeneric()) {
    return kj::str(one.getKind(), " ", amountOf(node.getGenericInUse(), one.getKind().cStr()), "/",
                   one.getAmount());
  };
  return kj::strArray(parts, ", ");
}

kj::StringPtr managerStatus(schema::Node::Reader node) {
  if (node.getRole() != schema::Node::Role::MANAGER) return "";
  if (node.getLeader()) return "Leader";
  return node.getState() == schema::Node::State::READY ? "Reachable"_kj : "Unreachable"_kj;
}

// `Ready`, or `Down 12 seconds ago: no heartbeat for 2.5s`.
kj::String statusOf(schema::Node::Reader node, int64_t nowNs) {
  auto state = capitalized(nameOf(node.getState()));
  if (node.getState() == schema::Node::State::READY) return state;
  auto since = sinceText(state, node.getStateSinceNs(), nowNs);
  return node.getMessage().size() == 0 ? kj::mv(since) : kj::str(since, ": ", node.getMessage());
}

Task<int> listNodes(Context& context) {
  Filters filters(context.args, {"id", "name", {"role", "manager|worker"}, "label", "node.label"});
  Listing list(context, NODE_COLUMNS);
  auto cluster = co_await context.connection.cluster();
  auto askSelf = cluster.nodeRequest();
  askSelf.setId("self");
  auto self = attempt(askSelf.send());
  auto response = co_await cluster.nodesRequest().send();
  context.connection.noteAge(response);
  auto answer = co_await kj::mv(self);
  // A node that has never been in this cluster is none of its nodes.
  auto own = answer.ok() ? kj::str(answer.value().getNode().getMeta().getId()) : kj::String();
  for (auto node : response.getNodes()) {
    kj::StringPtr id = node.getMeta().getId();
    auto description = node.getDescription();
    kj::StringPtr name = description.getHostname();
    bool matches = filters.allowPrefix("id", id) && filters.allowPrefix("name", name) &&
                   filters.allowSame("role", roleOf(node)) &&
                   filters.allowLabels("label", description.getEngineLabels()) &&
                   filters.allowLabels("node.label", node.getLabels());
    if (!matches) continue;
    auto shown = list.id(id);
    bool self = id == own;
    list.row(shown, node,
             kj::arr(kj::str(shown, self ? " *" : ""), kj::str(shown), kj::str(self), kj::str(name),
                     statusOf(node, context.env.nowNs()), capitalized(nameOf(node.getState())),
                     kj::str(node.getMessage()), capitalized(nameOf(node.getAvailability())),
                     kj::str(managerStatus(node)), kj::str(description.getEngineVersion()),
                     resourcesOf(node)));
  }
  list.finish();
  co_return 0;
}

constexpr Option NODE_UPDATE_OPTIONS[] = {
    {"--availability", "AVAILABILITY", "Whether it gets tasks; drain moves those that it has",
     false, "active|pause|drain"},
    {"--label-add", "KEY=VALUE", "Set a label of the node", true},
    {"--label-rm", "KEY", "Remove a label of the node", true},
    {"--role", "ROLE", "What it is: as 'orch node promote' and 'orch node demote'", false,
     "worker|manager"},
    {"--wait", nullptr,
     "With --availability drain: until nothing runs there, and show how far it is"},
};
constexpr Option NODE_RM_OPTIONS[] = {
    {"-f,--force", nullptr, "Also if it is ready: its tasks are started elsewhere"},
};

// What the flags say, of whichever node.
void fillChange(const Arguments& args, schema::NodeChange::Builder change) {
  if (args.given("--role")) {
    auto choice = parseChoice("--role", args.text("--role"), "worker|manager");
    change.getRole().setSet(static_cast<schema::Node::Role>(choice));
  }
  if (args.given("--availability")) {
    auto choice = parseChoice("--availability", args.text("--availability"), "active|pause|drain");
    change.getAvailability().setSet(static_cast<schema::Node::Availability>(choice));
  }
  bool drains = change.getAvailability().isSet() &&
                change.getAvailability().getSet() == schema::Node::Availability::DRAIN;
  if (args.on("--wait") && !drains) fail(kj::str("usage: --wait is for --availability drain"));
  auto added = args.values("--label-add");
  auto labels = change.initAddLabels(added.size());
  for (uint32_t i = 0; i < labels.size(); ++i) {
    auto label = parseLabel("--label-add", added[i]);
    labels[i].setKey(label.key);
    labels[i].setValue(label.value);
  }
  auto removed = args.values("--label-rm");
  auto keys = change.initRemoveLabels(removed.size());
  for (uint32_t i = 0; i < keys.size(); ++i) keys.set(i, removed[i]);
}

// `n3: 5 tasks are left, 3 wait for their turn`
kj::String leftLine(kj::StringPtr name, schema::NodeProgress::Reader progress) {
  auto left = progress.getLeft();
  if (left == 0) return kj::str(name, " is empty");
  auto waiting = progress.getWaiting();
  auto turn = waiting == 0
                  ? kj::String()
                  : kj::str(", ", waiting,
                            waiting == 1 ? " waits for its turn"_kj : " wait for their turn"_kj);
  return kj::str(name, ": ", left, left == 1 ? " task is" : " tasks are", " left", turn);
}

// Why it will not become empty; nothing if it may.
kj::String obstacleTo(kj::StringPtr name, schema::NodeProgress::Reader progress) {
  if (progress.getAvailability() != schema::Node::Availability::DRAIN) {
    return kj::str("node '", name, "' is ", nameOf(progress.getAvailability()),
                   " again; somebody has changed it meanwhile");
  }
  if (progress.getState() == schema::Node::State::DOWN) {
    return kj::str("node '", name, "' is down; what still runs there is not known");
  }
  return kj::String();
}

// Until nothing runs on the node. On a terminal a line that changes in place, else one for each
// change, and each problem once.
Task<void> waitUntilEmpty(Context& context, kj::String id, kj::String name) {
  constexpr uint32_t POLL_MS = 30'000;  // the server answers at once if something is new
  context.waitsFor =
      kj::str("node '", name, "' goes on being drained; see 'orch node ps ", name, "'");
  kj::String last;
  kj::String problem;
  uint64_t after = 0;
  for (;;) {
    auto response = co_await context.connection.change<schema::ClusterControl::NodeProgressResults>(
        [&](schema::ClusterControl::Client& cluster) {
          auto request = cluster.nodeProgressRequest();
          request.setId(id);
          request.setAfter(after);
          request.setTimeoutMs(POLL_MS);
          return request.send();
        });
    after = response.getRevision();
    auto progress = response.getProgress();
    auto line = leftLine(name, progress);
    bool again = context.out.terminal() && last.size() > 0;
    if (line != last) context.out.line(again ? "\x1b[A\x1b[2K" : "", line);
    last = kj::mv(line);
    if (progress.getProblem() != problem) {
      problem = kj::str(progress.getProblem());
      if (problem.size() > 0) context.out.line("problem: ", withoutIds(problem));
      if (problem.size() > 0) last = kj::String();
    }
    context.out.flush();
    if (progress.getLeft() == 0) break;
    auto why = obstacleTo(name, progress);
    if (why.size() > 0) fail(kj::mv(why));
  }
  context.waitsFor = kj::String();
}

using UpdatedNode = capnp::Response<schema::ClusterControl::UpdateNodeResults>;

// Arguments stay until it is done.
Task<UpdatedNode> updateNode(Context& context, kj::StringPtr name,
                             schema::NodeChange::Reader wanted) {
  auto requestId = context.env.newId();
  co_return co_await context.connection.change<schema::ClusterControl::UpdateNodeResults>(
      [&](schema::ClusterControl::Client& cluster) {
        auto request = cluster.updateNodeRequest();
        request.setRequestId(requestId);
        request.setId(name);
        request.setChange(wanted);
        return request.send();
      },
      "whether the node was changed is unknown: look with 'orch node ls'");
}

Task<int> updateNodes(Context& context) {
  capnp::MallocMessageBuilder message;
  auto wanted = message.initRoot<schema::NodeChange>();
  fillChange(context.args, wanted);
  for (auto& name : context.args.operands()) {
    auto updated = co_await attempt(updateNode(context, name, wanted.asReader()));
    if (!updated.ok()) {
      context.failed(updated.error());
      continue;
    }
    auto node = updated.value().getNode();
    auto hostname = kj::str(node.getDescription().getHostname());
    if (!context.args.on("--wait")) {
      context.out.line(hostname);
      continue;
    }
    auto waited = co_await attempt(
        waitUntilEmpty(context, kj::str(node.getMeta().getId()), kj::mv(hostname)));
    if (!waited.ok()) context.failed(waited.error());
  }
  co_return context.status;
}

Task<int> giveRole(Context& context, schema::Node::Role role, kj::StringPtr done) {
  capnp::MallocMessageBuilder message;
  auto wanted = message.initRoot<schema::NodeChange>();
  wanted.getRole().setSet(role);
  for (auto& name : context.args.operands()) {
    auto updated = co_await attempt(updateNode(context, name, wanted.asReader()));
    if (!updated.ok()) {
      context.failed(updated.error());
      continue;
    }
    auto node = updated.value().getNode();
    context.out.line("node '", node.getDescription().getHostname(), "' ", done);
  }
  co_return context.status;
}

Task<int> promoteNodes(Context& context) {
  return giveRole(context, schema::Node::Role::MANAGER,
                  "becomes a manager; 'orch cluster status' shows when it is one");
}

Task<int> demoteNodes(Context& context) {
  return giveRole(context, schema::Node::Role::WORKER, "becomes a worker, and keeps its tasks");
}

constexpr Option NODE_PS_OPTIONS[] = {ORCH_TASK_OPTIONS};

Task<int> listNodeTasks(Context& context) {
  auto filters = taskFilters(context.args);
  auto cluster = co_await context.connection.cluster();
  kj::Vector<capnp::Response<schema::ClusterControl::TasksResults>> answers;
  kj::Vector<schema::Task::Reader> tasks;
  auto ask = [&](kj::StringPtr name) {
    auto request = cluster.tasksRequest();
    request.initFilter().setNodeId(name);
    return attempt(request.send());
  };
  kj::Vector<kj::StringPtr> names;
  for (auto& name : context.args.operands()) names.add(name);
  if (names.empty()) names.add("self");
  for (auto name : names) {
    auto answer = co_await ask(name);
    if (!answer.ok()) {
      context.failed(answer.error());
      continue;
    }
    context.connection.noteAge(answer.value());
    for (auto task : answer.value().getTasks()) tasks.add(task);
    answers.add(kj::mv(answer.value()));
  }
  co_await printTasks(context, filters, kj::mv(tasks));
  co_return context.status;
}

Task<int> removeNodes(Context& context) {
  auto make = [&context](schema::ClusterControl::Client& cluster, kj::StringPtr name) {
    auto request = cluster.removeNodeRequest();
    request.setId(name);
    request.setForce(context.args.on("--force"));
    return request;
  };
  return removeEach<schema::ClusterControl::RemoveNodeResults>(
      context, make, "whether the node was removed is unknown: look with 'orch node ls'");
}

}  // namespace

const Command NODE_UPDATE = {"node update", "NODE...", "Change what nodes are used for",
                             NODE_UPDATE_OPTIONS, updateNodes};
const Command NODE_PS = {"node ps", "[NODE...]",
                         "List the tasks of one or more nodes, without NODE of the one asked",
                         NODE_PS_OPTIONS, listNodeTasks};
const Command NODE_PROMOTE = {"node promote", "NODE...",
                              "Make workers managers, which keep the cluster when others are gone",
                              kj::arrayPtr<const Option>(nullptr, size_t(0)), promoteNodes};
const Command NODE_DEMOTE = {"node demote", "NODE...", "Make managers workers",
                             kj::arrayPtr<const Option>(nullptr, size_t(0)), demoteNodes};
const Command NODE_RM = {"node rm", "NODE...", "Remove nodes from the cluster", NODE_RM_OPTIONS,
                         removeNodes};
const Command NODE_LS = {"node ls", "", "List nodes", NODE_LS_OPTIONS, listNodes};
const Command NODE_INSPECT = {
    "node inspect", "self|NODE...", "Show all that is known of one or more nodes", INSPECT_OPTIONS,
    inspectInCluster<&schema::ClusterControl::Client::nodeRequest,
                     &schema::ClusterControl::NodeResults::Reader::getNode>};

}  // namespace orch::cli
