// The bash completion: a small script that asks this program what may come next, so that it always
// knows the flags of the version that is installed.
#include <algorithm>
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
constexpr kj::StringPtr SCHEDULER = "scheduler."_kj;

Task<int> bash(Context& context) {
  if (context.out.json) fail(kj::str("usage: 'orch completion bash' has no --json"));
  context.out.write(kj::StringPtr(COMPLETION_SCRIPT));
  co_return 0;
}

// Names of what help calls `kind`, as the cluster knows them.
Task<kj::Vector<kj::String>> names(Context& context, std::string kind) {
  kj::Vector<kj::String> found;
  auto add = [&](kj::StringPtr name) { found.add(kj::str(name)); };
  auto cluster = co_await context.connection.cluster();
  if (kind == "SERVICE") {
    auto answer = co_await cluster.servicesRequest().send();
    for (auto row : answer.getServices()) add(row.getName());
  } else if (kind == "NODE") {
    auto answer = co_await cluster.nodesRequest().send();
    add("self");
    for (auto node : answer.getNodes()) add(node.getDescription().getHostname());
  } else if (kind == "TASK") {
    auto answer = co_await cluster.tasksRequest().send();
    for (auto task : answer.getTasks()) add(task.getMeta().getId());
  } else if (kind == "NETWORK") {
    auto answer = co_await cluster.networksRequest().send();
    for (auto network : answer.getNetworks()) add(network.getName());
  } else if (kind == "VOLUME") {
    auto answer = co_await cluster.volumesRequest().send();
    for (auto volume : answer.getVolumes()) add(volume.getName());
  } else if (kind == "RUNTIME") {
    auto answer = co_await cluster.nodesRequest().send();
    std::set<std::string> once;
    for (auto node : answer.getNodes()) {
      for (auto name : node.getDescription().getRuntimes()) once.insert(name.cStr());
    }
    for (auto& name : once) add(name.c_str());
  } else if (kind == "IMAGE") {
    auto images = co_await context.connection.images();
    auto answer = co_await images.listRequest().send();
    for (auto image : answer.getImages()) {
      for (auto name : image.getReferences()) add(name);
    }
  } else if (kind == "PLUGIN" || kind == "STRATEGY") {
    auto kernel = co_await context.connection.kernel();
    auto answer = co_await kernel.pluginsRequest().send();
    for (auto plugin : answer.getPlugins()) {
      kj::StringPtr id = plugin.getId();
      if (kind == "PLUGIN") add(id);
      if (kind == "STRATEGY" && id.startsWith(SCHEDULER)) add(id.slice(SCHEDULER.size()));
    }
  }
  co_return kj::mv(found);
}

// `SERVICE` of `SERVICE|TASK`, `NODE` of `self|NODE...`.
std::string kindOf(std::string_view written) {
  constexpr const char* CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
  written.remove_prefix(std::min(written.find_first_of(CAPITALS), written.size()));
  return std::string(written.substr(0, written.find_first_not_of(CAPITALS)));
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
  auto kind = kindOf(option == nullptr ? command.operands : option->value);
  if (kind.empty()) co_return 0;
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
    "completion bash", "", "Print the completion script: source <(orch completion bash)", {}, bash};
const Command COMPLETE = {.path = "__complete",
                          .operands = "[WORD...]",
                          .help = "What may come next, one per line",
                          .options = {},
                          .run = complete,
                          .stopsAtOperand = true};

}  // namespace orch::cli
