#include <string_view>

#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "display.h"
#include "human.h"
#include "inspect.h"
#include "listing.h"
#include "orchd.h"

namespace orch::cli {

namespace {

constexpr Option PLUGIN_LS_OPTIONS[] = {ORCH_LIST_OPTIONS};
constexpr Column PLUGIN_COLUMNS[] = {{"ID", "ID"},
                                     {"Version", "VERSION"},
                                     {"State", "STATE"},
                                     {"Isolation", "ISOLATION"},
                                     {"Restarts", "RESTARTS"},
                                     {"Memory", "MEMORY"},
                                     {"Calls", "CALLS"},
                                     {"P99", "P99"},
                                     {"Reason", "REASON"}};

Task<int> listPlugins(Context& context) {
  Listing list(context, PLUGIN_COLUMNS);
  auto kernel = co_await context.connection.kernel();
  auto response = co_await kernel.pluginsRequest().send();
  for (auto plugin : response.getPlugins()) {
    auto memory = plugin.getMemoryBytes() == 0 ? kj::str("-") : binarySize(plugin.getMemoryBytes());
    auto p99 = plugin.getCalls() == 0 ? kj::str("-") : shortDuration(plugin.getCallP99Us());
    list.row(
        plugin.getId(), plugin,
        kj::arr(kj::str(plugin.getId()), kj::str(plugin.getVersion()),
                capitalized(nameOf(plugin.getState())),
                plugin.getIsolation().size() == 0 ? kj::str("-") : kj::str(plugin.getIsolation()),
                kj::str(plugin.getRestarts()), kj::mv(memory), kj::str(plugin.getCalls()),
                kj::mv(p99), kj::str(plugin.getReason())));
  }
  list.finish();
  co_return 0;
}

bool isFile(kj::StringPtr operand) {
  return operand.findFirst('/') != nullptr || operand.endsWith(".so");
}

Task<int> inspectPlugin(Context& context) {
  auto operands = context.args.operands();
  if (operands.size() == 1 && isFile(operands[0])) {
    kj::Vector<kj::String> arguments;
    if (context.out.json) arguments.add(kj::str("--json"));
    arguments.add(kj::str("--inspect"));
    arguments.add(kj::str(operands[0]));
    becomeOrchd(arguments.releaseAsArray());
  }
  Inspection inspection(context);
  auto kernel = co_await context.connection.kernel();
  auto response = co_await kernel.pluginsRequest().send();
  for (auto& name : operands) {
    bool found = false;
    kj::Vector<kj::String> known;
    for (auto plugin : response.getPlugins()) {
      known.add(kj::str(plugin.getId()));
      if (plugin.getId() != name) continue;
      inspection.found(capnp::toDynamic(plugin));
      found = true;
    }
    if (found) continue;
    auto missing = attemptNow([&] {
      fail(kj::str("no plugin '", name, "' in the manifest; there are ", kj::strArray(known, ", "),
                   "; for a file give its path"));
    });
    inspection.missing(missing.error());
  }
  co_return inspection.finish();
}

}  // namespace

const Command PLUGIN_LS = {"plugin ls", "", "List the plugins of the node", PLUGIN_LS_OPTIONS,
                           listPlugins};
const Command PLUGIN_INSPECT = {
    "plugin inspect", "PLUGIN...|FILE",
    "Show all that is known of plugins, or what a plugin's file says of itself", INSPECT_OPTIONS,
    inspectPlugin};

}  // namespace orch::cli
