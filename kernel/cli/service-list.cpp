#include <set>
#include <string>

#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "display.h"
#include "filter.h"
#include "human.h"
#include "output.h"

namespace orch::cli {

namespace {

constexpr Option SERVICE_LS_OPTIONS[] = {
    {"-f,--filter", "FILTER",
     "Show only what matches: id=…, name=…, mode=replicated|global, label=…[=…]", true},
    {"-q,--quiet", nullptr, "Print ids only"},
    {"--no-trunc", nullptr, "Do not shorten ids"},
};

kj::String replicasOf(schema::ServiceRow::Reader row) {
  bool paused = row.getUpdateState() == schema::UpdateStatus::State::PAUSED;
  return kj::str(row.getRunning(), "/", row.getDesired(), paused ? " (update paused)" : "");
}

// The ids of the services whose labels the filters allow. Rows have no labels.
Task<std::set<std::string>> labelled(schema::ClusterControl::Client cluster,
                                     capnp::List<schema::ServiceRow>::Reader rows,
                                     const Filters& filters) {
  std::set<std::string> ids;
  kj::Vector<Task<Outcome<capnp::Response<schema::ClusterControl::ServiceResults>>>> asked;
  for (auto row : rows) {
    auto request = cluster.serviceRequest();
    request.setId(row.getId());
    asked.add(attempt(request.send()));
  }
  for (auto& promise : asked) {
    auto answer = co_await kj::mv(promise);
    if (!answer.ok()) continue;  // removed since
    auto service = answer.value().getService();
    if (filters.allowLabels("label", service.getSpec().getLabels())) {
      ids.insert(service.getMeta().getId().cStr());
    }
  }
  co_return kj::mv(ids);
}

Task<int> listServices(Context& context) {
  Filters filters(context.args, {"id", "name", {"mode", "replicated|global"}, "label"});
  auto cluster = co_await context.connection.cluster();
  auto request = cluster.servicesRequest();
  auto response = co_await request.send();
  std::set<std::string> ids;
  bool byLabel = filters.values("label").size() > 0;
  if (byLabel) {
    auto found = co_await labelled(cluster, response.getServices(), filters);
    ids = kj::mv(found);
  }
  auto shown = [&](schema::ServiceRow::Reader row) {
    if (byLabel && ids.count(row.getId().cStr()) == 0) return false;
    return filters.allow("id", [&](auto value) { return row.getId().startsWith(value); }) &&
           filters.allow("name", [&](auto value) { return contains(row.getName(), value); }) &&
           filters.allow("mode", [&](auto value) { return row.getMode() == value; });
  };
  bool whole = context.args.on("--no-trunc");
  if (context.out.json) {
    kj::Vector<kj::String> documents;
    for (auto row : response.getServices()) {
      if (shown(row)) documents.add(toJson(capnp::toDynamic(row), true));
    }
    context.out.documents(documents);
    co_return 0;
  }
  Table table({"ID", "NAME", "MODE", "REPLICAS", "IMAGE", "PORTS"});
  for (auto row : response.getServices()) {
    if (!shown(row)) continue;
    if (context.args.on("--quiet")) {
      context.out.line(shortId(row.getId(), whole));
      continue;
    }
    table.row(kj::arr(shortId(row.getId(), whole), kj::str(row.getName()), kj::str(row.getMode()),
                      replicasOf(row), kj::str(row.getImage()), portsText(row.getPorts())));
  }
  if (!context.args.on("--quiet")) context.out.table(table);
  co_return 0;
}

}  // namespace

const Command SERVICE_LS = {"service ls",       "",          0, 0, "List services",
                            SERVICE_LS_OPTIONS, listServices};

}  // namespace orch::cli
