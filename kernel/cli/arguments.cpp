#include "arguments.h"

#include <CLI/CLI.hpp>
#include <kj/encoding.h>

#include "orch/attempt.h"
#include "orch/fail.h"
#include "orch/suggest.h"
#include "output.h"
#include "unavailable.h"
#include "value.h"

namespace orch::cli {

namespace {

constexpr Option GLOBAL_OPTIONS[] = {
    {"-H,--host", "ADDRESS",
     "Whom to ask (also ORCH_HOST): unix:///run/orch/orchd.sock, or tcp://HOST[:2377][,HOST…] of a "
     "manager"},
    {"--credentials", "DIR",
     "With tcp://: who asks (also ORCH_CREDENTIALS; default: ~/.orch), as 'orch admin add' made "
     "it"},
    {"--json", nullptr, "Print the result as JSON"},
    {"-h,--help", nullptr, "Print usage"},
};

// CLI11 takes `--name=` for `--name` with its value in the next word; this stands for the empty
// value until it has parsed.
constexpr char EMPTY_VALUE = '\x01';

template <typename F>
void eachName(const char* names, F&& use) {
  std::string_view list = names;
  while (!list.empty()) {
    auto comma = list.find(',');
    use(list.substr(0, comma));
    list.remove_prefix(comma == std::string_view::npos ? list.size() : comma + 1);
  }
}

std::vector<std::string> wordsForParser(kj::ArrayPtr<const kj::String> words) {
  std::vector<std::string> reversed;  // as CLI11 wants them
  for (size_t i = words.size(); i-- > 0;) {
    std::string word = words[i].cStr();
    if (word.size() > 3 && word.compare(0, 2, "--") == 0 && word.find('=') == word.size() - 1) {
      word += EMPTY_VALUE;
    }
    reversed.push_back(kj::mv(word));
  }
  return reversed;
}

kj::String fromParser(const std::string& word) {
  if (!word.empty() && word.back() == EMPTY_VALUE) {
    return kj::heapString(word.data(), word.size() - 1);
  }
  return kj::heapString(word.data(), word.size());
}

CLI::Option* declareOption(CLI::App& app, const Option& option, const std::string& names) {
  if (option.value == nullptr) return app.add_flag(names);
  auto declared = app.add_option(names)->expected(1)->allow_extra_args(false);
  declared->multi_option_policy(option.repeated ? CLI::MultiOptionPolicy::TakeAll
                                                : CLI::MultiOptionPolicy::TakeLast);
  return declared;
}

// The names of `option` that none of `own` has.
std::string namesLeft(const Option& option, kj::ArrayPtr<const Option> own) {
  std::string names;
  eachName(option.names, [&](std::string_view name) {
    kj::String text = kj::heapString(name.data(), name.size());
    for (const Option& one : own) {
      if (hasName(one, text)) return;
    }
    if (!names.empty()) names += ',';
    names += name;
  });
  return names;
}

[[noreturn]] void failToParse(const Command& command, const std::string& why) {
  auto colon = why.find(':');
  if (why.find("required") != std::string::npos && colon != std::string::npos) {
    fail(kj::str("usage: '", why.substr(0, colon).c_str(), "' needs a value; see 'orch ",
                 command.path, " --help'"));
  }
  fail(kj::str("usage: ", why.c_str(), "; see 'orch ", command.path, " --help'"));
}

}  // namespace

kj::ArrayPtr<const Option> globalOptions() { return GLOBAL_OPTIONS; }

bool hasName(const Option& option, kj::StringPtr name) {
  bool found = false;
  eachName(option.names, [&](std::string_view one) { found |= one == name.cStr(); });
  return found;
}

kj::Vector<kj::StringPtr> namesOf(const Option& option, kj::Vector<kj::String>& storage) {
  kj::Vector<kj::StringPtr> names;
  eachName(option.names, [&](std::string_view one) {
    names.add(storage.add(kj::heapString(one.data(), one.size())));
  });
  return names;
}

Arguments::Arguments(const Command& command, kj::ArrayPtr<const kj::String> words) : spec(command) {
  CLI::App app;
  app.set_help_flag();
  app.allow_extras();
  app.prefix_command(command.stopsAtOperand);
  std::vector<CLI::Option*> parsed;
  auto declare = [&](const Option& option, const std::string& names) {
    parsed.push_back(declareOption(app, option, names));
    entries.add(Entry{&option, {}});
  };
  for (const Option& option : command.options) declare(option, option.names);
  for (const Option& option : GLOBAL_OPTIONS) {
    auto names = namesLeft(option, command.options);
    if (!names.empty()) declare(option, names);
  }
  CLI::Option* operands = nullptr;
  if (!command.stopsAtOperand) {
    operands = app.add_option("operands")->expected(0, -1)->allow_extra_args();
  }

  auto outcome = attemptNow([&] { app.parse(wordsForParser(words)); });
  if (!outcome.ok()) failToParse(command, outcome.message().cStr());
  for (size_t i = 0; i < parsed.size(); ++i) {
    for (const std::string& value : parsed[i]->results()) entries[i].values.add(fromParser(value));
  }
  if (operands != nullptr) {
    for (const std::string& word : operands->results()) rest.add(fromParser(word));
  }
  takeRemaining(app.remaining());
  if (!on("--help")) checkOperands();
}

// What CLI11 could not place: operands of a command that stops at the first one, and unknown flags.
void Arguments::takeRemaining(const std::vector<std::string>& words) {
  bool afterMark = false;
  for (const std::string& word : words) {
    bool mayBeFlag = !afterMark && (!spec.stopsAtOperand || rest.empty());
    if (word == "--" && mayBeFlag) {
      afterMark = true;
      continue;
    }
    if (word.size() > 1 && word[0] == '-' && mayBeFlag) {
      kj::String name = kj::heapString(word.data(), std::min(word.find('='), word.size()));
      kj::Vector<kj::String> storage;
      kj::Vector<kj::StringPtr> known;
      auto why = unavailableFlag(spec.path, name);
      if (why.size() > 0) {
        fail(kj::str("usage: ", why, "; see 'orch ", spec.path, " --help'"));
      }
      // Only long names have anything to do with each other, and one that takes away is not meant
      // by one that adds.
      auto removes = [](kj::StringPtr one) { return one.endsWith("-rm"); };
      for (const Entry& entry : entries) {
        for (auto one : namesOf(*entry.option, storage)) {
          bool like = one.size() > 2 && (removes(one) == removes(name) || one.startsWith(name));
          if (like) known.add(one);
        }
      }
      fail(kj::str("usage: unknown flag '", name, "' for 'orch ", spec.path, "'",
                   suggestion(name, known)));
    }
    rest.add(fromParser(word));
  }
}

// By how help writes them: in brackets what may be left out, with dots any number.
void Arguments::checkOperands() const {
  std::string_view written = spec.operands;
  size_t least = 0, most = 0;
  for (size_t i = 0; i < written.size(); ++i) {
    if (i > 0 && written[i - 1] != ' ') continue;
    least += written[i] != '[';
    ++most;
  }
  if (written.find("...") != std::string_view::npos) most = rest.size();
  if (rest.size() >= least && rest.size() <= most) return;
  kj::String wanted = written.empty() ? kj::str("no arguments") : kj::str(spec.operands);
  // The first word too many; the right ones are none of the user's trouble.
  kj::String extra = rest.size() > most ? kj::str(", not '", rest[most], "'") : kj::String();
  fail(kj::str("usage: 'orch ", spec.path, "' takes ", wanted, extra, "; see 'orch ", spec.path,
               " --help'"));
}

void Arguments::checkUtf8() const {
  auto check = [](kj::StringPtr what, kj::StringPtr value) {
    if (!kj::encodeUtf32(value).hadErrors) return;
    auto shown = jsonText(value);  // in quotes
    badValue(what, kj::heapString(shown.begin() + 1, shown.size() - 2), "UTF-8");
  };
  for (const Entry& entry : entries) {
    kj::Vector<kj::String> storage;
    for (auto& value : entry.values) check(namesOf(*entry.option, storage).back(), value);
  }
  for (auto& operand : rest) check(spec.operands, operand);
}

const Arguments::Entry* Arguments::find(kj::StringPtr name) const {
  for (const Entry& entry : entries) {
    if (hasName(*entry.option, name)) return &entry;
  }
  KJ_FAIL_ASSERT("the command has no such option", spec.path, name);
}

kj::ArrayPtr<const kj::String> Arguments::values(kj::StringPtr name) const {
  return find(name)->values.asPtr();
}

bool Arguments::on(kj::StringPtr name) const {
  auto given = values(name);
  return given.size() > 0 && parseBool(name, given.back());
}

kj::StringPtr Arguments::text(kj::StringPtr name) const {
  auto given = values(name);
  return given.size() == 0 ? kj::StringPtr("") : kj::StringPtr(given.back());
}

}  // namespace orch::cli
