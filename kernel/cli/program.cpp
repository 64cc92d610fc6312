#include "program.h"

#include <kj/async-unix.h>
#include <signal.h>
#include <unistd.h>

#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "orch/abi.h"
#include "output.h"

namespace orch::cli {

namespace {

constexpr kj::StringPtr USAGE = "usage: "_kj;

// The words before the command, which are the same as after it.
struct Leading {
  kj::Vector<kj::String> options;
  bool help = false;
  bool version = false;
  size_t count = 0;
};

Leading readLeading(kj::ArrayPtr<const kj::String> words) {
  Leading leading;
  for (; leading.count < words.size(); ++leading.count) {
    kj::StringPtr word = words[leading.count];
    if (word == "--json") {
      leading.options.add(kj::str(word));
    } else if (word == "-h" || word == "--help") {
      leading.help = true;
    } else if (word == "-v" || word == "--version") {
      leading.version = true;
    } else if (word.startsWith("--host=") || word.startsWith("--credentials=")) {
      auto equals = KJ_ASSERT_NONNULL(word.findFirst('='));
      leading.options.add(word.startsWith("--host=") ? kj::str("-H") : kj::str("--credentials"));
      leading.options.add(kj::str(word.slice(equals + 1)));
    } else if (word == "-H" || word == "--host" || word == "--credentials") {
      if (++leading.count == words.size()) fail(kj::str(USAGE, "'", word, "' needs a value"));
      leading.options.add(word == "--host" ? kj::str("-H") : kj::str(word));
      leading.options.add(kj::str(words[leading.count]));
    } else if (word.startsWith("-")) {
      fail(kj::str(USAGE, "unknown flag '", word, "' for 'orch'; see 'orch --help'"));
    } else {
      break;
    }
  }
  return leading;
}

// What the command line asks for before any command: help or the version. True if it was printed.
bool printedHelp(kj::ArrayPtr<const kj::String>& words, const Leading& leading, Output& out) {
  if (leading.version) {
    out.line("orch version ", ORCH_VERSION);
    return true;
  }
  bool help = leading.help;
  if (words.size() > 0 && words[0] == "help") {
    help = true;
    words = words.slice(1, words.size());
  }
  bool wantsNounHelp =
      words.size() == 2 && isNoun(words[0]) && (words[1] == "--help" || words[1] == "-h");
  if (wantsNounHelp || (help && words.size() == 1 && isNoun(words[0]))) {
    out.write(helpOfNoun(words[0]));
  } else if (help && words.size() == 0) {
    out.write(helpOfAll());
  } else if (help) {
    out.write(helpOf(*findCommand(words).command));
  } else {
    return false;
  }
  return true;
}

// The exit status, with the text on stderr.
int report(Output& out, Connection* connection, kj::Exception& error) {
  kj::StringPtr text = plainText(error);
  if (text.size() == 0) return EXIT_FAILED;  // the reader of our output went away
  if (text.startsWith(USAGE)) {
    out.error(text.slice(USAGE.size()));
    return EXIT_USAGE;
  }
  bool broken = error.getType() == kj::Exception::Type::DISCONNECTED;
  if (broken && connection != nullptr && connection->explained(text) == text) {
    auto why = kj::heapString(text.begin(), text.size() - (text.endsWith(".") ? 1 : 0));
    out.error(kj::str("lost the connection to orchd at '", connection->address(), "' (", why,
                      "); is it being restarted? ask again"));
  } else if (connection != nullptr) {
    out.error(connection->explained(text));
  } else {
    out.error(text);
  }
  return EXIT_FAILED;
}

Task<int> interrupted(kj::UnixEventPort& port) {
  co_await port.onSignal(SIGINT);
  co_return EXIT_INTERRUPTED;
}

int runCommand(const Arguments& args, Output& out, kj::StringPtr host) {
  const Command& command = args.command();
  if (command.interruptible) kj::UnixEventPort::captureSignal(SIGINT);
  auto io = kj::setupAsyncIo();
  auto env = newSystemEnv(io);
  auto target =
      args.given("-H") ? parseTarget("--host", args.text("-H")) : parseTarget("ORCH_HOST", host);
  if (args.given("--credentials")) target.credentials = kj::str(args.text("--credentials"));
  Connection connection(*env, kj::mv(target));
  Context context{args, out, connection, *env, kj::String()};
  auto outcome = attemptNow([&] {
    kj::Promise<int> work = command.run(context);
    if (command.interruptible) {
      work = work.exclusiveJoin(interrupted(io.unixEventPort));
    }
    int status = work.wait(io.waitScope);
    out.flush();
    return status;
  });
  if (connection.warning().size() > 0) out.error(kj::str("warning: ", connection.warning()));
  if (!outcome.ok()) return report(out, &connection, outcome.error());
  auto aged = attemptNow([&] { return connection.age().promise().wait(io.waitScope); });
  if (aged.ok() && aged.value().size() > 0) out.error(aged.value());
  if (outcome.value() == EXIT_INTERRUPTED && command.interruptible) {
    out.interrupted();
    out.error(context.waitsFor.size() > 0
                  ? kj::str("interrupted: ", context.waitsFor)
                  : kj::str("interrupted before orchd answered: ", Connection::UNKNOWN));
  }
  return outcome.value();
}

int runWords(kj::ArrayPtr<const kj::String> words, Output& out, kj::StringPtr host) {
  auto leading = readLeading(words);
  words = words.slice(leading.count, words.size());
  if (printedHelp(words, leading, out)) return 0;
  if (words.size() == 0) {
    out.toErrors(helpOfAll());
    return EXIT_USAGE;
  }
  if (words.size() == 1 && isNoun(words[0])) {
    out.toErrors(helpOfNoun(words[0]));
    return EXIT_USAGE;
  }
  auto found = findCommand(words);
  kj::Vector<kj::String> rest;
  for (auto& option : leading.options) rest.add(kj::str(option));
  for (auto& word : words.slice(found.words, words.size())) rest.add(kj::str(word));
  Arguments args(*found.command, rest);
  if (args.on("--help")) {
    out.write(helpOf(*found.command));
    return 0;
  }
  out.json = args.on("--json");
  return runCommand(args, out, host);
}

}  // namespace

int runProgram(kj::Vector<kj::String> words, kj::StringPtr host) {
  signal(SIGPIPE, SIG_IGN);
  Output out(STDOUT_FILENO, STDERR_FILENO);
  auto outcome = attemptNow([&] {
    int status = runWords(words, out, host);
    out.flush();
    return status;
  });
  return outcome.ok() ? outcome.value() : report(out, nullptr, outcome.error());
}

}  // namespace orch::cli
