#include "server.h"

#include <fcntl.h>
#include <kj/debug.h>

#include "orch/attempt.h"

namespace orch::network::dns {

namespace {
// Of one task; more are closed at once.
constexpr size_t MOST_CONNECTIONS = 32;
constexpr kj::Duration IDLE = 10 * kj::SECONDS;  // RFC 7766, 6.2.3: in the order of seconds
constexpr kj::Duration ACCEPT_PAUSE = 100 * kj::MILLISECONDS;  // when no descriptor is left
// After so many batches of one task the others have their turn.
constexpr size_t BATCHES_IN_A_ROW = 4;
constexpr auto FLAGS =
    kj::LowLevelAsyncIoProvider::ALREADY_CLOEXEC | kj::LowLevelAsyncIoProvider::ALREADY_NONBLOCK;
}  // namespace

class AnsweringServer::TaskServer final : private kj::TaskSet::ErrorHandler {
 public:
  TaskServer(AnsweringServer& server, const std::string& taskId, TaskEnd opened, TaskNames names)
      : server(server),
        end(kj::mv(opened)),
        names(kj::mv(names)),
        asker(taskId, end.inside),
        readable(server.parts.port, end.udp, kj::UnixEventPort::FdObserver::OBSERVE_READ),
        listener(server.parts.io.wrapListenSocketFd(kj::mv(end.tcp), FLAGS)),
        running(*this) {
    asker.servers = this->names.servers;
    running.add(answerUdp());
    running.add(acceptTcp());
  }
  KJ_DISALLOW_COPY(TaskServer);

  void change(TaskNames other) {
    names = kj::mv(other);
    asker.servers = names.servers;
  }
  Ear ear() const {
    int inside;
    KJ_SYSCALL(inside = fcntl(end.inside, F_DUPFD_CLOEXEC, 0));
    return {kj::AutoCloseFd(inside), end.udpPort, end.tcpPort};
  }
  kj::AutoCloseFd takeNamespace() { return kj::mv(end.inside); }

 private:
  void taskFailed(kj::Exception&& exception) override {
    server.complain("network.internal", kj::str(exception.getDescription()));
  }

  Task<void> answerUdp();
  size_t answerBatch();
  Task<Bytes> answerElsewhere(Bytes query, bool tcp);
  Task<void> forwardUdp(Bytes query, sockaddr_in client);
  Task<void> acceptTcp();
  Task<void> serveSafely(kj::Own<kj::AsyncIoStream> stream);
  Task<void> serveConnection(kj::AsyncIoStream& stream);

  AnsweringServer& server;
  TaskEnd end;  // without `tcp`, which the listener owns
  TaskNames names;
  Asker asker;
  kj::UnixEventPort::FdObserver readable;
  kj::Own<kj::ConnectionReceiver> listener;
  size_t connections = 0;
  kj::TaskSet running;  // last: what runs uses all of the above
};

Task<void> AnsweringServer::TaskServer::answerUdp() {
  for (;;) {
    size_t batches = 0;
    // Told of new datagrams only, so it reads until there are none; by way of the timer the loop
    // looks at the other sockets too.
    while (answerBatch() == UdpBatch::SIZE) {
      if (++batches % BATCHES_IN_A_ROW == 0)
        co_await server.parts.timer.afterDelay(0 * kj::SECONDS);
    }
    co_await readable.whenBecomesReadable();
  }
}

size_t AnsweringServer::TaskServer::answerBatch() {
  auto& batch = server.batch;
  size_t count = batch.receive(end.udp);
  for (size_t i = 0; i < count; ++i) {
    auto query = batch.query(i);
    auto verdict = server.responder.respond(query, names.networks, false, batch.answer(i));
    if (verdict != Responder::Verdict::FORWARD) continue;
    running.add(forwardUdp(Bytes(query.begin(), query.end()), batch.from(i)));
  }
  batch.send(end.udp, count);
  return count;
}

Task<Bytes> AnsweringServer::TaskServer::answerElsewhere(Bytes query, bool tcp) {
  // As where there is no server at all: resolvers go on with their search list at once.
  if (names.closed) co_return refusalOf(query, Rcode::NXDOMAIN);
  co_return co_await server.forwarder.ask(asker, kj::mv(query), tcp);
}

Task<void> AnsweringServer::TaskServer::forwardUdp(Bytes query, sockaddr_in client) {
  auto answer = co_await answerElsewhere(kj::mv(query), false);
  auto* to = reinterpret_cast<const sockaddr*>(&client);
  // Lost if the socket's buffer is full, as datagrams are.
  (void)sendto(end.udp, answer.data(), answer.size(), MSG_DONTWAIT, to, sizeof(client));
}

Task<void> AnsweringServer::TaskServer::acceptTcp() {
  for (;;) {
    auto accepted = co_await attempt(listener->accept());
    if (!accepted.ok()) {
      server.complain("network.connection-refused", kj::str(accepted.message()));
      co_await server.parts.timer.afterDelay(ACCEPT_PAUSE);
      continue;
    }
    if (connections < MOST_CONNECTIONS) running.add(serveSafely(kj::mv(accepted.value())));
  }
}

Task<void> AnsweringServer::TaskServer::serveSafely(kj::Own<kj::AsyncIoStream> stream) {
  ++connections;
  KJ_DEFER(--connections);
  // How a client ends it is the client's affair.
  co_await attempt(serveConnection(*stream));
}

Task<void> AnsweringServer::TaskServer::serveConnection(kj::AsyncIoStream& stream) {
  for (;;) {
    kj::Promise<Bytes> reading = readMessage(stream);
    auto query = co_await server.parts.timer.timeoutAfter(IDLE, kj::mv(reading));
    if (query.empty()) co_return;
    Bytes answer;
    auto verdict = server.responder.respond(query, names.networks, true, answer);
    if (verdict == Responder::Verdict::DROP) co_return;
    if (verdict == Responder::Verdict::FORWARD) {
      answer = co_await answerElsewhere(kj::mv(query), true);
    }
    kj::Promise<void> writing = writeMessage(stream, kj::mv(answer));
    co_await server.parts.timer.timeoutAfter(IDLE, kj::mv(writing));
  }
}

AnsweringServer::AnsweringServer(Forwarder::Parts parts, const ServerSettings& settings,
                                 Complain told)
    : parts(parts),
      complain(kj::mv(told)),
      responder(tables, settings.ttlSeconds),
      forwarder(parts, settings.resolvConf, settings.timeout, [this] {
        complain("network.servers-silent", kj::str("no server answered in time"));
      }) {}

AnsweringServer::~AnsweringServer() noexcept(false) {}

void AnsweringServer::serve(const std::string& taskId, TaskEnd end, TaskNames names) {
  tasks.insert_or_assign(taskId, kj::heap<TaskServer>(*this, taskId, kj::mv(end), kj::mv(names)));
}

void AnsweringServer::change(const std::string& taskId, TaskNames names) {
  tasks.at(taskId)->change(kj::mv(names));
}

kj::Maybe<AnsweringServer::Ear> AnsweringServer::earOf(const std::string& taskId) const {
  auto found = tasks.find(taskId);
  if (found == tasks.end()) return nullptr;
  return found->second->ear();
}

kj::Maybe<kj::AutoCloseFd> AnsweringServer::release(const std::string& taskId) {
  auto found = tasks.find(taskId);
  if (found == tasks.end()) return nullptr;
  auto inside = found->second->takeNamespace();
  tasks.erase(found);
  return kj::mv(inside);
}

}  // namespace orch::network::dns
