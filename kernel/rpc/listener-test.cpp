#include "kernel/rpc/listener.h"

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "orch/attempt.h"
#include "orch/testing/held-time.h"
#include "orch/testing/test-host.h"

namespace orch::rpc {
namespace {

class VersionServer final : public schema::Gateway::Server {
 public:
  kj::Promise<void> version(VersionContext context) override {
    context.getResults().setVersion("1");
    return kj::READY_NOW;
  }
};

struct ListenerFixture {
  explicit ListenerFixture(kj::StringPtr name, uint32_t maxConnections = Listener::MAX_CONNECTIONS)
      : folder(name),
        io(kj::setupAsyncIo()),
        env(newSystemEnv(io)),
        logger("kernel", schema::LogLevel::ERROR),
        listener(*env, logger, folder.path().cStr(), kj::heap<VersionServer>(), maxConnections),
        serving(listener.serve().promise().eagerlyEvaluate(nullptr)) {}

  kj::Own<kj::AsyncIoStream> connect() {
    auto address = kj::str("unix:", folder.sub("orchd.sock"));
    return io.provider->getNetwork()
        .parseAddress(address)
        .then([](kj::Own<kj::NetworkAddress>&& a) {
          auto connected = a->connect();
          return connected.attach(kj::mv(a));
        })
        .wait(io.waitScope);
  }
  bool answers(kj::AsyncIoStream& stream) {
    capnp::TwoPartyClient client(stream);
    auto request = client.bootstrap().castAs<schema::Gateway>().versionRequest();
    return attempt(request.send().ignoreResult()).wait(io.waitScope).ok();
  }

  testing::TestFolder folder;
  kj::AsyncIoContext io;
  kj::Own<Env> env;
  log::Logger logger;
  Listener listener;
  kj::Promise<void> serving;
};

TEST_CASE("listener: one connection too many is closed, and one that ends makes room", "[rpc]") {
  ListenerFixture f("listener-full", 2);
  auto first = f.connect();
  CHECK(f.answers(*first));
  auto one = f.connect(), two = f.connect(), three = f.connect();
  bool served = f.answers(*one) && f.answers(*two);
  CHECK_FALSE((served && f.answers(*three)));
  first = nullptr;
  one = nullptr;
  two = nullptr;
  three = nullptr;
  testing::until(*f.env, f.io.waitScope, "the end of all connections",
                 [&]() { return f.listener.connections() == 0; });
  auto again = f.connect();
  CHECK(f.answers(*again));
}

TEST_CASE("listener: without descriptors connections wait, and are served when there are some",
          "[rpc]") {
  ListenerFixture f("listener-emfile");
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  REQUIRE(fd >= 0);
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  auto path = f.folder.sub("orchd.sock");
  strcpy(address.sun_path, path.cStr());
  struct rlimit before;
  REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
  struct rlimit none = {static_cast<rlim_t>(fd), before.rlim_max};
  REQUIRE(setrlimit(RLIMIT_NOFILE, &none) == 0);
  bool connected = connect(fd, reinterpret_cast<struct sockaddr*>(&address), sizeof(address)) == 0;
  f.io.waitScope.poll();  // the accept fails
  auto refused = f.listener.connections();
  REQUIRE(setrlimit(RLIMIT_NOFILE, &before) == 0);
  CHECK(connected);
  CHECK(refused == 0);
  auto stream =
      f.io.lowLevelProvider->wrapSocketFd(fd, kj::LowLevelAsyncIoProvider::TAKE_OWNERSHIP |
                                                  kj::LowLevelAsyncIoProvider::ALREADY_CLOEXEC |
                                                  kj::LowLevelAsyncIoProvider::ALREADY_NONBLOCK);
  CHECK(f.answers(*stream));
}

}  // namespace
}  // namespace orch::rpc
