// Where a connection goes: as the state has it, and whether the kernels on its way have it so.
#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "display.h"
#include "listing.h"
#include "orch/amounts.h"
#include "orch/fail.h"
#include "task-table.h"
#include "value.h"

namespace orch::cli {

namespace {

constexpr Option NETWORK_TRACE_OPTIONS[] = {
    {"--from", "NODE",
     "Where the connection begins, or comes to (default: the node that is asked)"},
    {"-q,--quiet", nullptr, "Print nothing: the exit status says it"},
    {"--format", "FORMAT", "Print a table, or a template as '{{.Task}}' ('table {{.Task}}')"},
};
constexpr Column WAY_COLUMNS[] = {{"Network", "NETWORK"},
                                  {"Task", "TASK"},
                                  {"Node", "NODE"},
                                  {"Address", "ADDRESS"},
                                  {"Way", "WAY"}};

using PortSpec = schema::PortSpec;

// `web`, `web:80`, or of a published port `:8080`, `:53/udp`.
struct Target {
  kj::String service;  // empty: a published port
  uint16_t port = 0;   // 0: any
  PortSpec::Protocol protocol = PortSpec::Protocol::TCP;
  bool is(PortSpec::Reader published) const {
    return published.getPublished() == port && published.getProtocol() == protocol;
  }
};

Target parseTarget(kj::StringPtr typed) {
  constexpr kj::StringPtr FORMS = "a service as web:80, or a published port as :8080 or :53/udp"_kj;
  Target target;
  std::string_view text(typed.begin(), typed.size());
  auto colon = text.rfind(':');
  if (colon == std::string_view::npos) {
    target.service = kj::str(typed);
    return target;
  }
  target.service = kj::heapString(text.data(), colon);
  auto rest = text.substr(colon + 1);
  auto slash = std::min(rest.find('/'), rest.size());
  auto protocol = rest.substr(slash);
  auto number = readDigits(rest.substr(0, slash));
  bool known = protocol.empty() || protocol == "/tcp" || protocol == "/udp";
  if (!number || *number < 1 || *number > 65535 || !known) badValue("TARGET", typed, FORMS);
  if (protocol == "/udp") target.protocol = PortSpec::Protocol::UDP;
  target.port = static_cast<uint16_t>(*number);
  return target;
}

kj::String withPort(kj::StringPtr address, uint16_t port) {
  return port == 0 ? kj::str(address) : kj::str(address, ":", port);
}
// Of `10.0.1.5/24` or `192.168.0.2:2377` the address.
kj::String plain(kj::StringPtr address) {
  auto text = std::string_view(address.begin(), address.size());
  return kj::heapString(address.begin(), std::min(text.find_first_of("/:"), text.size()));
}

bool serves(schema::Task::Reader task) {
  return task.getStatus().getState() == schema::TaskState::RUNNING &&
         task.getDesired() == schema::TaskState::RUNNING;
}

class Trace final {
 public:
  explicit Trace(Context& context)
      : context(context),
        list(context, WAY_COLUMNS),
        quiet(context.args.on("--quiet")),
        forPeople(context.args.text("--format").size() == 0 && !context.out.json && !quiet) {}

  Task<int> run() {
    auto target = parseTarget(context.args.operands()[0]);
    auto cluster = co_await context.connection.cluster();
    auto nodeRequest = cluster.nodeRequest();
    auto from = context.args.text("--from");
    nodeRequest.setId(from.size() > 0 ? from : "self"_kj);
    auto asked = co_await nodeRequest.send();
    start = asked.getNode();
    auto all = co_await cluster.nodesRequest().send();
    nodes = all.getNodes();
    names = nodeNames(nodes);
    bool published = target.service.size() == 0;
    auto serviceId = kj::str(target.service);
    if (published) serviceId = co_await publisherOf(cluster, target);
    auto serviceRequest = cluster.serviceRequest();
    serviceRequest.setId(serviceId);
    auto found = co_await serviceRequest.send();
    auto service = found.getService();
    auto tasksRequest = cluster.tasksRequest();
    tasksRequest.initFilter().setServiceId(service.getMeta().getId());
    auto listed = co_await tasksRequest.send();
    auto networks = co_await cluster.networksRequest().send();
    if (published) {
      tracePort(service, target, listed.getTasks());
    } else {
      traceNetworks(service, target, listed.getTasks(), networks.getNetworks());
    }
    for (auto& text : heads) say(text);
    if (!quiet && (rows > 0 || !forPeople)) list.finish();
    for (auto& network : traced) co_await checkKernels(cluster, network, published);
    co_return rows > 0 && wrong == 0 ? 0 : 1;
  }

