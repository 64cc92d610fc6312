#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "entry.h"
#include "filter.h"
#include "inspect.h"
#include "listing.h"
#include "orch/attempt.h"
#include "remove-each.h"
#include "value.h"

namespace orch::cli {

namespace {

constexpr Option NETWORK_LS_OPTIONS[] = {
    {"-f,--filter", "FILTER",
     "Only what matches: id=, name= (or a part of it), driver=, scope=, label=, "
     "dangling=true|false",
     true},
    ORCH_LIST_OPTIONS  //
};
constexpr Column NETWORK_COLUMNS[] = {
    {"ID", "NETWORK ID"}, {"Name", "NAME"},  {"Driver", "DRIVER"},  {"Scope", "SCOPE"},
    {"Subnet", "SUBNET"}, {"IPv6", nullptr}, {"Internal", nullptr}, {"Labels", nullptr}};

// `a=b,c=d`, as docker.
kj::String labelsText(capnp::List<schema::KeyValue>::Reader labels) {
  auto texts = KJ_MAP(label, labels) { return kj::str(label.getKey(), "=", label.getValue()); };
  return kj::strArray(texts, ",");
}

// `10.0.1.0/24, fd00:1::/64`
kj::String subnetsOf(schema::Network::Reader network) {
  auto subnet6 = network.getSubnet6();
  return kj::str(network.getSubnet(), subnet6.size() > 0 ? ", " : "", subnet6);
}

// Whether users made it, and nobody is on it.
Task<bool> isDangling(schema::ClusterControl::Client cluster, schema::Network::Reader network) {
  if (network.getScope() == "local") co_return false;
  auto request = cluster.networkRequest();
  request.setId(network.getMeta().getId());
  auto asked = co_await attempt(request.send());
  if (!asked.ok()) co_return false;  // it was removed just now
  auto found = asked.value().getNetwork();
  co_return found.getServices().size() == 0 && found.getTasks().size() == 0;
}

Task<int> listNetworks(Context& context) {
  Filters filters(context.args,
                  {"id", "name", "driver", "scope", "label", {"dangling", "true|false"}});
  Listing list(context, NETWORK_COLUMNS);
  auto cluster = co_await context.connection.cluster();
  auto response = co_await cluster.networksRequest().send();
  context.connection.noteAge(response);
  for (auto network : response.getNetworks()) {
    bool shown = filters.allowPrefix("id", network.getMeta().getId()) &&
                 filters.allowPart("name", network.getName()) &&
                 filters.allowSame("driver", network.getDriver()) &&
                 filters.allowSame("scope", network.getScope()) &&
                 filters.allowLabels("label", network.getLabels());
    if (shown && filters.values("dangling").size() > 0) {
      bool dangling = co_await isDangling(cluster, network);
      shown = filters.allowSame("dangling", kj::str(dangling));
    }
    if (!shown) continue;
    auto id = list.id(network.getMeta().getId());
    list.row(id, network,
             kj::arr(kj::str(id), kj::str(network.getName()), kj::str(network.getDriver()),
                     kj::str(network.getScope()), subnetsOf(network),
                     kj::str(network.getSubnet6().size() > 0), kj::str(network.getInternal()),
                     labelsText(network.getLabels())));
  }
  list.finish();
  co_return 0;
}

constexpr Option NETWORK_PRUNE_OPTIONS[] = {
    {"-f,--force", nullptr, "Do not ask"},
    {"--filter", "FILTER", "Only what matches: label=", true},
};

constexpr Option NETWORK_CREATE_OPTIONS[] = {
    {"-d,--driver", "DRIVER", "What it is made by: overlay (the default)"},
    {"--ipv6", nullptr, "Addresses of IPv6, too: of a --subnet, or of one that is chosen"},
    {"--subnet", "SUBNET",
     "Its addresses, such as 10.1.0.0/24; else of the cluster's pools. With --ipv6 once more, such "
     "as fd00:1::/64",
     true},
    {"--gateway", "ADDRESS", "Of the subnet; its first one by default. One of each kind", true},
    {"--ip-range", "SUBNET", "The part of the subnet that tasks get addresses of. One of each kind",
     true},
    {"--aux-address", "NAME=ADDRESS", "An address that no task gets, of either kind", true},
    {"-o,--opt", "KEY=VALUE",
     "An option of the driver: encrypted, com.docker.network.driver.mtu=1400", true},
    {"--label", "KEY=VALUE", "A label", true},
    {"--attachable", nullptr, "Containers that are no tasks may join it"},
    {"--internal", nullptr, "No way out of it"},
    {"--scope", "SCOPE", "Only swarm: its networks span hosts"},
};

constexpr kj::StringPtr UNKNOWN_NETWORK =
    "whether the change was made is unknown: look with 'orch network ls', then ask again"_kj;

void fillPairs(Context& context, kj::StringPtr flag, capnp::List<schema::KeyValue>::Builder list) {
  uint32_t i = 0;
  for (auto& value : context.args.values(flag)) {
    auto pair = parseLabel(flag, value);
    list[i].setKey(pair.key);
    list[i++].setValue(pair.value);
  }
}

// As docker, which takes them in any order.
struct OfEachKind {
  kj::StringPtr ipv4 = "";
  kj::StringPtr ipv6 = "";
};
OfEachKind byKind(const Arguments& args, kj::StringPtr flag) {
  OfEachKind found;
  for (auto& value : args.values(flag)) {
    auto& kind = value.findFirst(':') == nullptr ? found.ipv4 : found.ipv6;
    if (kind.size() > 0) badValue(flag, value, "one of IPv4, and one of IPv6");
    kind = value;
  }
  return found;
}

void fillNetwork(Context& context, schema::Network::Builder network) {
  auto& args = context.args;
  if (args.given("--scope") && args.text("--scope") != "swarm") {
    badValue("--scope", args.text("--scope"), "swarm");
  }
  network.setName(args.operands()[0]);
  network.setDriver(args.text("--driver"));
  auto subnets = byKind(args, "--subnet");
  network.setSubnet(subnets.ipv4);
  network.setSubnet6(subnets.ipv6);
  auto gateways = byKind(args, "--gateway");
  network.setGateway(gateways.ipv4);
  network.setGateway6(gateways.ipv6);
  auto ranges = byKind(args, "--ip-range");
  network.setIpRange(ranges.ipv4);
  network.setIpRange6(ranges.ipv6);
  network.setIpv6(args.on("--ipv6"));
  network.setInternal(args.on("--internal"));
  network.setAttachable(args.on("--attachable"));
  auto count = [&](kj::StringPtr flag) { return static_cast<unsigned>(args.values(flag).size()); };
  fillPairs(context, "--label", network.initLabels(count("--label")));
  fillPairs(context, "--opt", network.initOptions(count("--opt")));
  fillPairs(context, "--aux-address", network.initReserved(count("--aux-address")));
}

Task<int> createNetwork(Context& context) {
  auto requestId = context.env.newId();
  auto creating = context.connection.change<schema::ClusterControl::CreateNetworkResults>(
      [&](schema::ClusterControl::Client& cluster) {
        auto request = cluster.createNetworkRequest();
        request.setRequestId(requestId);
        fillNetwork(context, request.initNetwork());
        return request.send();
      },
      UNKNOWN_NETWORK);
  auto created = co_await kj::mv(creating);
  context.out.line(created.getNetwork().getMeta().getId());
  co_return 0;
}

Task<int> removeNetworks(Context& context) {
  auto make = [](schema::ClusterControl::Client& cluster, kj::StringPtr name) {
    auto request = cluster.removeNetworkRequest();
    request.setId(name);
    return request;
  };
  return removeEach<schema::ClusterControl::RemoveNetworkResults>(context, make, UNKNOWN_NETWORK);
}

Task<int> pruneNetworks(Context& context) {
  Filters filters(context.args, {"label"});
  checkAgreed(context, "all networks that no service is on");
  auto cluster = co_await context.connection.cluster();
  auto listed = co_await cluster.networksRequest().send();
  kj::Vector<kj::String> ids;
  for (auto network : listed.getNetworks()) {
    bool meant = network.getScope() != "local" && filters.allowLabels("label", network.getLabels());
    if (meant) ids.add(kj::str(network.getMeta().getId()));
  }
  auto requestId = context.env.newId();
  auto pruning = context.connection.change<schema::ClusterControl::PruneNetworksResults>(
      [&](schema::ClusterControl::Client& cluster) {
        auto request = cluster.pruneNetworksRequest();
        request.setRequestId(requestId);
        auto list = request.initIds(static_cast<unsigned>(ids.size()));
        for (unsigned i = 0; i < list.size(); ++i) list.set(i, ids[i]);
        return request.send();
      },
      UNKNOWN_NETWORK);
  auto pruned = co_await kj::mv(pruning);
  kj::Vector<kj::String> removed;
  for (auto name : pruned.getRemoved()) removed.add(kj::str(name));
  context.out.names(removed);
  co_return 0;
}

}  // namespace

const Command NETWORK_PRUNE = {"network prune", "", "Remove networks that no service is on",
                               NETWORK_PRUNE_OPTIONS, pruneNetworks};
const Command NETWORK_CREATE = {"network create", "NETWORK", "Create a network that spans hosts",
                                NETWORK_CREATE_OPTIONS, createNetwork};
const Command NETWORK_RM = {"network rm", "NETWORK...", "Remove one or more networks", nullptr,
                            removeNetworks};
const Command NETWORK_LS = {"network ls", "", "List networks", NETWORK_LS_OPTIONS, listNetworks};
const Command NETWORK_INSPECT = {
    "network inspect", "NETWORK...", "Show all that is known of one or more networks",
    INSPECT_OPTIONS,
    inspectInCluster<&schema::ClusterControl::Client::networkRequest,
                     &schema::ClusterControl::NetworkResults::Reader::getNetwork>};

}  // namespace orch::cli
