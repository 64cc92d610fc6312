// login and logout.
#include <capnp/message.h>
#include <unistd.h>

#include "arguments.h"
#include "commands.h"
#include "hidden-input.h"
#include "logins.h"
#include "orch/fail.h"
#include "orch/image-reference.h"
#include "output.h"
#include "registry.h"
#include "value.h"

namespace orch::cli {

namespace {

constexpr size_t MAX_PASSWORD = 8192;  // registries' tokens have 2 to 4 KiB

constexpr Option LOGIN_OPTIONS[] = {
    {"-u,--username", "USER", "User name at the registry (default: asked for)"},
    {"-p,--password", "PASSWORD", "Password, which others can see as long as this runs"},
    {"--password-stdin", nullptr, "Read the password from stdin, as from a file"},
    {"--tls-verify", "BOOL", "Whether the registry has to show a certificate that can be trusted",
     false, "true|false"},
};

kj::String registryOf(Context& context) {
  auto operands = context.args.operands();
  return parseRegistry(operands.size() > 0 ? kj::StringPtr(operands[0]) : "docker.io"_kj);
}

void checkPassword(const std::string& text, kj::StringPtr missing) {
  if (text.size() > MAX_PASSWORD) {
    fail(kj::str("usage: a password has at most ", MAX_PASSWORD, " bytes"));
  }
  bool plain = !text.empty() && text.find('\0') == std::string::npos;
  if (!plain) fail(kj::str("usage: ", missing));
}

std::string askFor(Output& out, kj::StringPtr what) {
  out.toErrors(what);
  return readInput("the login", true);
}

kj::String userFor(Context& context, kj::StringPtr registry) {
  kj::String user;
  if (context.args.given("--username")) {
    user = kj::str(context.args.text("--username"));
  } else if (isatty(STDIN_FILENO) && !context.args.on("--password-stdin")) {
    capnp::MallocMessageBuilder message;
    auto known = message.initRoot<schema::RegistryLogin>();
    findLogin(kj::str(registry, "/x"), known);
    auto before = known.asReader().getUser();
    auto typed = askFor(context.out, before.size() > 0 ? kj::str("Username (", before, "): ")
                                                       : kj::str("Username: "));
    user = typed.empty() ? kj::str(before) : kj::str(typed.c_str());
  }
  if (user.size() == 0) fail(kj::str("usage: say with --username who logs in"));
  auto checked = parseWord("--username", user, "the name of a user at the registry");
  if (checked.findFirst(':') != nullptr) badValue("--username", checked, "a name without ':'");
  return checked;
}

std::string passwordFor(Context& context, kj::StringPtr registry, kj::StringPtr user) {
  auto& args = context.args;
  std::string password;
  if (args.given("--password")) {
    if (args.on("--password-stdin")) {
      fail(kj::str("usage: --password and --password-stdin exclude each other"));
    }
    context.out.error(
        "warning: others can see a password on a command line; --password-stdin "
        "reads it from stdin");
    password = args.text("--password").cStr();
    checkPassword(password, "the password is empty");
  } else if (args.on("--password-stdin")) {
    password = readInput("the login", false);
    checkPassword(password, "there is no password on stdin");
  } else if (isatty(STDIN_FILENO)) {
    HiddenTyping hidden;
    password = askFor(context.out, "Password: ");
    checkPassword(password, "a password is needed");
  } else {
    fail(kj::str("usage: there is no terminal to ask for the password: orch login -u ", user,
                 " --password-stdin ", registry, " < FILE"));
  }
  return password;
}

Task<int> login(Context& context) {
  auto registry = registryOf(context);
  auto verifyTls = !parseImageReference(kj::str(registry, "/x")).loopback();
  if (context.args.given("--tls-verify")) {
    verifyTls = parseChoice("--tls-verify", context.args.text("--tls-verify"), "true|false") == 0;
  }
  auto user = userFor(context, registry);
  capnp::MallocMessageBuilder message;
  auto login = message.initRoot<schema::RegistryLogin>();
  login.setRegistry(registry);
  login.setUser(user);
  login.setPassword(passwordFor(context, registry, user).c_str());
  co_await checkLogin(context.env, login, verifyTls);
  keepLogin(login);
  context.out.line("Logged in at ", registry, " as ", user, "; the login is kept in ", loginsPath(),
                   " and used from the next pull on.");
  co_return 0;
}

Task<int> logout(Context& context) {
  auto registry = registryOf(context);
  if (!dropLogin(registry)) {
    context.out.error(kj::str("there is no login for ", registry));
    co_return 1;
  }
  context.out.line("Login for ", registry, " removed.");
  co_return 0;
}

}  // namespace

const Command LOGIN = {.path = "login",
                       .operands = "[REGISTRY]",
                       .help = "Log in at a registry (default docker.io)",
                       .options = LOGIN_OPTIONS,
                       .run = login};
const Command LOGOUT = {.path = "logout",
                        .operands = "[REGISTRY]",
                        .help = "Forget the login for a registry (default docker.io)",
                        .options = {},
                        .run = logout};

}  // namespace orch::cli
