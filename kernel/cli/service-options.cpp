#include "service-options.h"

#include "service-change.h"
#include "service-lists.h"
#include "value.h"

namespace orch::cli {

namespace {

enum class Of { BOTH, CREATE, UPDATE };
struct ServiceFlag {
  const char* group;
  const char* names;
  const char* value;
  const char* help;
  const char* path = nullptr;  // in the ServiceSpec: `task.runtime`; null: see service-spec.cpp
  const char* choices = nullptr;
  Of of = Of::BOTH;
  bool repeated = false;
};

constexpr ServiceFlag SERVICE_FLAGS[] = {
    {GROUP_FREQUENT, "--name", "NAME", "Name of the service", nullptr, nullptr, Of::CREATE},
    {GROUP_FREQUENT, "--replicas", "COUNT", "Number of tasks; of a job, that complete (default 1)"},
    {GROUP_FREQUENT, "--image", "IMAGE", "Image to run", nullptr, nullptr, Of::UPDATE},
    {GROUP_FREQUENT, "--args", "COMMAND", "Replace the command, split as by a shell", nullptr,
     nullptr, Of::UPDATE},
    {GROUP_FREQUENT, "--force", nullptr, "Replace the tasks even if nothing changes", nullptr,
     nullptr, Of::UPDATE},
    {GROUP_FREQUENT, "--limit-memory", "SIZE", "Limit of memory, such as 64m",
     "task.resources.limitMemoryBytes"},
    {GROUP_FREQUENT, "--limit-cpu", "CORES", "Limit of cores, such as 0.5",
     "task.resources.limitCpuNanos"},
    {GROUP_FREQUENT, "-d,--detach", nullptr, "Do not wait until it has converged"},
    {GROUP_FREQUENT, "-q,--quiet", nullptr, "Print no progress"},
    {GROUP_FREQUENT, VERIFY_OPTION.names, VERIFY_OPTION.value, VERIFY_OPTION.help},
    {GROUP_CONTAINER, "--entrypoint", "COMMAND", "Replace the image's entrypoint"},
    {GROUP_CONTAINER, "-u,--user", "USER", "Name or number[:group] to run as"},
    {GROUP_CONTAINER, "-w,--workdir", "PATH", "Working directory", "task.container.workdir"},
    {GROUP_CONTAINER, "--hostname", "NAME", "Host name in the container",
     "task.container.hostname"},
    {GROUP_CONTAINER, "--init", nullptr, "An init as process 1 that reaps zombies",
     "task.container.init"},
    {GROUP_CONTAINER, "-t,--tty", nullptr, "Give the container a terminal", "task.container.tty"},
    {GROUP_CONTAINER, "-i,--interactive", nullptr,
     "Keep its input open, for whoever attaches; with --tty it is without",
     "task.container.interactive"},
    {GROUP_CONTAINER, "--read-only", nullptr, "Mount the root file system read-only",
     "task.container.readOnly"},
    {GROUP_CONTAINER, "--cap-add", "CAPABILITY", "Add a Linux capability", nullptr, nullptr,
     Of::BOTH, true},
    {GROUP_CONTAINER, "--cap-drop", "CAPABILITY", "Drop a Linux capability", nullptr, nullptr,
     Of::BOTH, true},
    {GROUP_CONTAINER, "--stop-signal", "SIGNAL", "Signal that stops the container",
     "task.container.stopSignal"},
    {GROUP_CONTAINER, "--stop-grace-period", "DURATION",
     "From the stop signal to SIGKILL (default 10s)", "task.container.stopGraceMs"},
    {GROUP_CONTAINER, "--drain-timeout", "DURATION",
     "Before the stop signal, for connections that are under way (default 10s)",
     "task.container.drainMs"},
    {GROUP_CONTAINER, "--health-cmd", "COMMAND",
     "Of a shell in the container: a task runs once it succeeds, and fails once it fails too "
     "often"},
    {GROUP_CONTAINER, "--health-interval", "DURATION",
     "Between two checks (default the image's, else 30s)", "task.container.health.intervalMs"},
    {GROUP_CONTAINER, "--health-timeout", "DURATION",
     "Of one check (default the image's, else 30s)", "task.container.health.timeoutMs"},
    {GROUP_CONTAINER, "--health-retries", "COUNT",
     "Failures in a row that are too many (default the image's, else 3)",
     "task.container.health.retries"},
    {GROUP_CONTAINER, "--health-start-period", "DURATION",
     "In which failures do not count before the first success (default the image's, else 0s)",
     "task.container.health.startPeriodMs"},
    {GROUP_CONTAINER, "--health-start-interval", "DURATION",
     "Between two checks then (default the image's, else 5s)",
     "task.container.health.startIntervalMs"},
    {GROUP_CONTAINER, "--no-healthcheck", nullptr, "Run no check, the image's neither"},
    {GROUP_CONTAINER, "--runtime", "RUNTIME", "Such as crun (default the node's first)",
     "task.runtime"},
    {GROUP_CONTAINER, "--no-resolve-image", nullptr,
     "Do not pin the tag to the image that it means now"},
    {GROUP_CONTAINER, "--with-registry-auth", nullptr,
     "Give the nodes the login of 'orch login' for the image's registry"},
    {GROUP_RESOURCES, "--limit-pids", "COUNT", "Limit of processes (default 0: none)",
     "task.resources.limitPids"},
    {GROUP_RESOURCES, "--memory-swap", "SIZE", "Limit of memory plus swap, -1 for none",
     "task.resources.memorySwapBytes"},
    {GROUP_RESOURCES, "--reserve-cpu", "CORES", "Cores set aside on the node",
     "task.resources.reserveCpuNanos"},
    {GROUP_RESOURCES, "--reserve-memory", "SIZE", "Memory set aside on the node",
     "task.resources.reserveMemoryBytes"},
    {GROUP_RESOURCES, "--oom-score-adj", "SCORE", "-1000 to 1000", "task.container.oomScoreAdj"},
    {GROUP_NETWORK, "--endpoint-mode", "MODE", "How it is reached (default vip)", "endpoint.mode",
     "vip|dnsrr"},
    {GROUP_NETWORK, "--lb-algorithm", "NAME",
     "Which task gets a connection to its virtual address: the next, the one with the fewest "
     "(with IPVS), one by the client's address (default rr)",
     "endpoint.algorithm", "rr|lc|sh"},
    {GROUP_NETWORK, "--lb-persistence", "DURATION",
     "In which a client's next connection to its virtual address goes where its last one went "
     "(default 0s: none)",
     "endpoint.persistenceMs"},
    {GROUP_RESTART, "--restart-condition", "CONDITION",
     "When to restart (default any; of jobs on-failure)", "task.restart.condition",
     "any|on-failure|none"},
    {GROUP_RESTART, "--restart-delay", "DURATION",
     "Between restarts (default 0s at first, then a back-off)", "task.restart.delayMs"},
    {GROUP_RESTART, "--restart-max-attempts", "COUNT",
     "Restarts before giving up (default 0: no limit)", "task.restart.maxAttempts"},
    {GROUP_RESTART, "--restart-window", "DURATION",
     "In which restarts are counted (default 0s: all)", "task.restart.windowMs"},
    {GROUP_RESTART, "--update-parallelism,--parallelism", "COUNT",
     "Tasks at once (default 1; 0: all)", "update.parallelism"},
    {GROUP_RESTART, "--update-delay,--delay", "DURATION",
     "Between batches of an update (default 0s)", "update.delayMs"},
    {GROUP_RESTART, "--update-order,--order", "ORDER", "Which task goes first (default stop-first)",
     "update.order", "stop-first|start-first"},
    {GROUP_RESTART, "--update-failure-action,--failure-action", "ACTION",
     "When tasks of an update fail (default pause)", "update.failureAction",
     "pause|continue|rollback"},
    {GROUP_RESTART, "--update-max-failure-ratio,--max-failure-ratio", "RATIO",
     "Part of the tasks that may fail in an update (default 0)", "update.maxFailureRatio"},
    {GROUP_RESTART, "--update-monitor,--monitor", "DURATION",
     "A task that fails within it failed the update (default 5s)", "update.monitorMs"},
    {GROUP_RESTART, "--update-progress-deadline", "DURATION",
     "A task not running by then failed the update (default 10m; 0: never)",
     "update.progressDeadlineMs"},
    {GROUP_RESTART, "--rollback-parallelism", "COUNT",
     "Tasks at once when it goes back (default 1; 0: all)", "rollback.parallelism"},
    {GROUP_RESTART, "--rollback-delay", "DURATION", "Between batches then (default 0s)",
     "rollback.delayMs"},
    {GROUP_RESTART, "--rollback-order", "ORDER", "Which task goes first then (default stop-first)",
     "rollback.order", "stop-first|start-first"},
    {GROUP_RESTART, "--rollback-failure-action", "ACTION", "When tasks fail then (default pause)",
     "rollback.failureAction", "pause|continue"},
    {GROUP_RESTART, "--rollback-max-failure-ratio", "RATIO",
     "Part of the tasks that may fail then (default 0)", "rollback.maxFailureRatio"},
    {GROUP_RESTART, "--rollback-monitor", "DURATION",
     "A task that fails within it failed (default 5s)", "rollback.monitorMs"},
    {GROUP_PLACEMENT, "--replicas-max-per-node", "COUNT",
     "Most tasks on one node (default 0: no limit)", "task.placement.maxReplicasPerNode"},
    {GROUP_PLACEMENT, "--tolerate-down", "DURATION",
     "Tasks on a node that is down are replaced after so long (default 0s)",
     "task.placement.tolerateDownMs"},
    {GROUP_PLACEMENT, "--strategy", "STRATEGY", "Scheduler that places the tasks",
     "task.placement.strategy"},
    {GROUP_PLACEMENT, "--mode", "MODE",
     "Tasks that run on, or those of a job, which end; so many or one on each node (default "
     "replicated)",
     nullptr, "replicated|global|replicated-job|global-job", Of::CREATE},
    {GROUP_PLACEMENT, "--max-concurrent", "COUNT",
     "Tasks of a job with --replicas that run at a time (default 0: all)"},
    {GROUP_PLACEMENT, "--schedule", "CRON",
     "When a job runs anew, in UTC: minute, hour, day, month, day of the week, or such as @daily "
     "(default: once)",
     "schedule"},
    {GROUP_PLACEMENT, "--log-opt", "KEY=VALUE", "max-size=SIZE or max-file=COUNT of the log",
     nullptr, nullptr, Of::BOTH, true},
    {GROUP_INEFFECTIVE, "--log-driver", "DRIVER", "Logs are files, as json-file's", nullptr,
     "json-file"},
    {GROUP_INEFFECTIVE, "--isolation", "ISOLATION", "Of Windows", nullptr, "default"},
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
      if (flag.group != group || other) continue;
      add({flag.names, flag.value, flag.help, flag.repeated, flag.choices});
    }
    for (auto& list : serviceLists()) {
      // By their text: where it lies may differ from one source to the next.
      if (kj::StringPtr(list.group) != group || (list.createOnly && !create)) continue;
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

// Read as the field's type, and the unit at the end of its name, say.
capnp::DynamicValue::Reader valueOf(kj::StringPtr flag, kj::StringPtr text, const char* choices,
                                    capnp::StructSchema::Field field) {
  kj::StringPtr name = field.getProto().getName();
  auto type = field.getType();
  if (name.endsWith("Ms")) return parseDurationMs(flag, text);
  if (name.endsWith("Nanos")) return parseCpuNanos(flag, text);
  if (name.endsWith("Bytes")) {
    if (type.isInt64() && text == "-1") return -1;  // no limit
    return parseSizeBytes(flag, text);
  }
  switch (type.which()) {
    case capnp::schema::Type::TEXT:
      return capnp::Text::Reader(text);
    case capnp::schema::Type::BOOL:
      return parseBool(flag, text);
    case capnp::schema::Type::ENUM:
      return capnp::DynamicEnum(type.asEnum(),
                                static_cast<uint16_t>(parseChoice(flag, text, choices)));
    case capnp::schema::Type::FLOAT32:
      return parseRatio(flag, text);
    case capnp::schema::Type::INT16:
      return parseInteger(flag, text, INT16_MIN, INT16_MAX);
    case capnp::schema::Type::UINT32:
      return parseWhole(flag, text, 0, UINT32_MAX);
    default:
      return parseWhole(flag, text, 0, UINT64_MAX);
  }
}

}  // namespace

void applyFlags(const Arguments& args, schema::ServiceSpec::Builder spec) {
  for (auto& flag : SERVICE_FLAGS) {
    kj::StringPtr names = flag.names;
    auto first = names.findFirst(',').orDefault(names.size());
    auto name = first == 2 ? kj::str(names.slice(3)) : kj::heapString(names.begin(), first);
    if (flag.path == nullptr || !args.given(name)) continue;
    kj::StringPtr path = flag.path;
    auto holder = holderOf(spec, path);
    auto field = holder.getSchema().getFieldByName(path);
    holder.set(field, valueOf(name, args.text(name), flag.choices, field));
  }
}

kj::ArrayPtr<const Option> serviceCreateOptions() {
  static const auto options = optionsFor(true);
  return options;
}

kj::ArrayPtr<const Option> serviceUpdateOptions() {
  static const auto options = optionsFor(false);
  return options;
}

}  // namespace orch::cli
