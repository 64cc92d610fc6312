#include "service-options.h"

#include "service-change.h"
#include "service-lists.h"

namespace orch::cli {

namespace {

enum class Of { BOTH, CREATE, UPDATE };
struct ServiceFlag {
  const char* group;
  Of of;
  Option option;
};

constexpr ServiceFlag SERVICE_FLAGS[] = {
    {GROUP_FREQUENT, Of::CREATE, {"--name", "NAME", "Name of the service"}},
    {GROUP_FREQUENT, Of::BOTH, {"--replicas", "COUNT", "Number of tasks (default 1)"}},
    {GROUP_FREQUENT, Of::UPDATE, {"--image", "IMAGE", "Image to run"}},
    {GROUP_FREQUENT, Of::UPDATE, {"--args", "COMMAND", "Replace the command, split as by a shell"}},
    {GROUP_FREQUENT, Of::UPDATE, {"--force", nullptr, "Replace the tasks even if nothing changes"}},
    {GROUP_FREQUENT, Of::BOTH, {"--limit-memory", "SIZE", "Limit of memory, such as 64m"}},
    {GROUP_FREQUENT, Of::BOTH, {"--limit-cpu", "CORES", "Limit of cores, such as 0.5"}},
    {GROUP_FREQUENT, Of::BOTH, {"-d,--detach", nullptr, "Do not wait until it has converged"}},
    {GROUP_FREQUENT, Of::BOTH, {"-q,--quiet", nullptr, "Print no progress"}},
    {GROUP_FREQUENT, Of::BOTH, ORCH_VERIFY_OPTION},
    {GROUP_CONTAINER, Of::BOTH, {"--entrypoint", "COMMAND", "Replace the image's entrypoint"}},
    {GROUP_CONTAINER, Of::BOTH, {"-u,--user", "USER", "Name or number[:group] to run as"}},
    {GROUP_CONTAINER, Of::BOTH, {"-w,--workdir", "PATH", "Working directory"}},
    {GROUP_CONTAINER, Of::BOTH, {"--hostname", "NAME", "Host name in the container"}},
    {GROUP_CONTAINER, Of::BOTH, {"--init", nullptr, "An init as process 1 that reaps zombies"}},
    {GROUP_CONTAINER, Of::BOTH, {"-t,--tty", nullptr, "Give the container a terminal"}},
    {GROUP_CONTAINER, Of::BOTH, {"--read-only", nullptr, "Mount the root file system read-only"}},
    {GROUP_CONTAINER, Of::BOTH, {"--cap-add", "CAPABILITY", "Add a Linux capability", true}},
    {GROUP_CONTAINER, Of::BOTH, {"--cap-drop", "CAPABILITY", "Drop a Linux capability", true}},
    {GROUP_CONTAINER, Of::BOTH, {"--stop-signal", "SIGNAL", "Signal that stops the container"}},
    {GROUP_CONTAINER,
     Of::BOTH,
     {"--stop-grace-period", "DURATION", "From the stop signal to SIGKILL (default 10s)"}},
    {GROUP_CONTAINER,
     Of::BOTH,
     {"--runtime", "RUNTIME", "Such as crun (default the node's first)"}},
    {GROUP_CONTAINER,
     Of::BOTH,
     {"--no-resolve-image", nullptr, "Do not pin the tag to the image that it means now"}},
    {GROUP_RESOURCES, Of::BOTH, {"--limit-pids", "COUNT", "Limit of processes (default 0: none)"}},
    {GROUP_RESOURCES,
     Of::BOTH,
     {"--memory-swap", "SIZE", "Limit of memory plus swap, -1 for none"}},
    {GROUP_RESOURCES, Of::BOTH, {"--reserve-cpu", "CORES", "Cores set aside on the node"}},
    {GROUP_RESOURCES, Of::BOTH, {"--reserve-memory", "SIZE", "Memory set aside on the node"}},
    {GROUP_RESOURCES, Of::BOTH, {"--oom-score-adj", "SCORE", "-1000 to 1000"}},
    {GROUP_NETWORK,
     Of::BOTH,
     {"--endpoint-mode", "MODE", "How it is reached (default vip)", false, "vip|dnsrr"}},
    {GROUP_RESTART,
     Of::BOTH,
     {"--restart-condition", "CONDITION", "When to restart (default any)", false,
      "any|on-failure|none"}},
    {GROUP_RESTART,
     Of::BOTH,
     {"--restart-delay", "DURATION", "Between restarts (default 0s at first, then a back-off)"}},
    {GROUP_RESTART,
     Of::BOTH,
     {"--restart-max-attempts", "COUNT", "Restarts before giving up (default 0: no limit)"}},
    {GROUP_RESTART,
     Of::BOTH,
     {"--restart-window", "DURATION", "In which restarts are counted (default 0s: all)"}},
    {GROUP_RESTART,
     Of::BOTH,
     {"--update-parallelism,--parallelism", "COUNT", "Tasks at once (default 1; 0: all)"}},
    {GROUP_RESTART,
     Of::BOTH,
     {"--update-delay,--delay", "DURATION", "Between batches of an update (default 0s)"}},
    {GROUP_RESTART,
     Of::BOTH,
     {"--update-order,--order", "ORDER", "Which task goes first (default stop-first)", false,
      "stop-first|start-first"}},
    {GROUP_RESTART,
     Of::BOTH,
     {"--update-failure-action,--failure-action", "ACTION",
      "When tasks of an update fail (default pause)", false, "pause|continue"}},
    {GROUP_RESTART,
     Of::BOTH,
     {"--update-max-failure-ratio,--max-failure-ratio", "RATIO",
      "Part of the tasks that may fail in an update (default 0)"}},
    {GROUP_RESTART,
     Of::BOTH,
     {"--update-monitor,--monitor", "DURATION",
      "A task that fails within it failed the update (default 5s)"}},
    {GROUP_RESTART,
     Of::BOTH,
     {"--update-progress-deadline", "DURATION",
      "A task not running by then failed the update (default 10m; 0: never)"}},
    {GROUP_PLACEMENT,
     Of::BOTH,
     {"--replicas-max-per-node", "COUNT", "Most tasks on one node (default 0: no limit)"}},
    {GROUP_PLACEMENT, Of::BOTH, {"--strategy", "STRATEGY", "Scheduler that places the tasks"}},
    {GROUP_PLACEMENT,
     Of::CREATE,
     {"--mode", "MODE", "Kind of service (default replicated)", false, "replicated"}},
    {GROUP_PLACEMENT,
     Of::BOTH,
     {"--log-opt", "KEY=VALUE", "max-size=SIZE or max-file=COUNT of the log", true}},
    {GROUP_INEFFECTIVE,
     Of::BOTH,
     {"--log-driver", "DRIVER", "Logs are files, as json-file's", false, "json-file"}},
    {GROUP_INEFFECTIVE, Of::BOTH, {"--isolation", "ISOLATION", "Of Windows", false, "default"}},
    {GROUP_INEFFECTIVE, Of::BOTH, {"--no-healthcheck", nullptr, "There are no health checks yet"}},
    {GROUP_INEFFECTIVE,
     Of::BOTH,
     {"--with-registry-auth", nullptr, "Nodes have their own access to registries"}},
};

// Sorted by group; rows of lists behind the flags with one value. The texts live for ever.
kj::Array<Option> optionsFor(bool create) {
  static kj::Vector<kj::String> texts;
  auto kept = [&](auto&&... parts) { return texts.add(kj::str(parts...)).cStr(); };
  kj::Vector<Option> options;
  const char* groups[] = {GROUP_FREQUENT, GROUP_CONTAINER, GROUP_RESOURCES,  GROUP_NETWORK,
                          GROUP_RESTART,  GROUP_PLACEMENT, GROUP_INEFFECTIVE};
  for (auto group : groups) {
    auto add = [&](Option option) {
      option.group = group;
      options.add(option);
    };
    for (auto& flag : SERVICE_FLAGS) {
      bool other = flag.of == (create ? Of::UPDATE : Of::CREATE);
      if (flag.group == group && !other) add(flag.option);
    }
    for (auto& list : serviceLists()) {
      if (list.group != group || (list.createOnly && !create)) continue;
      if (create) {
        add({list.names, list.value, kept("Add ", list.what), true});
        continue;
      }
      kj::Vector<kj::String> storage;
      auto name = namesOf(Option{list.names}, storage).back();
      add({kept(name, "-add"), list.value, kept("Add or replace ", list.what), true});
      add({kept(name, "-rm"), list.removal, kept("Remove it"), true});
    }
  }
  return options.releaseAsArray();
}

}  // namespace

kj::ArrayPtr<const Option> serviceCreateOptions() {
  static const auto options = optionsFor(true);
  return options;
}

kj::ArrayPtr<const Option> serviceUpdateOptions() {
  static const auto options = optionsFor(false);
  return options;
}

}  // namespace orch::cli
