#include "kernel/rpc/listener.h"

#include <kj/debug.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "kernel/node-folders.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::rpc {

namespace {
constexpr int BACKLOG = 128;
}  // namespace

Listener::Listener(Env& env, log::Logger& logger, const std::string& runDir,
                   schema::Gateway::Client gateway, uint32_t maxConnections)
    : env(env),
      logger(logger),
      socketPath(runDir + "/orchd.sock"),
      lock(lockNodeFolder(runDir, "run")),
      maxConnections(maxConnections),
      server(kj::mv(gateway)) {
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (socketPath.size() >= sizeof(address.sun_path)) {
    fail(kj::str("the socket's path '", socketPath.c_str(),
                 "' is too long; give [node] a 'run' folder of at most ",
                 sizeof(address.sun_path) - 12, " characters"));
  }
  strcpy(address.sun_path, socketPath.c_str());
  int fd;
  KJ_SYSCALL(fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  kj::AutoCloseFd socketFd(fd);
  unlink(socketPath.c_str());  // of one that crashed: the lock is ours
  KJ_SYSCALL(bind(fd, reinterpret_cast<struct sockaddr*>(&address), sizeof(address)),
             socketPath.c_str());
  KJ_SYSCALL(chmod(socketPath.c_str(), 0660));
  KJ_SYSCALL(listen(fd, BACKLOG));
  receiver = env.lowLevelIo().wrapListenSocketFd(socketFd.release(),
                                                 kj::LowLevelAsyncIoProvider::TAKE_OWNERSHIP |
                                                     kj::LowLevelAsyncIoProvider::ALREADY_CLOEXEC |
                                                     kj::LowLevelAsyncIoProvider::ALREADY_NONBLOCK);
}

Listener::~Listener() noexcept(false) { unlink(socketPath.c_str()); }

void Listener::told(schema::LogLevel level, kj::StringPtr message, kj::StringPtr reason) {
  log::LogFields fields;
  fields.emplace_back("socket", kj::str(socketPath.c_str()));
  fields.emplace_back("connections", kj::str(open));
  if (reason.size() > 0) fields.emplace_back("reason", kj::str(reason));
  logger.write(level, message, fields);
}

Task<void> Listener::serve() {
  bool failing = false, full = false;  // each is said once, not once per connection
  for (;;) {
    // KJ throws at once what accept(2) answers at once.
    auto next = kj::evalNow([this]() { return receiver->accept(); });
    auto accepted = co_await attempt(kj::mv(next));
    if (!accepted.ok()) {
      if (!failing) {
        told(schema::LogLevel::WARN, "rpc.accept-failed, trying again until it works",
             accepted.message());
      }
      failing = true;
      co_await env.timer().afterDelay(RETRY_MS * kj::MILLISECONDS);
      continue;
    }
    if (failing) told(schema::LogLevel::INFO, "connections are accepted again", "");
    failing = false;
    bool fits = open < maxConnections;
    if (!fits && !full) {
      told(schema::LogLevel::WARN, "rpc.too-many-connections, closing new ones", "");
    }
    full = !fits;
    if (!fits) continue;
    ++open;
    server.accept(accepted.value().attach(kj::defer([this]() { --open; })));
  }
}

}  // namespace orch::rpc
