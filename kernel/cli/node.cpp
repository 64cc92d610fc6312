#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "display.h"
#include "filter.h"
#include "human.h"
#include "inspect.h"
#include "listing.h"

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

}  // namespace

const Command NODE_LS = {"node ls", "", "List nodes", NODE_LS_OPTIONS, listNodes};
const Command NODE_INSPECT = {
    "node inspect", "self|NODE...", "Show all that is known of one or more nodes", INSPECT_OPTIONS,
    inspectInCluster<&schema::ClusterControl::Client::nodeRequest,
                     &schema::ClusterControl::NodeResults::Reader::getNode>};

}  // namespace orch::cli