 private:
  // For people; templates get the rows alone.
  void say(kj::StringPtr text) {
    if (forPeople) context.out.line(text);
  }
  bool isStart(kj::StringPtr nodeId) { return nodeId == start.getMeta().getId(); }
  kj::String addressOfNode(kj::StringPtr nodeId) {
    for (auto node : nodes) {
      if (node.getMeta().getId() == nodeId) return plain(node.getDescription().getAddress());
    }
    return kj::str("?");
  }
  void row(kj::StringPtr network, schema::Task::Reader task, kj::String address, kj::String way) {
    auto node = nodeName(names, task.getNodeId());
    involved.push_back(node.cStr());
    if (quiet) {
      ++rows;
      return;
    }
    list.row(kj::str(rows++), task,
             kj::arr(kj::str(network), taskName(task), kj::mv(node), kj::mv(address), kj::mv(way)));
  }

  Task<kj::String> publisherOf(schema::ClusterControl::Client cluster, const Target& target) {
    auto listed = co_await cluster.servicesRequest().send();
    for (auto service : listed.getServices()) {
      for (auto port : service.getPorts()) {
        if (target.is(port)) co_return kj::str(service.getId());
      }
    }
    fail(kj::str("no service publishes the port ", portName(target)));
  }
  static kj::String portName(const Target& target) {
    return kj::str(target.port, target.protocol == PortSpec::Protocol::UDP ? "/udp" : "/tcp");
  }

  void tracePort(schema::Service::Reader service, const Target& target,
                 capnp::List<schema::Task>::Reader tasks) {
    PortSpec::Reader port;
    for (auto one : service.getPorts()) {
      if (target.is(one)) port = one;
    }
    traced.push_back("");
    auto untaken = kj::str(portName(target), ": ");
    for (auto text : start.getDescription().getUnanswered()) {
      if (!text.startsWith(untaken)) continue;
      heads.add(
          kj::str(nodeName(names, start.getMeta().getId()), " does not answer on the port ", text));
      return;
    }
    bool host = port.getMode() == PortSpec::PublishMode::HOST;
    uint32_t here = 0, everywhere = 0;
    for (auto task : tasks) {
      if (!serves(task)) continue;
      ++everywhere;
      here += isStart(task.getNodeId());
    }
    bool localAlone = host || (port.getPreferLocal() && here > 0);
    for (auto task : tasks) {
      bool own = isStart(task.getNodeId());
      if (!serves(task) || (localAlone && !own)) continue;
      auto addresses = task.getStatus().getAddresses();
      auto address = addresses.size() > 0 ? plain(addresses[0]) : kj::str("?");
      auto way = own ? kj::str("on ", nodeName(names, start.getMeta().getId()), " itself")
                     : kj::str("by orch-mesh to ", addressOfNode(task.getNodeId()),
                               ", which leads it to one of its tasks");
      row("-", task, withPort(address, port.getTarget()), kj::mv(way));
    }
    uint32_t count = localAlone ? here : everywhere;
    auto how = host ? " in mode=host" : localAlone ? ", of which it prefers its own" : "";
    heads.add(kj::str("port ", portName(target), " is published by ", service.getSpec().getName(),
                      how, "; ", chosen(nullptr, count)));
  }

  void traceNetworks(schema::Service::Reader service, const Target& target,
                     capnp::List<schema::Task>::Reader tasks,
                     capnp::List<schema::Network>::Reader networks) {
    auto name = service.getSpec().getName();
    for (auto attachment : service.getSpec().getTask().getNetworks()) {
      for (auto network : networks) {
        bool spans = network.getVni() > 0 && (attachment.getName() == network.getName() ||
                                              attachment.getName() == network.getMeta().getId());
        if (spans) traceNetwork(service, target, tasks, network);
      }
    }
    if (!traced.empty()) return;
    fail(kj::str("the service '", name, "' is on no network that spans hosts; of its published ",
                 "ports one is traced as :8080"));
  }

