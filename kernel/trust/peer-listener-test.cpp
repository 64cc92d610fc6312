#include "kernel/trust/peer-listener.h"

#include <arpa/inet.h>
#include <catch2/catch.hpp>
#include <sys/socket.h>
#include <unistd.h>

#include "kernel/rpc/peer-gateway.h"
#include "orch/attempt.h"
#include "orch/testing/held-time.h"
#include "orch/testing/test-authority.h"
#include "orch/trust/peer-link.h"

namespace orch::trust {
namespace {

// Answers who it was opened for, as the kernel has told it.
class WhoServer final : public schema::Gateway::Server {
 public:
  explicit WhoServer(schema::Peer::Reader peer) : id(kj::str(peer.getId())) {}
  kj::Promise<void> version(VersionContext context) override {
    context.getResults().setNode(id);
    return kj::READY_NOW;
  }

 private:
  const kj::String id;
};

class OpenFor final : public schema::PeerService::Server {
 public:
  explicit OpenFor(schema::Role role) : role(role) {}
  kj::Promise<void> open(OpenContext context) override {
    auto peer = context.getParams().getPeer();
    if (peer.getRole() != role) fail(kj::str("not for this role"));
    context.getResults().setService(kj::heap<WhoServer>(peer));
    return kj::READY_NOW;
  }

 private:
  const schema::Role role;
};

// Lets in whoever comes, until `reject`.
class AdmitServer final : public schema::PeerService::Server {
 public:
  explicit AdmitServer(kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>>& ends) : ends(ends) {}
  kj::Promise<void> open(OpenContext context) override {
    if (context.getParams().getPeer().getId() != "ann") fail(kj::str("there is no such admin"));
    context.getResults().setService(kj::heap<Admission>(ends));
    return kj::READY_NOW;
  }

 private:
  class Admission final : public schema::Admission::Server {
   public:
    explicit Admission(kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>>& ends) : ends(ends) {}
    kj::Promise<void> ended(EndedContext context) override {
      context.allowCancellation();
      auto pair = kj::newPromiseAndFulfiller<void>();
      ends = kj::mv(pair.fulfiller);
      return pair.promise.then(
          [context]() mutable { context.getResults().setReason("the admin 'ann' was removed"); });
    }

   private:
    kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>>& ends;
  };
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>>& ends;
};

// Says more than fits between two hosts that do not read.
class LongServer final : public schema::Gateway::Server {
 public:
  kj::Promise<void> version(VersionContext context) override {
    context.getResults().setNode(std::string(8 << 20, 'x').c_str());
    return kj::READY_NOW;
  }
};

// Writes and never reads.
class Deaf final : public kj::AsyncIoStream {
 public:
  explicit Deaf(kj::Own<kj::AsyncIoStream> stream) : stream(kj::mv(stream)) {}
  kj::Promise<size_t> tryRead(void*, size_t, size_t) override { return kj::NEVER_DONE; }
  kj::Promise<void> write(const void* buffer, size_t size) override {
    return stream->write(buffer, size);
  }
  kj::Promise<void> write(kj::ArrayPtr<const kj::ArrayPtr<const kj::byte>> pieces) override {
    return stream->write(pieces);
  }
  kj::Promise<void> whenWriteDisconnected() override { return kj::NEVER_DONE; }
  void shutdownWrite() override { stream->shutdownWrite(); }

