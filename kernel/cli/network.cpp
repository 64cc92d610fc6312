#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "filter.h"
#include "human.h"
#include "inspect.h"

namespace orch::cli {

namespace {

constexpr Option NETWORK_LS_OPTIONS[] = {
    {"-f,--filter", "FILTER", "Show only what matches: id=…, name=…, driver=…, scope=…", true},
    {"-q,--quiet", nullptr, "Print ids only"},
    {"--no-trunc", nullptr, "Do not shorten ids"},
};

Task<int> listNetworks(Context& context) {
  Filters filters(context.args, {"id", "name", "driver", "scope"});
  auto cluster = co_await context.connection.cluster();
  auto request = cluster.networksRequest();
  auto response = co_await request.send();
  bool whole = context.args.on("--no-trunc");
  Table table({"NETWORK ID", "NAME", "DRIVER", "SCOPE", "SUBNET"});
  kj::Vector<kj::String> documents;
  for (auto network : response.getNetworks()) {
    kj::StringPtr id = network.getMeta().getId();
    bool shown =
        filters.allow("id", [&](auto value) { return id.startsWith(value); }) &&
        filters.allow("name", [&](auto value) { return contains(network.getName(), value); }) &&
        filters.allow("driver", [&](auto value) { return network.getDriver() == value; }) &&
        filters.allow("scope", [&](auto value) { return network.getScope() == value; });
    if (!shown) continue;
    if (context.out.json) {
      documents.add(toJson(capnp::toDynamic(network), true));
    } else if (context.args.on("--quiet")) {
      context.out.line(shortId(id, whole));
    } else {
      table.row(kj::arr(shortId(id, whole), kj::str(network.getName()),
                        kj::str(network.getDriver()), kj::str(network.getScope()),
                        kj::str(network.getSubnet())));
    }
  }
  if (context.out.json) {
    context.out.documents(documents);
  } else if (!context.args.on("--quiet")) {
    context.out.table(table);
  }
  co_return 0;
}

Task<int> inspectNetworks(Context& context) {
  Inspection inspection(context);
  auto cluster = co_await context.connection.cluster();
  for (auto& name : context.args.operands()) {
    auto request = cluster.networkRequest();
    request.setId(name);
    auto response = co_await attempt(request.send());
    if (response.ok()) {
      inspection.found(capnp::toDynamic(response.value().getNetwork()));
    } else {
      inspection.missing(response.error());
    }
  }
  co_return inspection.finish();
}

}  // namespace

const Command NETWORK_LS = {"network ls",       "",          0, 0, "List networks",
                            NETWORK_LS_OPTIONS, listNetworks};
const Command NETWORK_INSPECT = {"network inspect",
                                 "NETWORK...",
                                 1,
                                 ANY_NUMBER,
                                 "Show all that is known of one or more networks",
                                 INSPECT_OPTIONS,
                                 inspectNetworks,
                                 Operands::network};

}  // namespace orch::cli
