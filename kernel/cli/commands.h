// Every command, and how the words of a command line find theirs.
#pragma once

#include "command.h"

namespace orch::cli {

kj::ArrayPtr<const Command* const> allCommands();

// The command that `words` begin with, and how many of them it took; `net` does for `network`,
// `list` and `remove` do for `ls` and `rm`. Fails with `usage: …` and the nearest name if there is
// none.
struct Found {
  const Command* command;
  size_t words;
};
Found findCommand(kj::ArrayPtr<const kj::String> words);

// True for the first word of a command that needs a second one.
bool isNoun(kj::StringPtr word);

// Usage of everything, of a noun or of one command.
kj::String helpOfAll();
kj::String helpOfNoun(kj::StringPtr noun);
kj::String helpOf(const Command& command);

// The option whose value the last of `rest` is; `rest` are the words after the command.
const Option* valueAwaited(const Command& command, kj::ArrayPtr<const kj::String> rest);

// What may follow: the first word of commands, the second, or the flags. One per line.
kj::String completions(kj::ArrayPtr<const kj::String> words);

extern const Command INIT, JOIN, LEAVE, JOIN_TOKEN, LOGIN, LOGOUT, ADMIN_ADD, ADMIN_REQUEST,
    ADMIN_LS, ADMIN_RM, CA, UNLOCK, UNLOCK_KEY, CLUSTER_UPDATE, CLUSTER_MIGRATE, CLUSTER_STATUS,
    CLUSTER_BACKUP, CLUSTER_RESTORE, INFO, VERSION, EVENTS, NODE_LS, NODE_INSPECT, NODE_PS,
    NODE_UPDATE, NODE_PROMOTE, NODE_DEMOTE, NODE_RM, SERVICE_CREATE, SERVICE_LS, SERVICE_PS,
    SERVICE_INSPECT, SERVICE_UPDATE, SERVICE_SCALE, SERVICE_ROLLBACK, SERVICE_HISTORY, SERVICE_RM,
    PLAN, SIMULATE, APPLY, WHY, REPLAY, SERVICE_LOGS, TASK_LS, TASK_INSPECT, TASK_EXEC, TASK_ATTACH,
    TASK_TOP, STATS, TOP, IMAGE_LS, IMAGE_PULL, IMAGE_IMPORT, IMAGE_INSPECT, IMAGE_RM, IMAGE_PRUNE,
    NETWORK_CHECK, NETWORK_TRACE, NETWORK_CREATE, NETWORK_LS, NETWORK_INSPECT, NETWORK_RM,
    NETWORK_PRUNE, VOLUME_LS, VOLUME_INSPECT, VOLUME_RM, VOLUME_PRUNE, DISCOVER_LS, DISCOVER_WATCH,
    DISCOVER_CREATE, TEMPLATE_LS, TEMPLATE_RENDER, PLUGIN_LS, PLUGIN_INSPECT, CONFIG_CHECK,
    CONFIG_SHOW, CONFIG_RELOAD, COMPLETION_BASH, COMPLETE;

}  // namespace orch::cli
