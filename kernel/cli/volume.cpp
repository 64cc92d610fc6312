#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "filter.h"
#include "human.h"
#include "inspect.h"
#include "listing.h"

namespace orch::cli {

namespace {

constexpr Option VOLUME_LS_OPTIONS[] = {
    {"-f,--filter", "FILTER",
     "Only what matches: name= (or a part of it), driver=, node=, dangling=true|false", true},
    ORCH_LIST_OPTIONS  //
};
constexpr Option VOLUME_RM_OPTIONS[] = {
    {"-f,--force", nullptr, "One that is not there is no error"},
};
constexpr Option VOLUME_PRUNE_OPTIONS[] = {
    {"-a,--all", nullptr, "All that no task uses; needed, as all volumes here have names"},
    {"-f,--force", nullptr, "Do not ask"},
};
constexpr Column VOLUME_COLUMNS[] = {
    {"Driver", "DRIVER"}, {"Name", "VOLUME NAME"}, {"Node", "NODE"},     {"Mountpoint", nullptr},
    {"Scope", nullptr},   {"CreatedAt", nullptr},  {"UsedBy", "USED BY"}};

void tellMissing(Output& out, capnp::List<capnp::Text>::Reader missing) {
  for (auto text : missing) out.error(kj::str("warning: nothing is known of node ", text));
}

Task<int> listVolumes(Context& context) {
  Filters filters(context.args, {"name", "driver", "node", {"dangling", "true|false"}});
  Listing list(context, VOLUME_COLUMNS);
  auto cluster = co_await context.connection.cluster();
  auto response = co_await cluster.volumesRequest().send();
  for (auto volume : response.getVolumes()) {
    bool shown = filters.allowPart("name", volume.getName()) &&
                 filters.allowSame("driver", volume.getDriver()) &&
                 filters.allowSame("node", volume.getNode()) &&
                 filters.allowSame("dangling", volume.getUsedBy().size() == 0 ? "true" : "false");
    if (!shown) continue;
    auto users = KJ_MAP(user, volume.getUsedBy()) { return kj::str(user); };
    bool dated = volume.getCreatedAtNs() != 0;
    list.row(volume.getName(), volume,
             kj::arr(kj::str(volume.getDriver()), kj::str(volume.getName()),
                     kj::str(volume.getNode()), kj::str(volume.getPath()), kj::str("local"),
                     dated ? timestamp(volume.getCreatedAtNs()) : kj::str("N/A"),
                     kj::strArray(users, ", ")));
  }
  list.finish();
  tellMissing(context.out, response.getMissing());
  co_return 0;
}

Task<int> inspectVolumes(Context& context) {
  Inspection inspection(context);
  auto cluster = co_await context.connection.cluster();
  auto response = co_await cluster.volumesRequest().send();
  tellMissing(context.out, response.getMissing());
  for (auto& name : context.args.operands()) {
    bool found = false;
    for (auto volume : response.getVolumes()) {
      if (volume.getName() != name) continue;
      inspection.found(capnp::toDynamic(volume));
      found = true;
    }
    if (found) continue;
    auto missing =
        attemptNow([&] { fail(kj::str("no volume '", name, "'; see 'orch volume ls'")); });
    inspection.missing(missing.error());
  }
  co_return inspection.finish();
}

Task<int> removeVolumes(Context& context) {
  auto cluster = co_await context.connection.cluster();
  kj::Vector<kj::String> removed;
  for (auto& name : context.args.operands()) {
    auto request = cluster.removeVolumeRequest();
    request.setName(name);
    auto answer = co_await attempt(request.send());
    bool none = !answer.ok() && plainText(answer.error()).startsWith("no volume ");
    if (answer.ok()) {
      removed.add(kj::str(name));
    } else if (!none || !context.args.on("--force")) {
      context.failed(answer.error());
    }
  }
  context.out.names(removed);
  co_return context.status;
}

Task<int> pruneVolumes(Context& context) {
  if (!context.args.on("--all")) {
    fail(
        kj::str("usage: all volumes here have names: 'orch volume prune --all' removes those that "
                "no task uses, with what is in them"));
  }
  checkAgreed(context, "all volumes that no task uses, with what is in them");
  auto cluster = co_await context.connection.cluster();
  auto response = co_await cluster.pruneVolumesRequest().send();
  if (!context.out.wroteJson(capnp::toDynamic(response.getRemoved()))) {
    for (auto volume : response.getRemoved()) context.out.line(volume.getName());
  }
  tellMissing(context.out, response.getMissing());
  co_return 0;
}

}  // namespace

const Command VOLUME_LS = {"volume ls", "", "List the volumes of the nodes", VOLUME_LS_OPTIONS,
                           listVolumes};
const Command VOLUME_INSPECT = {"volume inspect", "VOLUME...",
                                "Show all that is known of one or more volumes", INSPECT_OPTIONS,
                                inspectVolumes};
const Command VOLUME_RM = {"volume rm", "VOLUME...", "Remove one or more volumes",
                           VOLUME_RM_OPTIONS, removeVolumes};
const Command VOLUME_PRUNE = {"volume prune", "", "Remove volumes that no task uses",
                              VOLUME_PRUNE_OPTIONS, pruneVolumes};

}  // namespace orch::cli
