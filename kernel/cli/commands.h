// Every command, and how the words of a command line find theirs.
#pragma once

#include "command.h"

namespace orch::cli {

kj::ArrayPtr<const Command* const> allCommands();

// The command that `words` begin with, and how many of them it took; `list` and `remove` do for
// `ls` and `rm`. Fails with `usage: …` and the nearest name if there is none.
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

#define ORCH_COMMAND(name) extern const Command name
ORCH_COMMAND(INIT);
ORCH_COMMAND(INFO);
ORCH_COMMAND(VERSION);
ORCH_COMMAND(EVENTS);
ORCH_COMMAND(NODE_LS);
ORCH_COMMAND(NODE_INSPECT);
ORCH_COMMAND(SERVICE_CREATE);
ORCH_COMMAND(SERVICE_LS);
ORCH_COMMAND(SERVICE_PS);
ORCH_COMMAND(SERVICE_INSPECT);
ORCH_COMMAND(SERVICE_UPDATE);
ORCH_COMMAND(SERVICE_SCALE);
ORCH_COMMAND(SERVICE_RM);
ORCH_COMMAND(SERVICE_LOGS);
ORCH_COMMAND(TASK_LS);
ORCH_COMMAND(TASK_INSPECT);
ORCH_COMMAND(IMAGE_LS);
ORCH_COMMAND(IMAGE_PULL);
ORCH_COMMAND(IMAGE_IMPORT);
ORCH_COMMAND(IMAGE_INSPECT);
ORCH_COMMAND(IMAGE_RM);
ORCH_COMMAND(IMAGE_PRUNE);
ORCH_COMMAND(NETWORK_LS);
ORCH_COMMAND(NETWORK_INSPECT);
ORCH_COMMAND(VOLUME_LS);
ORCH_COMMAND(VOLUME_INSPECT);
ORCH_COMMAND(VOLUME_RM);
ORCH_COMMAND(VOLUME_PRUNE);
ORCH_COMMAND(PLUGIN_LS);
ORCH_COMMAND(PLUGIN_INSPECT);
ORCH_COMMAND(CONFIG_CHECK);
ORCH_COMMAND(CONFIG_SHOW);
ORCH_COMMAND(CONFIG_RELOAD);
ORCH_COMMAND(COMPLETION_BASH);
ORCH_COMMAND(COMPLETE);
#undef ORCH_COMMAND

}  // namespace orch::cli
