#include "lib/claims.h"

#include <errno.h>
#include <kj/debug.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

namespace orch::network {

namespace {

// Nothing if somebody has it.
kj::Maybe<kj::AutoCloseFd> claim(kj::StringPtr what, const std::string& name) {
  int fd;
  KJ_SYSCALL(fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  kj::AutoCloseFd owned(fd);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  auto text = kj::str("orch network ", what, " ", name.c_str());
  KJ_ASSERT(text.size() < sizeof(address.sun_path));
  memcpy(address.sun_path + 1, text.begin(), text.size());  // a zero before it: abstract
  socklen_t size = offsetof(sockaddr_un, sun_path) + 1 + text.size();
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0) return kj::mv(owned);
  int error = errno;
  if (error != EADDRINUSE) KJ_FAIL_SYSCALL("bind", error, text);
  return nullptr;
}

}  // namespace

kj::Maybe<kj::String> Claims::take(kj::StringPtr what, const std::string& name) {
  KJ_IF_MAYBE (socket, claim(what, name)) {
    sockets.push_back(kj::mv(*socket));
    return nullptr;
  }
  sockets.clear();
  return kj::str("the ", what, " '", name.c_str(), "'");
}

}  // namespace orch::network
