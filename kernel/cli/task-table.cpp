#include "task-table.h"

#include <algorithm>
#include <tuple>

#include "display.h"
#include "human.h"
#include "listing.h"

namespace orch::cli {

namespace {

constexpr size_t ERROR_WIDTH = 40;  // on a terminal; the end of it is the reason
constexpr Column TASK_COLUMNS[] = {{"ID", "ID"},
                                   {"Name", "NAME"},
                                   {"Image", "IMAGE"},
                                   {"Node", "NODE"},
                                   {"DesiredState", "DESIRED STATE"},
                                   {"CurrentState", "CURRENT STATE"},
                                   {"Error", "ERROR"},
                                   {"Ports", "PORTS"}};

std::string_view viewOf(capnp::Text::Reader text) { return {text.begin(), text.size()}; }

// A number, or a node.
std::tuple<uint32_t, std::string_view> slotOf(schema::Task::Reader task) {
  auto number = task.getSlot();
  return {number, number == 0 ? viewOf(task.getNodeId()) : std::string_view()};
}

bool sameSlot(schema::Task::Reader a, schema::Task::Reader b) {
  return a.getServiceId() == b.getServiceId() && slotOf(a) == slotOf(b);
}

bool comesBefore(schema::Task::Reader a, schema::Task::Reader b) {
  auto service = [](schema::Task::Reader task) {
    return std::make_tuple(viewOf(task.getServiceName()), viewOf(task.getServiceId()));
  };
  return std::make_tuple(service(a), slotOf(a), b.getMeta().getCreatedAtNs()) <
         std::make_tuple(service(b), slotOf(b), a.getMeta().getCreatedAtNs());
}

// Those of its own node; a port of the routing mesh is the service's.
kj::String portsOf(schema::Task::Reader task) {
  auto status = task.getStatus();
  if (status.getHostPorts().size() > 0) return portsText(status.getHostPorts());
  kj::Vector<kj::String> texts;
  for (auto port : task.getPorts()) {
    if (port.getMode() == schema::PortSpec::PublishMode::HOST) texts.add(portText(port));
  }
  return kj::strArray(texts, ", ");
}

// A job's task should complete: when it has, it is not because somebody asked it to end.
schema::TaskState desiredOf(schema::Task::Reader task) {
  auto desired = task.getDesired();
  if (task.getIteration() == 0) return desired;
  bool completed = task.getStatus().getState() == schema::TaskState::COMPLETE &&
                   desired == schema::TaskState::SHUTDOWN;
  bool runs = desired == schema::TaskState::RUNNING;
  return runs || completed ? schema::TaskState::COMPLETE : desired;
}

// The id of the node that is asked, if a filter calls it `self`; otherwise empty.
Task<kj::String> ownNodeId(Context& context, const Filters& filters) {
  bool asked = false;
  for (auto value : filters.values("node")) asked |= value == "self";
  if (!asked) co_return kj::String();
  auto cluster = co_await context.connection.cluster();
  auto request = cluster.nodeRequest();
  request.setId("self");
  auto answer = co_await request.send();
  co_return kj::str(answer.getNode().getMeta().getId());
}

}  // namespace

NodeNames nodeNames(capnp::List<schema::Node>::Reader nodes) {
  NodeNames names;
  for (auto node : nodes) {
    kj::StringPtr name = node.getDescription().getHostname();
    names[node.getMeta().getId().cStr()] =
        name.size() > 0 ? name.cStr() : node.getMeta().getId().cStr();
  }
  return names;
}

Task<NodeNames> knownNodes(Context& context) {
  auto cluster = co_await context.connection.cluster();
  auto all = co_await attempt(cluster.nodesRequest().send());
  if (all.ok()) {
    context.connection.noteAge(all.value());
    co_return nodeNames(all.value().getNodes());
  }
  auto request = cluster.nodeRequest();
  request.setId("self");
  auto self = co_await attempt(request.send());
  if (!self.ok()) kj::throwFatalException(kj::mv(all.error()));
  context.out.error(kj::str("only what is here: ", plainText(all.error())));
  auto node = self.value().getNode();
  NodeNames names;
  names[node.getMeta().getId().cStr()] = node.getDescription().getHostname().cStr();
  co_return kj::mv(names);
}

kj::String nodeName(const NodeNames& names, kj::StringPtr id) {
  auto found = names.find(id.cStr());
  return found == names.end() ? kj::str(id) : kj::str(found->second.c_str());
}

Filters taskFilters(const Arguments& args) {
  return Filters(
      args, {"id", "name", "node", {"desired-state", "ready|running|complete|shutdown|remove"}});
}

Task<void> printTasks(Context& context, const Filters& filters,
                      kj::Vector<schema::Task::Reader> tasks) {
  const Arguments& args = context.args;
  auto ownNode = co_await ownNodeId(context, filters);
  auto cluster = co_await context.connection.cluster();
  auto nodes = co_await knownNodes(context);
  Listing list(context, TASK_COLUMNS);
  std::stable_sort(tasks.begin(), tasks.end(), comesBefore);
  bool shortens = context.out.terminal() && !args.on("--no-trunc");
  const schema::Task::Reader* last = nullptr;
  for (auto& task : tasks) {
    auto node =
        args.on("--no-resolve") ? kj::str(task.getNodeId()) : nodeName(nodes, task.getNodeId());
    auto name = taskName(task);
    auto desired = nameOf(desiredOf(task));
    bool shown = filters.allowPrefix("id", task.getMeta().getId()) &&
                 filters.allowPrefix("name", name) && filters.allowSame("desired-state", desired) &&
                 filters.allow("node", [&](auto value) {
                   return node == value || task.getNodeId() == value ||
                          (value == "self" && task.getNodeId() == ownNode);
                 });
    if (!shown) continue;
    bool older = last != nullptr && sameSlot(*last, task);
    last = &task;
    auto id = list.id(task.getMeta().getId());
    auto status = task.getStatus();
    auto error = shortens ? ending(status.getError(), ERROR_WIDTH) : kj::str(status.getError());
    if (error.size() > 0) error = kj::str("\"", error, "\"");
    auto state =
        sinceText(capitalized(nameOf(status.getState())), status.getAtNs(), context.env.nowNs());
    list.row(id, task,
             kj::arr(kj::str(id), older ? kj::str(" \\_ ", name) : kj::mv(name),
                     imageText(task.getSpec().getContainer(), args.on("--no-trunc")), kj::mv(node),
                     capitalized(desired), kj::mv(state), kj::mv(error), portsOf(task)));
  }
  list.finish();
}

}  // namespace orch::cli