 private:
  kj::Own<kj::AsyncIoStream> stream;
};

// The gateway of the socket, with a service whose calls do not end.
class WholeServer final : public schema::Gateway::Server {
 public:
  kj::Promise<void> version(VersionContext context) override {
    context.getResults().setNode("all of n1");
    return kj::READY_NOW;
  }
  kj::Promise<void> services(ServicesContext context) override {
    context.allowCancellation();
    return kj::NEVER_DONE;
  }
  kj::Promise<void> service(ServiceContext context) override {
    bool isLong = context.getParams().getName() == "long";
    context.getResults().setCapability(isLong ? schema::Gateway::Client(kj::heap<LongServer>())
                                              : kj::heap<WholeServer>());
    return kj::READY_NOW;
  }
};

struct PeerFixture {
  explicit PeerFixture(kj::StringPtr name)
      : folder(name),
        io(kj::setupAsyncIo()),
        env(newSystemEnv(io)),
        time(*env, io.waitScope),
        logger("kernel", schema::LogLevel::ERROR),
        refusals(time, logger),
        authority(folder, "own"),
        listener(time, refusals, shown(), [this](schema::Peer::Reader peer) {
          auto found = rpc::newPeerGateway(registry, refusals, "n1", peer);
          bool admin = peer.getRole() == schema::Role::ADMIN;
          auto whole = kj::heap<WholeServer>();
          return admin ? rpc::newAdminGateway(ready.addBranch(), kj::mv(found), kj::mv(whole))
                       : found;
        }) {
    capnp::MallocMessageBuilder nobody;
    for (auto service : {"cluster", "store.local", "dispatcher", "join"}) {
      registry.offer(service, kj::heap<WhoServer>(nobody.getRoot<schema::Peer>().asReader()));
    }
    registry.offerToPeers("dispatcher", kj::heap<OpenFor>(schema::Role::WORKER));
    registry.offerToPeers("join", kj::heap<OpenFor>(schema::Role::JOINER));
    registry.offerToPeers("renewal", kj::heap<OpenFor>(schema::Role::ADMIN));
    registry.offerToPeers("admin", kj::heap<AdmitServer>(ends));
    listener.open(kj::str("127.0.0.1:0")).wait(io.waitScope);
  }

  Shown shown() {
    auto keys = newKeyRequest();
    auto certificate = authority.sign(keys.request, "orch-manager", "n1", "manager.orch");
    return {{authority.certificate(), "", ""}, certificate, keys.key};
  }
  kj::Own<kj::TlsContext> worker(testing::TestAuthority& signer, const char* unit = "orch-worker",
                                 int days = 1, const char* id = "node1") {
    auto keys = newKeyRequest();
    auto certificate = signer.sign(keys.request, unit, id, "worker.orch", days);
    return newTls(*env, authority.certificate(), certificate, keys.key, true);
  }
  kj::Own<kj::AsyncIoStream> connect(const char* source = "127.0.0.1") {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in from = {}, to = {};
    from.sin_family = to.sin_family = AF_INET;
    REQUIRE(inet_pton(AF_INET, source, &from.sin_addr) == 1);
    REQUIRE(inet_pton(AF_INET, "127.0.0.1", &to.sin_addr) == 1);
    to.sin_port = htons(listener.port());
    REQUIRE(bind(fd, reinterpret_cast<struct sockaddr*>(&from), sizeof(from)) == 0);
    REQUIRE(::connect(fd, reinterpret_cast<struct sockaddr*>(&to), sizeof(to)) == 0);
    return io.lowLevelProvider->wrapSocketFd(fd, kj::LowLevelAsyncIoProvider::TAKE_OWNERSHIP |
                                                     kj::LowLevelAsyncIoProvider::ALREADY_CLOEXEC);
  }
  kj::Own<PeerLink> link(kj::TlsContext& tls) {
    auto secure = tls.wrapClient(connect(), MANAGER_NAME).wait(io.waitScope);
    return kj::heap<PeerLink>(kj::mv(secure));
  }
  kj::Own<PeerLink> linkAsJoiner() {
    auto tls = newTls(*env, authority.certificate(), "", "", false);
    auto stream = connect();
    stream->write("J", 1).wait(io.waitScope);
    auto secure = tls->wrapClient(kj::mv(stream), MANAGER_NAME).wait(io.waitScope);
    return kj::heap<PeerLink>(kj::mv(secure));
  }
  std::vector<std::string> services(PeerLink& link) {
    auto answer = link.bootstrap<schema::Gateway>().servicesRequest().send().wait(io.waitScope);
    std::vector<std::string> names;
    for (auto name : answer.getNames()) names.emplace_back(name.cStr());
    return names;
  }
  // The id that the service has been told, or why there is none.
  std::string ask(PeerLink& link, const char* service) {
    auto request = link.bootstrap<schema::Gateway>().serviceRequest();
    request.setName(service);
    auto found = request.send().getCapability().castAs<schema::Gateway>();
    auto answered = attempt(found.versionRequest().send()).wait(io.waitScope);
    if (!answered.ok()) return answered.message().cStr();
    return answered.value().getNode().cStr();
  }
  // Whether the other end serves it; TLS tells a client only afterwards that it was refused.
  bool serves(kj::TlsContext& tls) {
    auto linked = attempt(tls.wrapClient(connect(), MANAGER_NAME)).wait(io.waitScope);
    if (!linked.ok()) return false;
    PeerLink made(kj::mv(linked.value()));
    auto asked = made.bootstrap<schema::Gateway>().versionRequest().send();
    return attempt(kj::mv(asked)).wait(io.waitScope).ok();
  }
  // All that comes until the other end closes.
  std::string rest(kj::AsyncIoStream& stream) {
    std::string all;
    for (char buffer[4096];;) {
      auto n = attempt(stream.tryRead(buffer, 1, sizeof(buffer))).wait(io.waitScope);
      if (!n.ok() || n.value() == 0) return all;
      all.append(buffer, n.value());
    }
  }
  void awaitConnections(uint32_t count) {
    testing::until(*env, io.waitScope, "the number of connections",
                   [&]() { return listener.connections() == count; });
  }

