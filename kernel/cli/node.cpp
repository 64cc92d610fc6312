#include <capnp/message.h>

#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "display.h"
#include "filter.h"
#include "human.h"
#include "inspect.h"
#include "listing.h"
#include "task-table.h"

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
                                   {"Status", "STATUS"},
                                   {"Availability", "AVAILABILITY"},
                                   {"ManagerStatus", "MANAGER STATUS"},
                                   {"EngineVersion", "ENGINE VERSION"}};

kj::StringPtr roleOf(schema::Node::Reader node) {
  return node.getRole() == schema::Node::Role::MANAGER ? "manager"_kj : "worker"_kj;
}

kj::StringPtr managerStatus(schema::Node::Reader node) {
  if (node.getRole() != schema::Node::Role::MANAGER) return "";
  if (node.getLeader()) return "Leader";
  return node.getState() == schema::Node::State::READY ? "Reachable"_kj : "Unreachable"_kj;
}

Task<int> listNodes(Context& context) {
  Filters filters(context.args, {"id", "name", {"role", "manager|worker"}, "label", "node.label"});
  Listing list(context, NODE_COLUMNS);
  auto cluster = co_await context.connection.cluster();
  auto askSelf = cluster.nodeRequest();
  askSelf.setId("self");
  auto self = attempt(askSelf.send());
  auto response = co_await cluster.nodesRequest().send();
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
    list.row(
        shown, node,
        kj::arr(kj::str(shown, self ? " *" : ""), kj::str(shown), kj::str(self), kj::str(name),
                capitalized(nameOf(node.getState())), capitalized(nameOf(node.getAvailability())),
                kj::str(managerStatus(node)), kj::str(description.getEngineVersion())));
  }
  list.finish();
  co_return 0;
}

constexpr Option NODE_UPDATE_OPTIONS[] = {
    {"--availability", "AVAILABILITY", "Whether it gets tasks; drain moves those that it has",
     false, "active|pause|drain"},
    {"--label-add", "KEY=VALUE", "Set a label of the node", true},
    {"--label-rm", "KEY", "Remove a label of the node", true},
    {"--role", "ROLE", "There is one manager so far", false, "worker|manager"},
};
constexpr Option NODE_RM_OPTIONS[] = {
    {"-f,--force", nullptr, "Also if it is ready: its tasks are started elsewhere"},
};

// What the flags say, of whichever node.
void fillChange(const Arguments& args, schema::NodeChange::Builder change) {
  if (args.given("--role")) {
    fail(kj::str("usage: --role is not available yet: a cluster has one manager"));
  }
  if (args.given("--availability")) {
    auto choice = parseChoice("--availability", args.text("--availability"), "active|pause|drain");
    change.getAvailability().setSet(static_cast<schema::Node::Availability>(choice));
  }
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

Task<int> updateNodes(Context& context) {
  capnp::MallocMessageBuilder message;
  auto wanted = message.initRoot<schema::NodeChange>();
  fillChange(context.args, wanted);
  for (auto& name : context.args.operands()) {
    auto requestId = context.env.newId();
    auto updating = context.connection.change<schema::ClusterControl::UpdateNodeResults>(
        [&](schema::ClusterControl::Client& cluster) {
          auto request = cluster.updateNodeRequest();
          request.setRequestId(requestId);
          request.setId(name);
          request.setChange(wanted.asReader());
          return request.send();
        });
    auto updated = co_await attempt(kj::mv(updating));
    if (updated.ok()) {
      context.out.line(updated.value().getNode().getDescription().getHostname());
    } else {
      context.failed(updated.error());
    }
  }
  co_return context.status;
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
    for (auto task : answer.value().getTasks()) tasks.add(task);
    answers.add(kj::mv(answer.value()));
  }
  co_await printTasks(context, filters, kj::mv(tasks));
  co_return context.status;
}

Task<int> removeNodes(Context& context) {
  for (auto& name : context.args.operands()) {
    auto requestId = context.env.newId();
    auto removing = context.connection.change<schema::ClusterControl::RemoveNodeResults>(
        [&](schema::ClusterControl::Client& cluster) {
          auto request = cluster.removeNodeRequest();
          request.setRequestId(requestId);
          request.setId(name);
          request.setForce(context.args.on("--force"));
          return request.send();
        });
    auto removed = co_await attempt(kj::mv(removing));
    if (removed.ok()) {
      context.out.line(name);
    } else {
      context.failed(removed.error());
    }
  }
  co_return context.status;
}

}  // namespace

const Command NODE_UPDATE = {"node update", "NODE...", "Change what nodes are used for",
                             NODE_UPDATE_OPTIONS, updateNodes};
const Command NODE_PS = {"node ps", "[NODE...]",
                         "List the tasks of one or more nodes, without NODE of the one asked",
                         NODE_PS_OPTIONS, listNodeTasks};
const Command NODE_RM = {"node rm", "NODE...", "Remove nodes from the cluster", NODE_RM_OPTIONS,
                         removeNodes};
const Command NODE_LS = {"node ls", "", "List nodes", NODE_LS_OPTIONS, listNodes};
const Command NODE_INSPECT = {
    "node inspect", "self|NODE...", "Show all that is known of one or more nodes", INSPECT_OPTIONS,
    inspectInCluster<&schema::ClusterControl::Client::nodeRequest,
                     &schema::ClusterControl::NodeResults::Reader::getNode>};

}  // namespace orch::cli
