#include "registry.h"

#include <fcntl.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <stdlib.h>
#include <unistd.h>

#include <string>

#include "orch/attempt.h"
#include "orch/durable-file.h"
#include "orch/fail.h"

namespace orch::cli {

namespace {

constexpr kj::Duration PATIENCE = 60 * kj::SECONDS;

// What decides how registries are reached.
constexpr const char* INHERITED[] = {"HOME",         "PATH",         "HTTP_PROXY",  "HTTPS_PROXY",
                                     "NO_PROXY",     "http_proxy",   "https_proxy", "no_proxy",
                                     "SSL_CERT_DIR", "SSL_CERT_FILE"};

// In memory and for nobody else: skopeo writes the password there.
class Scratch final {
 public:
  Scratch() {
    if (mkdtemp(path) == nullptr) failFile("make", path, errno);
  }
  ~Scratch() noexcept(false) { removeTree(path); }
  KJ_DISALLOW_COPY(Scratch);
  kj::String file() const { return kj::str(path, "/auth.json"); }

 private:
  char path[32] = "/dev/shm/orch-login-XXXXXX";
};

kj::AutoCloseFd readEndWith(kj::StringPtr text) {
  int fds[2];
  KJ_SYSCALL(pipe2(fds, O_CLOEXEC));
  kj::AutoCloseFd readEnd(fds[0]), writeEnd(fds[1]);
  kj::FdOutputStream(writeEnd.get()).write(text.begin(), text.size());  // less than a pipe holds
  return readEnd;
}

// The text of the last msg="…" of skopeo's log; empty if there is none.
std::string messageIn(kj::StringPtr log) {
  constexpr std::string_view KEY = "msg=\"";
  std::string_view all(log.begin(), log.size());
  auto begin = all.rfind(KEY);
  std::string text;
  for (size_t i = begin + KEY.size(); begin != all.npos && i < all.size() && all[i] != '"'; ++i) {
    if (all[i] == '\\' && i + 1 < all.size()) ++i;
    text += all[i];
  }
  return text;
}

}  // namespace

Task<void> checkLogin(Env& env, schema::RegistryLogin::Reader login, bool verifyTls) {
  Scratch scratch;
  auto password = readEndWith(login.getPassword());
  ProcessSpec spec;
  spec.argv.add(kj::str("skopeo"));
  spec.argv.add(kj::str("login"));
  spec.argv.add(kj::str("--authfile=", scratch.file()));
  spec.argv.add(kj::str("--username=", login.getUser()));
  spec.argv.add(kj::str("--password-stdin"));
  if (!verifyTls) spec.argv.add(kj::str("--tls-verify=false"));
  spec.argv.add(kj::str(login.getRegistry()));
  for (auto name : INHERITED) {
    if (const char* value = getenv(name)) spec.env.add(kj::str(name, "=", value));
  }
  spec.fds.add(ProcessSpec::Fd{0, password});
  auto where = kj::str("cannot log in at '", login.getRegistry(), "'");
  auto late = []() -> CommandResult {
    fail(kj::str("it does not answer within ", PATIENCE / kj::SECONDS, " s"));
  };
  auto timeUp = env.timer().afterDelay(PATIENCE).then(kj::mv(late));
  auto asking = env.command(kj::mv(spec)).promise().exclusiveJoin(kj::mv(timeUp));
  auto answer = co_await attempt(kj::mv(asking));
  if (!answer.ok()) fail(kj::str(where, ": ", answer.message()));
  auto& asked = answer.value();
  if (asked.status == 0) co_return;
  auto reason = messageIn(asked.errors);
  if (reason.find("invalid username/password") != std::string::npos) {
    fail(kj::str(where, ": it does not know user '", login.getUser(), "' with this password"));
  }
  bool plain = verifyTls && (reason.find("HTTP response to HTTPS") != std::string::npos ||
                             reason.find("x509") != std::string::npos);
  fail(kj::str(
      where, ": ",
      reason.empty() ? kj::str("skopeo ended with ", asked.status) : kj::str(reason.c_str()),
      plain ? "; if that is as it should be: --tls-verify=false" : ""));
}

}  // namespace orch::cli
