#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "display.h"
#include "filter.h"
#include "human.h"
#include "inspect.h"

namespace orch::cli {

namespace {

constexpr Option NODE_LS_OPTIONS[] = {
    {"-f,--filter", "FILTER",
     "Show only what matches: id=…, name=…, role=manager|worker, label=… (of the engine), "
     "node.label=…",
     true},
    {"-q,--quiet", nullptr, "Print ids only"},
    {"--no-trunc", nullptr, "Do not shorten ids"},
};

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
  auto cluster = co_await context.connection.cluster();
  auto askSelf = cluster.nodeRequest();
  askSelf.setId("self");
  auto self = attempt(askSelf.send());
  auto request = cluster.nodesRequest();
  auto response = co_await request.send();
  auto answer = co_await kj::mv(self);
  // A node that has never been in this cluster is none of its nodes.
  auto own = answer.ok() ? kj::str(answer.value().getNode().getMeta().getId()) : kj::String();
  bool whole = context.args.on("--no-trunc");
  Table table({"ID", "HOSTNAME", "STATUS", "AVAILABILITY", "MANAGER STATUS", "ENGINE VERSION"});
  kj::Vector<kj::String> documents;
  for (auto node : response.getNodes()) {
    kj::StringPtr id = node.getMeta().getId();
    kj::StringPtr name = node.getDescription().getHostname();
    bool matches = filters.allow("id", [&](auto value) { return id.startsWith(value); }) &&
                   filters.allow("name", [&](auto value) { return contains(name, value); }) &&
                   filters.allow("role", [&](auto value) { return roleOf(node) == value; }) &&
                   filters.allowLabels("label", node.getDescription().getEngineLabels()) &&
                   filters.allowLabels("node.label", node.getLabels());
    if (!matches) continue;
    if (context.out.json) {
      documents.add(toJson(capnp::toDynamic(node), true));
    } else if (context.args.on("--quiet")) {
      context.out.line(shortId(id, whole));
    } else {
      auto shown = kj::str(shortId(id, whole), id == own ? " *" : "");
      table.row(kj::arr(kj::mv(shown), kj::str(name), capitalized(nameOf(node.getState())),
                        capitalized(nameOf(node.getAvailability())), kj::str(managerStatus(node)),
                        kj::str(node.getDescription().getEngineVersion())));
    }
  }
  if (context.out.json) {
    context.out.documents(documents);
  } else if (!context.args.on("--quiet")) {
    context.out.table(table);
  }
  co_return 0;
}

Task<int> inspectNodes(Context& context) {
  Inspection inspection(context);
  auto cluster = co_await context.connection.cluster();
  for (auto& name : context.args.operands()) {
    auto request = cluster.nodeRequest();
    request.setId(name);
    auto response = co_await attempt(request.send());
    if (response.ok()) {
      inspection.found(capnp::toDynamic(response.value().getNode()));
    } else {
      inspection.missing(response.error());
    }
  }
  co_return inspection.finish();
}

}  // namespace

const Command NODE_LS = {"node ls", "", 0, 0, "List nodes", NODE_LS_OPTIONS, listNodes};
const Command NODE_INSPECT = {"node inspect",
                              "self|NODE...",
                              1,
                              ANY_NUMBER,
                              "Show all that is known of one or more nodes",
                              INSPECT_OPTIONS,
                              inspectNodes,
                              Operands::node};

}  // namespace orch::cli
