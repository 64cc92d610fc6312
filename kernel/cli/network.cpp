#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "filter.h"
#include "inspect.h"
#include "listing.h"

namespace orch::cli {

namespace {

constexpr Option NETWORK_LS_OPTIONS[] = {
    {"-f,--filter", "FILTER",
     "Only what matches: id=, name= (or a part of it), driver=, scope=", true},
    ORCH_LIST_OPTIONS  //
};
constexpr Column NETWORK_COLUMNS[] = {{"ID", "NETWORK ID"},
                                      {"Name", "NAME"},
                                      {"Driver", "DRIVER"},
                                      {"Scope", "SCOPE"},
                                      {"Subnet", "SUBNET"}};

Task<int> listNetworks(Context& context) {
  Filters filters(context.args, {"id", "name", "driver", "scope"});
  Listing list(context, NETWORK_COLUMNS);
  auto cluster = co_await context.connection.cluster();
  auto response = co_await cluster.networksRequest().send();
  for (auto network : response.getNetworks()) {
    bool shown = filters.allowPrefix("id", network.getMeta().getId()) &&
                 filters.allowPart("name", network.getName()) &&
                 filters.allowSame("driver", network.getDriver()) &&
                 filters.allowSame("scope", network.getScope());
    if (!shown) continue;
    auto id = list.id(network.getMeta().getId());
    list.row(id, network,
             kj::arr(kj::str(id), kj::str(network.getName()), kj::str(network.getDriver()),
                     kj::str(network.getScope()), kj::str(network.getSubnet())));
  }
  list.finish();
  co_return 0;
}

}  // namespace

const Command NETWORK_LS = {"network ls", "", "List networks", NETWORK_LS_OPTIONS, listNetworks};
const Command NETWORK_INSPECT = {
    "network inspect", "NETWORK...", "Show all that is known of one or more networks",
    INSPECT_OPTIONS,
    inspectInCluster<&schema::ClusterControl::Client::networkRequest,
                     &schema::ClusterControl::NetworkResults::Reader::getNetwork>};

}  // namespace orch::cli
