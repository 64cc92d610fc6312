// The bash completion: a small script that asks this program what may come next, so that it always
// knows the flags of the version that is installed.
#include "arguments.h"
#include "commands.h"
#include "completion-script.h"
#include "connection.h"
#include "output.h"

namespace orch::cli {

namespace {

// A completion that is late is worse than none.
constexpr kj::Duration PATIENCE = 500 * kj::MILLISECONDS;

Task<int> bash(Context& context) {
  if (context.out.json) fail(kj::str("usage: 'orch completion bash' has no --json"));
  context.out.write(kj::StringPtr(COMPLETION_SCRIPT));
  co_return 0;
}

// Names of what a command works on, as the cluster knows them.
Task<kj::Vector<kj::String>> names(Context& context, Operands kind) {
  kj::Vector<kj::String> found;
  if (kind == Operands::service) {
    auto cluster = co_await context.connection.cluster();
    auto request = cluster.servicesRequest();
    auto answer = co_await request.send();
    for (auto row : answer.getServices()) found.add(kj::str(row.getName()));
  } else if (kind == Operands::node) {
    auto cluster = co_await context.connection.cluster();
    auto request = cluster.nodesRequest();
    auto answer = co_await request.send();
    found.add(kj::str("self"));
    for (auto node : answer.getNodes()) found.add(kj::str(node.getDescription().getHostname()));
  } else if (kind == Operands::task) {
    auto cluster = co_await context.connection.cluster();
    auto request = cluster.tasksRequest();
    auto answer = co_await request.send();
    for (auto task : answer.getTasks()) found.add(kj::str(task.getMeta().getId()));
  } else if (kind == Operands::network) {
    auto cluster = co_await context.connection.cluster();
    auto request = cluster.networksRequest();
    auto answer = co_await request.send();
    for (auto network : answer.getNetworks()) found.add(kj::str(network.getName()));
  } else if (kind == Operands::image) {
    auto images = co_await context.connection.images();
    auto request = images.listRequest();
    auto answer = co_await request.send();
    for (auto image : answer.getImages()) {
      for (auto name : image.getReferences()) found.add(kj::str(name));
    }
  } else if (kind == Operands::plugin) {
    auto kernel = co_await context.connection.kernel();
    auto request = kernel.pluginsRequest();
    auto answer = co_await request.send();
    for (auto plugin : answer.getPlugins()) found.add(kj::str(plugin.getId()));
  }
  co_return kj::mv(found);
}

Task<int> complete(Context& context) {
  auto words = context.args.operands();
  auto fixed = completions(words);
  context.out.write(fixed);
  kj::StringPtr current = words.size() > 0 ? kj::StringPtr(words.back()) : ""_kj;
  if (fixed.size() > 0 || current.startsWith("-")) co_return 0;
  auto command = attemptNow([&] { return findCommand(words).command; });
  if (!command.ok() || command.value()->kind == Operands::none) co_return 0;
  auto asked = names(context, command.value()->kind).promise();
  auto found = co_await attempt(context.env.timer().timeoutAfter(PATIENCE, kj::mv(asked)));
  if (!found.ok()) co_return 0;
  for (auto& name : found.value()) {
    if (name.startsWith(current)) context.out.line(name);
  }
  co_return 0;
}

}  // namespace

const Command COMPLETION_BASH = {
    "completion bash", "",  0, 0, "Print the completion script: source <(orch completion bash)",
    nullptr,           bash};
const Command COMPLETE = {
    "__complete", "[WORD...]",    0,   ANY_NUMBER, "What may come next, one per line", nullptr,
    complete,     Operands::none, true};

}  // namespace orch::cli
