// login and logout.
#include <capnp/message.h>
#include <errno.h>
#include <unistd.h>

#include <cstring>

#include "arguments.h"
#include "commands.h"
#include "logins.h"
#include "output.h"
#include "value.h"

namespace orch::cli {

namespace {

constexpr size_t MAX_PASSWORD = 8192;  // registries' tokens have 2 to 4 KiB

constexpr Option LOGIN_OPTIONS[] = {
    {"-u,--username", "USER", "User name at the registry"},
    {"--password-stdin", nullptr, "Read the password from stdin, as from a file"},
};

kj::String registryOf(Context& context) {
  auto operands = context.args.operands();
  return parseRegistry(operands.size() > 0 ? kj::StringPtr(operands[0]) : "docker.io"_kj);
}

// Without the end of its line.
std::string readPassword() {
  std::string text;
  char buffer[1024];
  for (ssize_t n; (n = ::read(STDIN_FILENO, buffer, sizeof(buffer))) != 0;) {
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(kj::str("cannot read the password: ", strerror(errno)));
    text.append(buffer, n);
    if (text.size() > MAX_PASSWORD) {
      fail(kj::str("usage: a password has at most ", MAX_PASSWORD, " bytes"));
    }
  }
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  bool plain = !text.empty() && text.find('\0') == std::string::npos;
  if (!plain) fail(kj::str("usage: there is no password on stdin"));
  return text;
}

Task<int> login(Context& context) {
  auto registry = registryOf(context);
  auto user = parseWord("--username", context.args.text("--username"),
                        "the name of a user at the registry");
  if (user.findFirst(':') != nullptr) badValue("--username", user, "a name without ':'");
  if (!context.args.on("--password-stdin")) {
    fail(kj::str("usage: orch login takes the password from stdin: orch login -u ", user,
                 " --password-stdin ", registry, " < FILE"));
  }
  capnp::MallocMessageBuilder message;
  auto login = message.initRoot<schema::RegistryLogin>();
  login.setRegistry(registry);
  login.setUser(user);
  login.setPassword(readPassword().c_str());
  keepLogin(login);
  context.out.line("Login for ", registry, " kept in ", loginsPath(),
                   "; it is used from the next pull on.");
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
                       .help = "Keep a user's login for a registry (default docker.io)",
                       .options = LOGIN_OPTIONS,
                       .run = login};
const Command LOGOUT = {.path = "logout",
                        .operands = "[REGISTRY]",
                        .help = "Forget a login for a registry (default docker.io)",
                        .options = {},
                        .run = logout};

}  // namespace orch::cli
