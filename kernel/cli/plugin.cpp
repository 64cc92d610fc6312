#include <string_view>

#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "human.h"
#include "inspect.h"
#include "orchd.h"

namespace orch::cli {

namespace {

constexpr Option PLUGIN_LS_OPTIONS[] = {
    {"-q,--quiet", nullptr, "Print ids only"},
};

kj::String stateOf(schema::PluginStatus::Reader plugin) {
  switch (plugin.getState()) {
    case schema::PluginStatus::State::WAITING:
      return kj::str("Waiting");
    case schema::PluginStatus::State::STARTING:
      return kj::str("Starting");
    case schema::PluginStatus::State::RUNNING:
      return kj::str("Running");
    case schema::PluginStatus::State::STOPPING:
      return kj::str("Stopping");
    case schema::PluginStatus::State::STOPPED:
      return kj::str("Stopped");
    case schema::PluginStatus::State::FAILED:
      return kj::str("Failed");
  }
  return kj::str("Unknown");
}

Task<int> listPlugins(Context& context) {
  auto kernel = co_await context.connection.kernel();
  auto request = kernel.pluginsRequest();
  auto response = co_await request.send();
  if (context.out.json) {
    context.out.document(capnp::toDynamic(response.getPlugins()));
    co_return 0;
  }
  Table table(
      {"ID", "VERSION", "STATE", "ISOLATION", "RESTARTS", "MEMORY", "CALLS", "P99", "REASON"});
  for (auto plugin : response.getPlugins()) {
    if (context.args.on("--quiet")) {
      context.out.line(plugin.getId());
      continue;
    }
    auto isolation = plugin.getIsolation().size() == 0 ? "-"_kj : plugin.getIsolation();
    auto memory = plugin.getMemoryBytes() == 0 ? kj::str("-") : binarySize(plugin.getMemoryBytes());
    auto p99 = plugin.getCalls() == 0 ? kj::str("-") : shortDuration(plugin.getCallP99Us());
    table.row(kj::arr(kj::str(plugin.getId()), kj::str(plugin.getVersion()), stateOf(plugin),
                      kj::str(isolation), kj::str(plugin.getRestarts()), kj::mv(memory),
                      kj::str(plugin.getCalls()), kj::mv(p99), kj::str(plugin.getReason())));
  }
  if (!context.args.on("--quiet")) context.out.table(table);
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
  auto request = kernel.pluginsRequest();
  auto response = co_await request.send();
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

const Command PLUGIN_LS = {"plugin ls",       "",         0, 0, "List the plugins of the node",
                           PLUGIN_LS_OPTIONS, listPlugins};
const Command PLUGIN_INSPECT = {
    "plugin inspect",
    "PLUGIN...|FILE",
    1,
    ANY_NUMBER,
    "Show all that is known of plugins, or what a plugin's file says of itself",
    INSPECT_OPTIONS,
    inspectPlugin,
    Operands::plugin};

}  // namespace orch::cli
