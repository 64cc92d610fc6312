// The bash completion: a small script that asks this program what may come next, so that it always
// knows the flags of the version that is installed.
#include <set>
#include <string>

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
  } else if (kind == Operands::volume) {
    auto cluster = co_await context.connection.cluster();
    auto request = cluster.volumesRequest();
    auto answer = co_await request.send();
    for (auto volume : answer.getVolumes()) found.add(kj::str(volume.getName()));
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
  } else if (kind == Operands::strategy) {
    auto kernel = co_await context.connection.kernel();
    auto request = kernel.pluginsRequest();
    auto answer = co_await request.send();
    for (auto plugin : answer.getPlugins()) {
      if (plugin.getId().startsWith("scheduler.")) found.add(kj::str(plugin.getId().slice(10)));
    }
  } else if (kind == Operands::runtime) {
    auto cluster = co_await context.connection.cluster();
    auto request = cluster.nodesRequest();
    auto answer = co_await request.send();
    std::set<std::string> once;
    for (auto node : answer.getNodes()) {
      for (auto name : node.getDescription().getRuntimes()) once.insert(name.cStr());
    }
    for (auto& name : once) found.add(kj::str(name.c_str()));
  }
  co_return kj::mv(found);
}

// By what help calls the value of an option.
Operands kindOfValue(kj::StringPtr value) {
  if (value == "IMAGE") return Operands::image;
  if (value == "NETWORK") return Operands::network;
  if (value == "RUNTIME") return Operands::runtime;
  if (value == "STRATEGY") return Operands::strategy;
  return Operands::none;
}

// Without the `=` of `--network=br`, which bash makes a word of its own.
kj::Vector<kj::String> wordsOf(kj::ArrayPtr<const kj::String> typed) {
  kj::Vector<kj::String> words;
  for (size_t i = 0; i < typed.size(); ++i) {
    bool last = i + 1 == typed.size();
    if (typed[i] != "=" || i == 0) {
      words.add(kj::str(typed[i]));
    } else if (last) {
      words.add(kj::String());
    }
  }
  return words;
}

Task<int> complete(Context& context) {
  auto words = wordsOf(context.args.operands());
  auto fixed = completions(words);
  context.out.write(fixed);
  kj::StringPtr current = words.size() > 0 ? kj::StringPtr(words.back()) : ""_kj;
  if (fixed.size() > 0 || current.startsWith("-")) co_return 0;
  auto found = attemptNow([&] { return findCommand(words); });
  if (!found.ok()) co_return 0;
  auto& command = *found.value().command;
  auto option = valueAwaited(command, words.asPtr().slice(found.value().words, words.size()));
  auto kind = option == nullptr ? command.kind : kindOfValue(option->value);
  if (kind == Operands::none) co_return 0;
  auto asked = names(context, kind).promise();
  auto answer = co_await attempt(context.env.timer().timeoutAfter(PATIENCE, kj::mv(asked)));
  if (!answer.ok()) co_return 0;
  for (auto& name : answer.value()) {
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