  testing::TestFolder folder;
  kj::AsyncIoContext io;
  kj::Own<Env> env;
  testing::HeldTime time;
  log::Logger logger;
  log::Refusals refusals;
  testing::TestAuthority authority;
  rpc::Registry registry;
  kj::ForkedPromise<void> ready = kj::Promise<void>(kj::READY_NOW).fork();  // to let admins in
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> ends;  // of the admin's admission
  PeerListener listener;
};

TEST_CASE("peers: a worker gets what is open to it, as who its certificate says it is", "[trust]") {
  PeerFixture f("peers-worker");
  auto tls = f.worker(f.authority);
  auto link = f.link(*tls);
  CHECK(f.services(*link) == std::vector<std::string>{"dispatcher"});
  CHECK(f.ask(*link, "dispatcher") == "node1");
  CHECK(f.ask(*link, "cluster") == "node 'n1' has no service 'cluster' for other hosts");
  CHECK(f.ask(*link, "store.local") == "node 'n1' has no service 'store.local' for other hosts");
  CHECK(f.ask(*link, "join") == "not for this role");
  CHECK(f.ask(*link, std::string(1 << 20, 'x').c_str()) ==
        "usage: no service has a name that long");
}

TEST_CASE("peers: a joiner may join and nothing else", "[trust]") {
  PeerFixture f("peers-joiner");
  auto link = f.linkAsJoiner();
  CHECK(f.services(*link) == std::vector<std::string>{"join"});
  CHECK(f.ask(*link, "join").empty());
  CHECK(f.ask(*link, "dispatcher") == "not for this role");
  CHECK(f.ask(*link, "cluster") == "node 'n1' has no service 'cluster' for other hosts");
  // Its time is short.
  f.time.advance(HANDSHAKE_LIMIT);
  link->onDisconnect().wait(f.io.waitScope);
}

TEST_CASE("peers: an admin waits for the plugin that lets it in, on a node that is starting",
          "[trust]") {
  PeerFixture f("peers-starting");
  f.registry.withdraw("admin");
  auto started = kj::newPromiseAndFulfiller<void>();
  f.ready = started.promise.fork();
  auto tls = f.worker(f.authority, "orch-admin", 1, "ann");
  auto link = f.link(*tls);
  auto request = link->bootstrap<schema::Gateway>().serviceRequest();
  request.setName("cluster");
  auto asking = request.send().getCapability().castAs<schema::Gateway>().versionRequest().send();
  f.registry.offerToPeers("admin", kj::heap<AdmitServer>(f.ends));
  started.fulfiller->fulfill();
  CHECK(asking.wait(f.io.waitScope).getNode() == "all of n1");
}

TEST_CASE("peers: an admin has the whole gateway until it is removed", "[trust]") {
  PeerFixture f("peers-admin");
  auto tls = f.worker(f.authority, "orch-admin", 1, "ann");
  auto link = f.link(*tls);
  CHECK(f.ask(*link, "cluster") == "all of n1");
  CHECK(f.ask(*link, "renewal") == "ann");
  auto gateway = link->bootstrap<schema::Gateway>();
  auto waiting = attempt(gateway.servicesRequest().send());
  auto kept = gateway.serviceRequest().send().wait(f.io.waitScope).getCapability();
  KJ_ASSERT_NONNULL(f.ends)->fulfill();
  // What it waits for ends, what it has does nothing more, and it gets nothing.
  auto ended = kj::mv(waiting).wait(f.io.waitScope);
  REQUIRE(!ended.ok());
  CHECK(ended.message() == "the admin 'ann' was removed");
  auto asked = attempt(kept.castAs<schema::Gateway>().versionRequest().send()).wait(f.io.waitScope);
  REQUIRE(!asked.ok());
  CHECK(asked.message() == "the admin 'ann' was removed");
  CHECK(f.ask(*link, "cluster") == "the admin 'ann' was removed");
  CHECK(f.ask(*link, "renewal") == "the admin 'ann' was removed");
  auto other = f.worker(f.authority, "orch-admin", 1, "bob");
  CHECK(f.ask(*f.link(*other), "cluster") == "there is no such admin");
}

TEST_CASE("peers: a new certificate is for those who come, and whoever is there stays", "[trust]") {
  PeerFixture f("peers-renewed");
  auto tls = f.worker(f.authority);
  auto before = f.link(*tls);
  REQUIRE(f.ask(*before, "dispatcher") == "node1");
  auto fresh = f.shown();
  f.listener.show(fresh);
  CHECK(f.ask(*before, "dispatcher") == "node1");
  auto stream = f.connect();
  kj::AuthenticatedStream plain{kj::mv(stream), kj::UnknownPeerIdentity::newInstance()};
  auto after = tls->wrapClient(kj::mv(plain), MANAGER_NAME).wait(f.io.waitScope);
  CHECK(holderOf(*after.peerIdentity).fingerprint == digestOf(fresh.certificate));
  CHECK(f.listener.connections() == 2);
}

TEST_CASE("peers: an authority that was replaced lets admins in, and nobody else", "[trust]") {
  PeerFixture f("peers-replaced");
  testing::TestAuthority next(f.folder, "next");
  auto keys = newKeyRequest();
  auto fresh = next.sign(keys.request, "orch-manager", "n1", "manager.orch");
  auto of = [&](testing::TestAuthority& signer, const char* unit, const char* id) {
    auto own = newKeyRequest();
    auto certificate = signer.sign(own.request, unit, id);
    return newTls(*f.env, next.certificate() + f.authority.certificate(), certificate, own.key,
                  true);
  };
  auto oldAdmin = of(f.authority, "orch-admin", "ann"), old = of(f.authority, "orch-worker", "w1");
  auto admin = f.link(*oldAdmin);
  REQUIRE(f.ask(*admin, "cluster") == "all of n1");
  auto worker = f.link(*old);
  REQUIRE(f.ask(*worker, "dispatcher") == "w1");
  // Both count: whoever is there stays.
  f.listener.show({{next.certificate() + f.authority.certificate(), "", ""}, fresh, keys.key});
  CHECK(f.ask(*worker, "dispatcher") == "w1");
  auto followed = of(next, "orch-worker", "w2");
  auto other = f.link(*followed);
  REQUIRE(f.ask(*other, "dispatcher") == "w2");
  // The new one alone.
  f.listener.show({{next.certificate(), f.authority.certificate(), ""}, fresh, keys.key});
  f.time.advance(PeerListener::STALE_MS * kj::MILLISECONDS);
  worker->onDisconnect().wait(f.io.waitScope);
  CHECK(f.ask(*other, "dispatcher") == "w2");
  CHECK(f.ask(*admin, "cluster") == "all of n1");
  CHECK_FALSE(f.serves(*old));
  CHECK(f.ask(*f.link(*oldAdmin), "cluster") == "all of n1");
  CHECK(f.ask(*f.link(*followed), "dispatcher") == "w2");
  // And an authority of before that signs another one is nobody, either.
  CHECK_FALSE(f.serves(*of(f.authority, "orch-manager", "n9")));
}

TEST_CASE("peers: nodes whose authority is trusted no more are let go one by one", "[trust]") {
  PeerFixture f("peers-stale");
  testing::TestAuthority next(f.folder, "next");
  auto keys = newKeyRequest();
  auto fresh = next.sign(keys.request, "orch-manager", "n1", "manager.orch");
  auto tls = f.worker(f.authority);
  std::vector<kj::Own<PeerLink>> links;
  constexpr uint32_t COUNT = 32;
  for (uint32_t i = 0; i < COUNT; ++i) {
    links.push_back(f.link(*tls));
    REQUIRE(f.ask(*links.back(), "dispatcher") == "node1");
  }
  f.listener.show({{next.certificate(), f.authority.certificate(), ""}, fresh, keys.key});
  constexpr auto HALF = PeerListener::STALE_MS / 2 * kj::MILLISECONDS;
  f.time.advance(HALF);
  testing::until(*f.env, f.io.waitScope, "some are let go",
                 [&] { return f.listener.connections() < COUNT; });
  CHECK(f.listener.connections() > 0);
  f.time.advance(HALF);
  testing::until(*f.env, f.io.waitScope, "all are let go",
                 [&] { return f.listener.connections() == 0; });
}

TEST_CASE("peers: without a valid certificate nobody is served", "[trust]") {
  PeerFixture f("peers-certificates");
  testing::TestAuthority foreign(f.folder, "foreign");
  CHECK(f.serves(*f.worker(f.authority)));
  CHECK_FALSE(f.serves(*newTls(*f.env, f.authority.certificate(), "", "", true)));
  CHECK_FALSE(f.serves(*f.worker(foreign)));
  CHECK_FALSE(f.serves(*f.worker(f.authority, "orch-worker", -1)));
  CHECK_FALSE(f.serves(*f.worker(f.authority, "orch-king")));
  f.awaitConnections(0);
}

TEST_CASE("peers: whoever says nonsense, too much or nothing is gone soon", "[trust]") {
  PeerFixture f("peers-nonsense");
  auto silent = f.connect(), garbage = f.connect(), hello = f.connect(), much = f.connect();
  garbage->write("GET / HTTP/1.1\r\n", 16).wait(f.io.waitScope);
  CHECK(f.rest(*garbage).empty());
  // A record of TLS that never comes to its end, and a message that would be 512 MiB.
  hello->write("\x16\x03\x01\x40\x00", 5).wait(f.io.waitScope);
  const kj::byte header[] = {0, 0, 0, 0, 0, 0, 0, 4};
  much->write(header, sizeof(header)).wait(f.io.waitScope);
  f.rest(*much);
  SECTION("a stranger says little") {
    auto talker = f.connect();
    std::string calls(PeerListener::STRANGER_BYTES * 4, '\0');
    auto wrote = attempt(talker->write(calls.data(), calls.size()));
    f.rest(*talker);
  }
  f.awaitConnections(2);
  f.time.advance(HANDSHAKE_LIMIT);
  CHECK(f.rest(*silent).empty());
  f.rest(*hello);
  f.awaitConnections(0);
}

TEST_CASE("peers: half-open connections of one address are few, and others come in", "[trust]") {
  PeerFixture f("peers-half-open");
  std::vector<kj::Own<kj::AsyncIoStream>> open;
  for (int i = 0; i < 300; ++i) {
    open.push_back(f.connect("127.0.0.2"));
    f.io.waitScope.poll();
  }
  f.awaitConnections(PeerListener::STRANGERS_PER_ADDRESS);
  CHECK(f.rest(*open.back()).empty());
  CHECK(f.serves(*f.worker(f.authority)));
  CHECK(f.ask(*f.linkAsJoiner(), "join").empty());
  f.time.advance(HANDSHAKE_LIMIT);
  f.awaitConnections(0);
  auto again = f.connect("127.0.0.2");
  f.awaitConnections(1);
}

TEST_CASE("peers: half-open connections of many addresses are few, and others come in", "[trust]") {
  PeerFixture f("peers-half-open-many");
  std::vector<kj::Own<kj::AsyncIoStream>> open;
  constexpr uint32_t ADDRESSES = 20, EACH = PeerListener::STRANGERS_PER_ADDRESS - 1;
  for (uint32_t i = 0; i < ADDRESSES * EACH; ++i) {
    auto from = kj::str("127.0.0.", 2 + i % ADDRESSES);
    open.push_back(f.connect(from.cStr()));
    f.io.waitScope.poll();
  }
  f.awaitConnections(PeerListener::MAX_STRANGERS);
  for (uint32_t i = 0; i < 20; ++i) {
    CHECK(f.serves(*f.worker(f.authority)));
    CHECK(f.ask(*f.linkAsJoiner(), "join").empty());
  }
  // The oldest have gone, the youngest stay until their time is over.
  CHECK(f.rest(*open.front()).empty());
  f.time.advance(HANDSHAKE_LIMIT);
  f.awaitConnections(0);
}

TEST_CASE("peers: whoever does not read what it asks for is gone soon, and holds up nobody",
          "[trust]") {
  PeerFixture f("peers-deaf");
  auto tls = f.worker(f.authority, "orch-admin", 1, "ann");
  auto stream = tls->wrapClient(f.connect(), MANAGER_NAME).wait(f.io.waitScope);
  PeerLink link(kj::heap<Deaf>(kj::mv(stream)));
  auto request = link.bootstrap<schema::Gateway>().serviceRequest();
  request.setName("long");
  auto found = request.send();
  std::vector<kj::Promise<void>> asked;
  for (int i = 0; i < 4; ++i) {
    auto version = found.getCapability().castAs<schema::Gateway>().versionRequest().send();
    asked.push_back(version.ignoreResult());
  }
  CHECK(f.serves(*f.worker(f.authority)));
  uint32_t seconds = 0;
  testing::until(*f.env, f.io.waitScope, "its connection to end", [&]() {
    f.time.advance(1 * kj::SECONDS);
    ++seconds;
    return f.listener.connections() == 0;
  });
  CHECK(seconds >= HANDSHAKE_LIMIT / kj::SECONDS);
}

TEST_CASE("peers: one connection of a member too many ends its oldest", "[trust]") {
  PeerFixture f("peers-many");
  auto tls = f.worker(f.authority);
  std::vector<kj::Own<PeerLink>> links;
  for (uint32_t i = 0; i < PeerListener::CONNECTIONS_PER_MEMBER; ++i) {
    links.push_back(f.link(*tls));
    CHECK(f.ask(*links.back(), "dispatcher") == "node1");
  }
  auto last = f.link(*tls);
  CHECK(f.ask(*last, "dispatcher") == "node1");
  links.front()->onDisconnect().wait(f.io.waitScope);
  CHECK(f.ask(*links[1], "dispatcher") == "node1");
  CHECK(f.listener.connections() == PeerListener::CONNECTIONS_PER_MEMBER);
}

}  // namespace
}  // namespace orch::trust
