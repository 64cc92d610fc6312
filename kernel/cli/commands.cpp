#include "commands.h"

#include <string>

#include "arguments.h"
#include "orch/fail.h"
#include "orch/suggest.h"
#include "table.h"
#include "unavailable.h"

namespace orch::cli {

namespace {

constexpr size_t HELP_WIDTH = 80;
constexpr size_t MAX_NAME_COLUMN = 28;

constexpr const Command* COMMANDS[] = {
    &INIT,
    &JOIN,
    &LEAVE,
    &JOIN_TOKEN,
    &ADMIN_ADD,
    &ADMIN_REQUEST,
    &ADMIN_LS,
    &ADMIN_RM,
    &CA,
    &UNLOCK,
    &UNLOCK_KEY,
    &CLUSTER_UPDATE,
    &CLUSTER_STATUS,
    &CLUSTER_MIGRATE,
    &CLUSTER_BACKUP,
    &CLUSTER_RESTORE,
    &LOGIN,
    &LOGOUT,
    &INFO,
    &NODE_PS,
    &NODE_UPDATE,
    &NODE_PROMOTE,
    &NODE_DEMOTE,
    &NODE_RM,
    &VERSION,
    &NODE_LS,
    &NODE_INSPECT,
    &SERVICE_CREATE,
    &SERVICE_LS,
    &SERVICE_PS,
    &SERVICE_INSPECT,
    &SERVICE_UPDATE,
    &SERVICE_SCALE,
    &SERVICE_HISTORY,
    &SERVICE_ROLLBACK,
    &SERVICE_RM,
    &SERVICE_LOGS,
    &PLAN,
    &APPLY,
    &SIMULATE,
    &WHY,
    &REPLAY,
    &TASK_LS,
    &TASK_INSPECT,
    &TASK_EXEC,
    &TASK_ATTACH,
    &TASK_TOP,
    &STATS,
    &TOP,
    &IMAGE_LS,
    &IMAGE_PULL,
    &IMAGE_IMPORT,
    &IMAGE_INSPECT,
    &IMAGE_RM,
    &IMAGE_PRUNE,
    &NETWORK_CREATE,
    &NETWORK_LS,
    &NETWORK_INSPECT,
    &NETWORK_RM,
    &NETWORK_PRUNE,
    &NETWORK_CHECK,
    &NETWORK_TRACE,
    &VOLUME_LS,
    &VOLUME_INSPECT,
    &VOLUME_RM,
    &VOLUME_PRUNE,
    &DISCOVER_LS,
    &DISCOVER_WATCH,
    &DISCOVER_CREATE,
    &TEMPLATE_LS,
    &TEMPLATE_RENDER,
    &PLUGIN_LS,
    &PLUGIN_INSPECT,
    &CONFIG_CHECK,
    &CONFIG_SHOW,
    &CONFIG_RELOAD,
    &EVENTS,
    &COMPLETION_BASH,
};

struct Split {
  kj::String noun;
  kj::String verb;  // empty for `orch init`
};
Split splitCommand(const Command& command) {
  kj::StringPtr path = command.path;
  KJ_IF_MAYBE (space, path.findFirst(' ')) {
    return {kj::heapString(path.begin(), *space), kj::str(path.slice(*space + 1))};
  }
  return {kj::str(path), kj::String()};
}

void addOnce(kj::Vector<kj::StringPtr>& names, kj::Vector<kj::String>& storage, kj::String name) {
  for (auto known : names) {
    if (known == name) return;
  }
  names.add(storage.add(kj::mv(name)));
}

kj::StringPtr nounOf(kj::StringPtr word) { return word == "net" ? "network"_kj : word; }

kj::StringPtr meant(kj::StringPtr verb) {
  if (verb == "list") return "ls";
  if (verb == "remove") return "rm";
  return verb;
}

// `  name   text`, the text in one column and broken at the end of the line. A name that is too
// long for its column has a line of its own.
void entry(kj::Vector<char>& out, kj::StringPtr name, size_t column, kj::StringPtr text) {
  auto pad = [&](size_t count) {
    for (size_t n = 0; n < count; ++n) out.add(' ');
  };
  out.addAll("  "_kj);
  out.addAll(name);
  size_t at = 2 + displayWidth(name);
  size_t begin = column + 4;
  for (bool first = true; text.size() > 0; first = false) {
    auto end = text.findFirst(' ').orDefault(text.size());
    auto word = kj::heapString(text.begin(), end);
    text = text.slice(kj::min(end + 1, text.size()));
    bool fits = !first && at + 1 + displayWidth(word) <= HELP_WIDTH;
    if (first && at + 2 <= begin) {
      pad(begin - at);
      at = begin;
    } else if (fits) {
      pad(1);
      ++at;
    } else {
      out.add('\n');
      pad(begin);
      at = begin;
    }
    out.addAll(word);
    at += displayWidth(word);
  }
  out.add('\n');
}

kj::String finished(kj::Vector<char>& out) {
  out.add('\0');
  return kj::String(out.releaseAsArray());
}

// `-e, --env KEY=VALUE`, with room where the short name is missing.
kj::String heading(const Option& option) {
  kj::Vector<kj::String> storage;
  auto names = namesOf(option, storage);
  kj::StringPtr gap = names[0].size() == 2 ? ""_kj : "    "_kj;
  return kj::str(gap, kj::strArray(names, ", "), option.value == nullptr ? "" : " ",
                 option.value == nullptr ? "" : option.value);
}

void options(kj::Vector<char>& out, kj::ArrayPtr<const Option> list, bool defaults) {
  size_t column = 0;
  for (auto& option : list) column = kj::max(column, heading(option).size());
  column = kj::min(column, MAX_NAME_COLUMN);
  kj::StringPtr group;
  for (auto& option : list) {
    kj::StringPtr name = option.group == nullptr ? "Options" : option.group;
    if (name != group) out.addAll(kj::str("\n", name, ":\n"));
    group = name;
    auto choices = option.choices == nullptr ? kj::String() : kj::str(" (", option.choices, ")");
    std::string text = option.help;
    // What it is if nobody says so; an update leaves it as it is.
    auto begin = defaults ? std::string::npos : text.find("(default");
    if (begin != std::string::npos) text.resize(begin);
    entry(out, heading(option), column, kj::str(text.c_str(), choices));
  }
}

}  // namespace

kj::ArrayPtr<const Command* const> allCommands() { return COMMANDS; }

bool isNoun(kj::StringPtr word) {
  for (auto command : COMMANDS) {
    auto parts = splitCommand(*command);
    if (parts.verb.size() > 0 && parts.noun == nounOf(word)) return true;
  }
  return false;
}

Found findCommand(kj::ArrayPtr<const kj::String> words) {
  if (words.size() > 0 && words[0] == COMPLETE.path) return {&COMPLETE, 1};
  kj::Vector<kj::String> storage;
  kj::Vector<kj::StringPtr> nouns;
  kj::Vector<kj::StringPtr> verbs;
  for (auto command : COMMANDS) {
    auto parts = splitCommand(*command);
    bool sameNoun = words.size() > 0 && nounOf(words[0]) == parts.noun;
    if (sameNoun && parts.verb.size() == 0) return {command, 1};
    if (sameNoun && words.size() > 1 && meant(words[1]) == parts.verb) return {command, 2};
    if (sameNoun) addOnce(verbs, storage, kj::str(parts.verb));
    addOnce(nouns, storage, kj::mv(parts.noun));
  }
  if (words.size() == 0) fail(kj::str("usage: no command; see 'orch --help'"));
  auto why = unavailableCommand(words);
  if (why.size() > 0) fail(kj::str("usage: ", why));
  if (verbs.size() == 0) {
    auto meant = suggestion(words[0], nouns);
    fail(kj::str("usage: unknown command '", words[0], "'",
                 meant.size() > 0 ? meant : "; see 'orch --help'"_kj));
  }
  if (words.size() == 1) {
    fail(kj::str("usage: 'orch ", words[0], "' needs one of ", kj::strArray(verbs, ", ")));
  }
  auto meant = suggestion(words[1], verbs, kj::str(words[0], " "));
  fail(kj::str(
      "usage: unknown command '", words[0], " ", words[1], "'",
      meant.size() > 0 ? kj::mv(meant) : kj::str("; there are ", kj::strArray(verbs, ", "))));
}

kj::String helpOfAll() {
  kj::Vector<char> out;
  out.addAll("Usage: orch [-H ADDRESS] COMMAND\n\nRuns containers on a cluster.\n\nCommands:\n"_kj);
  for (auto command : COMMANDS) entry(out, command->path, 17, command->help);
  options(out, globalOptions(), true);
  out.addAll("      --version         Show the version of orch\n"_kj);
  out.addAll("\n'orch COMMAND --help' says more.\n"_kj);
  return finished(out);
}

kj::String helpOfNoun(kj::StringPtr noun) {
  kj::Vector<char> out;
  out.addAll(kj::str("Usage: orch ", noun, " COMMAND\n\nCommands:\n"));
  for (auto command : COMMANDS) {
    auto parts = splitCommand(*command);
    if (parts.noun == nounOf(noun)) entry(out, parts.verb, 10, command->help);
  }
  out.addAll(kj::str("\n'orch ", noun, " COMMAND --help' says more.\n"));
  return finished(out);
}

kj::String helpOf(const Command& command) {
  kj::Vector<char> out;
  kj::StringPtr operands = command.operands;
  out.addAll(kj::str("Usage: orch ", command.path, " [OPTIONS]", operands.size() > 0 ? " " : "",
                     operands, "\n\n", command.help, "\n"));
  kj::Vector<Option> all;
  all.addAll(command.options);
  for (auto& option : globalOptions()) {
    bool taken = false;
    for (auto& own : command.options) taken |= hasName(own, "--host") && hasName(option, "--host");
    all.add(option);
    if (taken) all.back().names = "-H";
  }
  options(out, all, command.path != "service update"_kj);
  return finished(out);
}

const Option* valueAwaited(const Command& command, kj::ArrayPtr<const kj::String> rest) {
  if (rest.size() < 2) return nullptr;
  for (auto& option : command.options) {
    if (option.value != nullptr && hasName(option, rest[rest.size() - 2])) return &option;
  }
  return nullptr;
}

kj::String completions(kj::ArrayPtr<const kj::String> words) {
  kj::Vector<char> out;
  kj::Vector<kj::String> storage;
  kj::Vector<kj::StringPtr> names;
  kj::StringPtr current = words.size() > 0 ? kj::StringPtr(words.back()) : ""_kj;
  for (auto command : COMMANDS) {
    auto parts = splitCommand(*command);
    size_t needed = parts.verb.size() > 0 ? 2 : 1;
    bool found = words.size() > needed && nounOf(words[0]) == parts.noun &&
                 (needed == 1 || meant(words[1]) == parts.verb);
    if (words.size() <= 1) addOnce(names, storage, kj::mv(parts.noun));
    if (words.size() == 2 && nounOf(words[0]) == parts.noun)
      addOnce(names, storage, kj::mv(parts.verb));
    if (!found) continue;
    names.clear();
    auto option = valueAwaited(*command, words.slice(needed, words.size()));
    if (option != nullptr) {
      kj::StringPtr rest = option->choices == nullptr ? "" : option->choices;
      while (rest.size() > 0) {
        auto bar = rest.findFirst('|').orDefault(rest.size());
        names.add(storage.add(kj::heapString(rest.begin(), bar)));
        rest = rest.slice(kj::min(bar + 1, rest.size()));
      }
    } else if (current.startsWith("-")) {
      for (auto& one : command->options) names.addAll(namesOf(one, storage));
      for (auto& one : globalOptions()) names.addAll(namesOf(one, storage));
    }
    break;
  }
  for (auto name : names) {
    if (!name.startsWith(current)) continue;
    out.addAll(name);
    out.add('\n');
  }
  return finished(out);
}

}  // namespace orch::cli
