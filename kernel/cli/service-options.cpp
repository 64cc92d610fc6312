#include "service-options.h"

#include "service-change.h"

namespace orch::cli {

namespace {

// What both commands take.
#define ORCH_SERVICE_OPTIONS                                                                       \
  {"-d,--detach", nullptr, "Do not wait until the service has converged"},                         \
      {"-q,--quiet", nullptr, "Print no progress"},                                                \
      ORCH_VERIFY_OPTION{"--cap-add", "CAPABILITY", "Add a Linux capability", true},               \
      {"--cap-drop", "CAPABILITY", "Drop a Linux capability", true},                               \
      {"--endpoint-mode", "MODE", "How the service is reached (default vip)", false, "vip|dnsrr"}, \
      {"--entrypoint", "COMMAND", "Replace the image's entrypoint"},                               \
      {"--hostname", "NAME", "Host name in the container"},                                        \
      {"--init", nullptr, "An init as process 1 that reaps zombies"},                              \
      {"--isolation", "ISOLATION", "No effect here: only default", false, "default"},              \
      {"--limit-cpu", "CORES", "Limit of cores, such as 0.5"},                                     \
      {"--limit-memory", "SIZE", "Limit of memory, such as 64m"},                                  \
      {"--limit-pids", "COUNT", "Limit of processes (default 0: none)"},                           \
      {"--log-driver", "DRIVER", "No effect here: logs are files, as json-file's", false,          \
       "json-file"},                                                                               \
      {"--log-opt", "KEY=VALUE", "max-size=SIZE or max-file=COUNT of the task's log", true},       \
      {"--memory-swap", "SIZE", "Limit of memory plus swap, -1 for none"},                         \
      {"--no-healthcheck", nullptr, "No effect here: health checks are not available yet"},        \
      {"--no-resolve-image", nullptr, "No effect here: each node resolves the image"},             \
      {"--oom-score-adj", "SCORE", "-1000 to 1000"},                                               \
      {"--read-only", nullptr, "Mount the root file system read-only"},                            \
      {"--replicas", "COUNT", "Number of tasks (default 1)"},                                      \
      {"--replicas-max-per-node", "COUNT", "Most tasks on one node (default 0: no limit)"},        \
      {"--reserve-cpu", "CORES", "Cores set aside on the node"},                                   \
      {"--reserve-memory", "SIZE", "Memory set aside on the node"},                                \
      {"--restart-condition", "CONDITION", "When to restart (default any)", false,                 \
       "any|on-failure|none"},                                                                     \
      {"--restart-delay", "DURATION", "Between restarts (default: 0s at first, then a back-off)"}, \
      {"--restart-max-attempts", "COUNT", "Restarts before giving up (default 0: no limit)"},      \
      {"--restart-window", "DURATION", "Window in which restarts are counted (default 0s: all)"},  \
      {"--runtime", "NAME", "Container runtime, such as crun (default: the node's first)"},        \
      {"--stop-grace-period", "DURATION", "Between the stop signal and SIGKILL (default 10s)"},    \
      {"--stop-signal", "SIGNAL", "Signal that stops the container"},                              \
      {"--strategy", "NAME", "Scheduler that places the tasks, such as spread"},                   \
      {"-t,--tty", nullptr, "Give the container a terminal"},                                      \
      {"--update-delay,--delay", "DURATION", "Between batches of an update (default 0s)"},         \
      {"--update-failure-action,--failure-action", "ACTION",                                       \
       "When tasks of an update fail (default pause)", false, "pause|continue"},                   \
      {"--update-max-failure-ratio,--max-failure-ratio", "RATIO",                                  \
       "Part of the tasks that may fail in an update (default 0)"},                                \
      {"--update-monitor,--monitor", "DURATION",                                                   \
       "A task that fails within it failed the update (default 5s)"},                              \
      {"--update-order,--order", "ORDER", "Which task goes first (default stop-first)", false,     \
       "stop-first|start-first"},                                                                  \
      {"--update-parallelism,--parallelism", "COUNT",                                              \
       "Tasks updated at once (default 1; 0: all)"},                                               \
      {"--update-progress-deadline", "DURATION",                                                   \
       "A task not running by then failed the update (default 10m; 0: never)"},                    \
      {"-u,--user", "USER", "Name or number[:group] to run as"},                                   \
      {"--with-registry-auth", nullptr,                                                            \
       "No effect here: each node has its own access to registries"},                              \
      {"-w,--workdir", "PATH", "Working directory in the container"},

constexpr Option CREATE[] = {
    ORCH_SERVICE_OPTIONS  //
    {"--name", "NAME", "Name of the service (default: a random one)"},
    {"--mode", "MODE", "Kind of service (default replicated)", false, "replicated"},
    {"--constraint", "CONSTRAINT", "Where tasks may run, such as node.labels.zone==east", true},
    {"--container-label", "KEY=VALUE", "Label on the containers", true},
    {"--dns", "ADDRESS", "Name server", true},
    {"--dns-option", "OPTION", "Option of the resolver", true},
    {"--dns-search", "DOMAIN", "Search domain", true},
    {"-e,--env", "KEY=VALUE", "Environment variable; KEY alone passes its value on", true},
    {"--env-file", "FILE", "Read environment variables from a file", true},
    {"--group", "GROUP", "Supplementary group", true},
    {"--host", "NAME:ADDRESS", "Line for /etc/hosts", true},
    {"-l,--label", "KEY=VALUE", "Label on the service", true},
    {"--mount", "MOUNT", "type=bind|volume|tmpfs,source=PATH,target=PATH[,readonly]", true},
    {"--network", "NAME", "Network to attach to", true},
    {"-p,--publish", "PORT", "Publish a port: 8080:80[/udp], or target=80,published=8080,mode=host",
     true},
    {"--sysctl", "KEY=VALUE", "Kernel parameter of the container", true},
    {"--ulimit", "NAME=SOFT[:HARD]", "Limit such as nofile=1024:2048", true},
};

constexpr Option UPDATE[] = {
    ORCH_SERVICE_OPTIONS  //
    {"--image", "IMAGE", "Image to run"},
    {"--args", "COMMAND", "Replace the command, split into words as a shell does"},
    {"--force", nullptr, "Replace the tasks even if nothing has changed"},
    {"--constraint-add", "CONSTRAINT", "Add or keep a constraint", true},
    {"--constraint-rm", "CONSTRAINT", "Remove a constraint", true},
    {"--container-label-add", "KEY=VALUE", "Add or replace a label on the containers", true},
    {"--container-label-rm", "KEY", "Remove a label from the containers", true},
    {"--dns-add", "ADDRESS", "Add a name server", true},
    {"--dns-rm", "ADDRESS", "Remove a name server", true},
    {"--dns-option-add", "OPTION", "Add an option of the resolver", true},
    {"--dns-option-rm", "OPTION", "Remove an option of the resolver", true},
    {"--dns-search-add", "DOMAIN", "Add a search domain", true},
    {"--dns-search-rm", "DOMAIN", "Remove a search domain", true},
    {"--env-add", "KEY=VALUE", "Add or replace an environment variable", true},
    {"--env-rm", "KEY", "Remove an environment variable", true},
    {"--group-add", "GROUP", "Add a supplementary group", true},
    {"--group-rm", "GROUP", "Remove a supplementary group", true},
    {"--host-add", "NAME:ADDRESS", "Add a line to /etc/hosts", true},
    {"--host-rm", "NAME[:ADDRESS]", "Remove lines from /etc/hosts", true},
    {"--label-add", "KEY=VALUE", "Add or replace a label on the service", true},
    {"--label-rm", "KEY", "Remove a label from the service", true},
    {"--mount-add", "MOUNT", "Add a mount, or replace the one at its target", true},
    {"--mount-rm", "TARGET", "Remove the mount at a target", true},
    {"--network-add", "NAME", "Attach to a network", true},
    {"--network-rm", "NAME", "Detach from a network", true},
    {"--publish-add", "PORT", "Add or replace a published port", true},
    {"--publish-rm", "TARGET[/PROTOCOL]", "Remove the published ports of a target", true},
    {"--sysctl-add", "KEY=VALUE", "Add or replace a kernel parameter", true},
    {"--sysctl-rm", "KEY", "Remove a kernel parameter", true},
    {"--ulimit-add", "NAME=SOFT[:HARD]", "Add or replace a limit", true},
    {"--ulimit-rm", "NAME", "Remove a limit", true},
};

}  // namespace

kj::ArrayPtr<const Option> serviceCreateOptions() { return CREATE; }
kj::ArrayPtr<const Option> serviceUpdateOptions() { return UPDATE; }

}  // namespace orch::cli
