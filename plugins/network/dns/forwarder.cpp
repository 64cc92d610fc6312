#include "forwarder.h"

#include <errno.h>
#include <kj/debug.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <algorithm>

#include "lib/netns.h"
#include "orch/attempt.h"

namespace orch::network::dns {

namespace {
constexpr size_t LENGTH_BYTES = 2;
constexpr size_t SOCKETS_AT_ONCE = 8;
// More servers than these are no sign of a cluster but of an error; forgetting all is harmless.
constexpr size_t MOST_SILENT = 1000;

kj::AutoCloseFd made(int family, int type) {
  int fd;
  KJ_SYSCALL(fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  return kj::AutoCloseFd(fd);
}

// Not to be guessed by who would like to answer in the server's place.
uint16_t randomId() {
  uint16_t id;
  KJ_SYSCALL(getrandom(&id, sizeof(id), 0));
  return id;
}

bool isOfUse(Message answer) {
  auto code = rcodeOf(answer);
  return code == Rcode::NOERROR || code == Rcode::NXDOMAIN;
}
}  // namespace

Task<Bytes> readMessage(kj::AsyncInputStream& stream) {
  uint8_t length[LENGTH_BYTES];
  auto read = co_await stream.tryRead(length, LENGTH_BYTES, LENGTH_BYTES);
  if (read < LENGTH_BYTES) co_return Bytes();
  Bytes message(length[0] << 8 | length[1]);
  auto body = co_await stream.tryRead(message.data(), message.size(), message.size());
  if (body < message.size()) message.clear();
  co_return kj::mv(message);
}

Task<void> writeMessage(kj::AsyncOutputStream& stream, Bytes message) {
  uint8_t length[LENGTH_BYTES] = {uint8_t(message.size() >> 8), uint8_t(message.size())};
  message.insert(message.begin(), length, length + LENGTH_BYTES);
  co_await stream.write(message.data(), message.size());
}

kj::AutoCloseFd Asker::newSocket(int family, int type) {
  if (servers.empty()) return made(family, type);
  kj::AutoCloseFd result;
  if (type == SOCK_STREAM) {
    inNamespace(inside, [&] { result = made(family, type); });
    return result;
  }
  auto& ready = stock[family];
  if (ready.empty()) {
    inNamespace(inside, [&] {
      for (size_t i = 0; i < SOCKETS_AT_ONCE; ++i) ready.push_back(made(family, type));
    });
  }
  result = kj::mv(ready.back());
  ready.pop_back();
  return result;
}

Forwarder::Forwarder(Parts parts, std::string resolvConf, kj::Duration timeout,
                     kj::Function<void()> complain)
    : parts(parts),
      host(kj::mv(resolvConf)),
      timeout(timeout),
      complain(kj::mv(complain)),
      scratch(MOST_BYTES) {}

bool Forwarder::wasSilent(const Server& server) {
  auto found = silent.find(server);
  return found != silent.end() && parts.timer.now() - found->second < SILENCE;
}

std::vector<Server> Forwarder::serversOf(const Asker& asker) {
  auto servers = asker.servers.empty() ? host.current() : asker.servers;
  if (generation != host.generation()) {
    generation = host.generation();
    cache.clear();
  }
  std::stable_partition(servers.begin(), servers.end(),
                        [&](auto& server) { return !wasSilent(server); });
  return servers;
}

Task<Bytes> Forwarder::ask(Asker& asker, Bytes query, bool tcp) {
  auto servers = serversOf(asker);
  if (servers.empty()) co_return refusalOf(query, Rcode::NXDOMAIN);
  // What the host's servers say is the same for all tasks.
  auto scope = asker.servers.empty() ? std::string() : asker.taskId;
  scope += tcp ? " tcp" : " udp";
  auto known = cache.find(scope, query, parts.timer.now());
  if (!known.empty()) co_return kj::mv(known);
  if (underWay >= MOST_UNDER_WAY || asker.underWay >= MOST_OF_ONE) {
    co_return refusalOf(query, Rcode::SERVFAIL);
  }
  ++underWay;
  ++asker.underWay;
  KJ_DEFER({
    --underWay;
    --asker.underWay;
  });
  auto outgoing = query;
  setId(outgoing, randomId());
  auto answer = co_await askInTurn(asker, kj::mv(servers), kj::mv(outgoing), tcp);
  if (answer.empty()) {
    complain();
    co_return refusalOf(query, Rcode::SERVFAIL);
  }
  setId(answer, idOf(query));
  cache.put(scope, query, answer, parts.timer.now());
  co_return kj::mv(answer);
}

Task<Bytes> Forwarder::askInTurn(Asker& asker, std::vector<Server> servers, Bytes query, bool tcp) {
  Bytes refusal;
  for (auto& server : servers) {
    kj::Promise<Bytes> asking =
        tcp ? askByTcp(asker, server, query) : askByUdp(asker, server, query);
    auto late = parts.timer.afterDelay(timeout).then([] { return Bytes(); });
    auto outcome = co_await attempt(asking.exclusiveJoin(kj::mv(late)));
    if (!outcome.ok() || outcome.value().empty()) {
      if (silent.size() >= MOST_SILENT) silent.clear();
      silent.insert_or_assign(server, parts.timer.now());
      continue;
    }
    silent.erase(server);
    if (isOfUse(outcome.value())) co_return kj::mv(outcome.value());
    refusal = kj::mv(outcome.value());
  }
  co_return kj::mv(refusal);
}

Task<Bytes> Forwarder::askByUdp(Asker& asker, Server server, Bytes query) {
  // One socket per question: its port is not to be guessed either, and only the server's messages
  // and errors get to it.
  auto fd = asker.newSocket(server.address.ss_family, SOCK_DGRAM);
  auto* address = reinterpret_cast<const sockaddr*>(&server.address);
  if (connect(fd, address, server.size) != 0) co_return Bytes();
  kj::UnixEventPort::FdObserver observer(parts.port, fd,
                                         kj::UnixEventPort::FdObserver::OBSERVE_READ);
  if (send(fd, query.data(), query.size(), 0) < 0) co_return Bytes();
  for (;;) {
    co_await observer.whenBecomesReadable();
    for (;;) {
      auto size = recv(fd, scratch.data(), scratch.size(), 0);
      if (size < 0 && (errno == EAGAIN || errno == EINTR)) break;
      if (size < 0) co_return Bytes();
      auto message = Message(scratch.data(), static_cast<size_t>(size));
      if (answers(message, query)) co_return Bytes(message.begin(), message.end());
    }
  }
}

Task<Bytes> Forwarder::askByTcp(Asker& asker, Server server, Bytes query) {
  auto fd = asker.newSocket(server.address.ss_family, SOCK_STREAM);
  auto* address = reinterpret_cast<const sockaddr*>(&server.address);
  constexpr auto FLAGS =
      kj::LowLevelAsyncIoProvider::ALREADY_CLOEXEC | kj::LowLevelAsyncIoProvider::ALREADY_NONBLOCK;
  auto connecting = parts.io.wrapConnectingSocketFd(kj::mv(fd), address,
                                                    static_cast<kj::uint>(server.size), FLAGS);
  auto stream = co_await connecting;
  co_await writeMessage(*stream, query);
  for (;;) {
    auto answer = co_await readMessage(*stream);
    if (answer.empty() || answers(answer, query)) co_return kj::mv(answer);
  }
}

}  // namespace orch::network::dns