  void traceNetwork(schema::Service::Reader service, const Target& target,
                    capnp::List<schema::Task>::Reader tasks, schema::Network::Reader network) {
    traced.push_back(network.getMeta().getId().cStr());
    uint32_t count = 0;
    for (auto task : tasks) {
      for (auto leg : task.getLegs()) {
        if (leg.getNetwork() != network.getMeta().getId() || !serves(task)) continue;
        ++count;
        auto way =
            isStart(task.getNodeId())
                ? kj::str("on ", nodeName(names, start.getMeta().getId()), " itself")
                : kj::str("by VXLAN ", network.getVni(), " to ", addressOfNode(task.getNodeId()));
        row(network.getName(), task, withPort(plain(leg.getAddress()), target.port), kj::mv(way));
      }
    }
    auto name = service.getSpec().getName();
    kj::String address;
    for (auto one : service.getAddresses()) {
      if (one.getNetwork() == network.getMeta().getId()) address = kj::str(one.getAddress());
    }
    if (address.size() == 0) {
      heads.add(kj::str(name, " has no virtual address on ", network.getName(),
                        ": its name stands for the addresses of its tasks, another one first each ",
                        "time"));
      return;
    }
    heads.add(kj::str(withPort(address, target.port), " on ", network.getName(),
                      " is the virtual address of ", name, "; ",
                      chosen(service.getSpec().getEndpoint(), count)));
  }

  // Of a published port without an `endpoint`.
  kj::String chosen(kj::Maybe<schema::EndpointSpec::Reader> endpoint, uint32_t count) {
    auto node = nodeName(names, start.getMeta().getId());
    if (count == 0) return kj::str("no task of it serves, and ", node, " refuses at once");
    auto whom = kj::str("the next of ", count);
    kj::String by, stays;
    KJ_IF_MAYBE (spec, endpoint) {
      auto balancer = start.getDescription().getBalancer();
      using Algorithm = schema::EndpointSpec::Algorithm;
      if (spec->getAlgorithm() == Algorithm::SH) {
        whom = kj::str("one of ", count, " that hangs on the client's address");
      } else if (spec->getAlgorithm() == Algorithm::LC && balancer == "ipvs") {
        whom = kj::str("the one of ", count, " with the fewest connections");
      }
      if (balancer.size() > 0) by = kj::str(", by ", balancer);
      uint64_t ms = spec->getPersistenceMs();
      if (ms > 0)
        stays = kj::str(", a client's next one within ", durationText(ms), " to the same");
    }
    return kj::str(node, " leads a new connection to ", whom, stays, by);
  }

  // Only of the nodes on the way.
  Task<void> checkKernels(schema::ClusterControl::Client cluster, std::string network,
                          bool published) {
    auto request = cluster.checkNetworksRequest();
    request.setId(network.c_str());
    auto answer = co_await request.send();
    involved.push_back(nodeName(names, start.getMeta().getId()).cStr());
    auto isOnWay = [&](kj::StringPtr name) {
      for (auto& node : involved) {
        if (name == node.c_str()) return true;
      }
      return false;
    };
    uint32_t before = wrong;
    for (auto one : answer.getFindings()) {
      if (!isOnWay(one.getNode()) || (published && one.getNetwork().size() > 0)) continue;
      ++wrong;
      if (quiet) continue;
      auto orNothing = [](kj::StringPtr text) { return text.size() > 0 ? text : "nothing"_kj; };
      context.out.error(kj::str("warning: on ", one.getNode(), " ", one.getObject(), " is ",
                                orNothing(one.getFound()), ", not ", orNothing(one.getExpected())));
    }
    for (auto text : answer.getMissing()) {
      context.out.error(kj::str("warning: not all is known of node ", text));
    }
    if (wrong == before) say("the kernels on its way have it so");
  }

  Context& context;
  Listing list;
  bool quiet;
  bool forPeople;
  schema::Node::Reader start;
  capnp::List<schema::Node>::Reader nodes;
  NodeNames names;
  kj::Vector<kj::String> heads;
  std::vector<std::string> traced;    // ids of networks; empty: published ports
  std::vector<std::string> involved;  // names of nodes
  uint32_t rows = 0;
  uint32_t wrong = 0;
};

Task<int> traceNetwork(Context& context) {
  Trace trace(context);
  co_return co_await trace.run();
}

}  // namespace

const Command NETWORK_TRACE = {
    "network trace", "TARGET",
    "Show which tasks a connection to a service or port goes to, and how", NETWORK_TRACE_OPTIONS,
    traceNetwork};

}  // namespace orch::cli
