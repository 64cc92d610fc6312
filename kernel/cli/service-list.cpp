#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "display.h"
#include "filter.h"
#include "human.h"
#include "output.h"

namespace orch::cli {

namespace {

constexpr Option OPTIONS[] = {
    {"-f,--filter", "FILTER", "Show only what matches: id=…, name=…, mode=…", true},
    {"-q,--quiet", nullptr, "Print ids only"},
    {"--no-trunc", nullptr, "Do not shorten ids"},
};

Task<int> run(Context& context) {
  Filters filters(context.args, {"id", "name", "mode"});
  auto cluster = co_await context.connection.cluster();
  auto request = cluster.servicesRequest();
  auto response = co_await request.send();
  auto shown = [&](schema::ServiceRow::Reader row) {
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
                      kj::str(row.getRunning(), "/", row.getDesired()), kj::str(row.getImage()),
                      portsText(row.getPorts())));
  }
  if (!context.args.on("--quiet")) context.out.table(table);
  co_return 0;
}

}  // namespace

const Command SERVICE_LS = {"service ls", "", 0, 0, "List services", OPTIONS, run};

}  // namespace orch::cli
