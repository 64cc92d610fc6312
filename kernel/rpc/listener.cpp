#include "kernel/rpc/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "orch/fail.h"
#include "orch/file-lock.h"

namespace orch::rpc {

namespace {

constexpr int BACKLOG = 128;

kj::AutoCloseFd takeLock(const std::string& runDir) {
  auto path = runDir + "/orchd.lock";
  int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) fail(kj::str("cannot open '", path.c_str(), "': ", strerror(errno)));
  kj::AutoCloseFd lock(fd);
  if (!lockFile(lock)) {
    char pid[16] = {};
    ssize_t n = pread(lock, pid, sizeof(pid) - 1, 0);
    fail(kj::str("another orchd (pid ", n > 0 ? pid : "unknown", ") uses '", runDir.c_str(),
                 "'; stop it, or give this one another 'run' folder in [node]"));
  }
  auto pid = kj::str(getpid());
  KJ_SYSCALL(ftruncate(lock, 0));
  KJ_SYSCALL(pwrite(lock, pid.begin(), pid.size(), 0));
  return lock;
}

}  // namespace

Listener::Listener(Env& env, const std::string& runDir, schema::Gateway::Client gateway)
    : socketPath(runDir + "/orchd.sock"), lock(takeLock(runDir)), server(kj::mv(gateway)) {
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

kj::Promise<void> Listener::serve() { return server.listen(*receiver); }

}  // namespace orch::rpc
