#include "orch/testing/memory-network.h"

#include <kj/debug.h>

#include <cstring>
#include <deque>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "orch/task.h"

namespace orch::testing {

namespace {
// As much as a socket's buffers take before a writer waits.
constexpr size_t WINDOW = 256 << 10;
// A piece, or a first word, that nobody answers is sent again.
constexpr kj::Duration AGAIN = 1 * kj::SECONDS;

kj::Exception resetByPeer() { return KJ_EXCEPTION(DISCONNECTED, "connection reset by peer"); }

using Waiters = std::vector<kj::Own<kj::PromiseFulfiller<void>>>;

struct HostState {
  explicit HostState(VirtualMachine& machine) : machine(machine) {}
  VirtualMachine& machine;
  uint64_t life = 0;
  bool power = true;
  std::map<kj::uint, class Receiver*> listeners;
};

// One direction of a connection: what its one end has sent and the other has not read.
struct Pipe {
  enum class Kind { DATA, FIN, RESET };
  struct Piece {
    kj::TimePoint at;
    kj::Array<kj::byte> bytes;
    Kind kind = Kind::DATA;
  };
  class Read;
  std::string from, to;
  HostState* source = nullptr;  // the same
  HostState* target = nullptr;
  const LinkQuality* link = nullptr;  // as it is now
  bool writerGone = false;            // its end was dropped, or its life is over
  bool readerGone = false;
  bool ended = false;   // all that will ever come is in `arrived`
  bool broken = false;  // reset
  std::deque<Piece> underWay;
  size_t bytesUnderWay = 0;
  kj::TimePoint lastAt = kj::origin<kj::TimePoint>();
  std::string arrived;
  Read* reading = nullptr;
  Waiters writing;  // for room
  bool armed = false;

  bool full() const { return bytesUnderWay + arrived.size() >= WINDOW; }
};

struct Connection final : public kj::Refcounted {
  Pipe pipes[2];               // of end 0 to end 1, and back
  uint64_t lives[2] = {0, 0};  // of the ends' hosts
};

}  // namespace

struct MemoryNetwork::Impl final : private kj::TaskSet::ErrorHandler {
  Impl(VirtualWorld& world, uint64_t seed) : world(world), generator(seed), tasks(*this) {}

  HostState& host(const std::string& name) {
    auto found = hosts.find(name);
    KJ_REQUIRE(found != hosts.end(), "no such host", name.c_str());
    return found->second;
  }
  kj::Timer& timer() { return world.env().timer(); }
  // Stays where it is, and says what is set later.
  const LinkQuality& link(const std::string& from, const std::string& to) const {
    static const LinkQuality LOCAL{10 * kj::MICROSECONDS, 0 * kj::SECONDS};
    return from == to ? LOCAL : links[{from, to}];
  }
  uint64_t random(uint64_t below) { return below == 0 ? 0 : generator() % below; }
  kj::Duration delayOf(const LinkQuality& quality) {
    auto delay = quality.delay + random(quality.jitter / kj::NANOSECONDS + 1) * kj::NANOSECONDS;
    if (quality.lossPerMille > 0 && random(1000) < quality.lossPerMille) {
      delay += random(quality.stall / kj::NANOSECONDS + 1) * kj::NANOSECONDS;
    }
    return delay;
  }
  bool dead(const Connection& connection, int end) {
    return connection.pipes[end].source->life != connection.lives[end];
  }

  void send(Connection& connection, int end, kj::Array<kj::byte> bytes, Pipe::Kind kind) {
    auto& pipe = connection.pipes[end];
    auto at = kj::max(pipe.lastAt, timer().now() + delayOf(*pipe.link));
    pipe.lastAt = at;
    pipe.bytesUnderWay += bytes.size();
    pipe.underWay.push_back({at, kj::mv(bytes), kind});
    arm(connection, end);
  }
  void arm(Connection& connection, int end) {
    auto& pipe = connection.pipes[end];
    if (pipe.armed || pipe.underWay.empty()) return;
    if (pipe.link->cut) return;  // `setLink` arms it again
    pipe.armed = true;
    tasks.add(timer()
                  .atTime(pipe.underWay.front().at)
                  .then([this, kept = kj::addRef(connection), end]() mutable {
                    kept->pipes[end].armed = false;
                    deliver(*kept, end);
                    arm(*kept, end);
                  }));
  }
  void deliver(Connection& connection, int end);
  void breakPipe(Pipe& pipe);
  void breakBoth(Connection& connection) {
    for (auto& pipe : connection.pipes) breakPipe(pipe);
  }
  void gone(Connection& connection, int end);
  kj::Own<Connection> connect(const std::string& from, const std::string& to);
  void taskFailed(kj::Exception&& exception) override {
    KJ_LOG(ERROR, "the memory network failed", exception);
  }

  VirtualWorld& world;
  std::mt19937_64 generator;
  std::map<std::string, HostState> hosts;
  mutable std::map<std::pair<std::string, std::string>, LinkQuality> links;
  std::vector<Connection*> open;  // whose ends are not both gone
  uint64_t bytes = 0;
  Waiters parked;  // of lives that are over
  kj::TaskSet tasks;
};

namespace {
using Impl = MemoryNetwork::Impl;

// A read that waits. In the pipe while it does.
class Pipe::Read final {
 public:
  Read(kj::PromiseFulfiller<size_t>& done, Pipe& pipe, kj::byte* buffer, size_t min, size_t max)
      : done(done), pipe(pipe), buffer(buffer), min(min), max(max) {
    KJ_REQUIRE(pipe.reading == nullptr, "one read at a time");
    pipe.reading = this;
  }
  ~Read() {
    if (pipe.reading == this) pipe.reading = nullptr;
  }
  KJ_DISALLOW_COPY(Read);

  void look() {
    if (pipe.arrived.size() < min && !pipe.ended && !pipe.broken) return;
    pipe.reading = nullptr;
    if (pipe.arrived.empty() && pipe.broken) return done.reject(resetByPeer());
    size_t count = kj::min(max, pipe.arrived.size());
    memcpy(buffer, pipe.arrived.data(), count);
    pipe.arrived.erase(0, count);
    for (auto& writer : std::exchange(pipe.writing, {})) writer->fulfill();
    done.fulfill(kj::mv(count));
  }

 private:
  kj::PromiseFulfiller<size_t>& done;
  Pipe& pipe;
  kj::byte* buffer;
  size_t min, max;
};

// One end of a connection, in the hands of a life.
class Stream final : public kj::AsyncIoStream {
 public:
  Stream(Impl& net, kj::Own<Connection> connection, int end)
      : net(net), connection(kj::mv(connection)), end(end) {}
  ~Stream() noexcept(false) {
    if (!net.dead(*connection, end)) net.gone(*connection, end);
  }

  kj::Promise<size_t> tryRead(void* buffer, size_t min, size_t max) override {
    if (net.dead(*connection, end)) return kj::NEVER_DONE;
    auto reading = kj::newAdaptedPromise<size_t, Pipe::Read>(
        in(), reinterpret_cast<kj::byte*>(buffer), min, max);
    if (!in().target->machine.frozen()) in().reading->look();
    return reading;
  }
  kj::Promise<void> write(const void* buffer, size_t size) override {
    return send(kj::heapArray(reinterpret_cast<const kj::byte*>(buffer), size));
  }
  kj::Promise<void> write(kj::ArrayPtr<const kj::ArrayPtr<const kj::byte>> pieces) override {
    size_t size = 0;
    for (auto& piece : pieces) size += piece.size();
    auto bytes = kj::heapArray<kj::byte>(size);
    auto* to = bytes.begin();
    for (auto& piece : pieces) {
      memcpy(to, piece.begin(), piece.size());
      to += piece.size();
    }
    return send(kj::mv(bytes));
  }
  kj::Promise<void> whenWriteDisconnected() override { return kj::NEVER_DONE; }
  void setsockopt(int, int, const void*, kj::uint) override {
  }  // it says nothing when a host is off
  void shutdownWrite() override {
    if (net.dead(*connection, end) || out().writerGone) return;
    out().writerGone = true;
    net.send(*connection, end, nullptr, Pipe::Kind::FIN);
  }

 private:
  Pipe& out() { return connection->pipes[end]; }
  Pipe& in() { return connection->pipes[1 - end]; }
  kj::Promise<void> send(kj::Array<kj::byte> bytes) {
    if (net.dead(*connection, end)) return kj::NEVER_DONE;
    if (out().broken) return resetByPeer();
    net.send(*connection, end, kj::mv(bytes), Pipe::Kind::DATA);
    if (!out().full()) return kj::READY_NOW;
    auto pair = kj::newPromiseAndFulfiller<void>();
    out().writing.push_back(kj::mv(pair.fulfiller));
    return kj::mv(pair.promise);
  }

  Impl& net;
  kj::Own<Connection> connection;
  int end;
};

class Address final : public kj::NetworkAddress {
 public:
  Address(Impl& net, std::string own, std::string name, kj::uint port)
      : net(net), own(std::move(own)), name(std::move(name)), port(port) {}
  kj::Promise<kj::Own<kj::AsyncIoStream>> connect() override {
    return doConnect(net, own, name, port);
  }
  kj::Own<kj::ConnectionReceiver> listen() override;
  kj::Own<kj::NetworkAddress> clone() override { return kj::heap<Address>(net, own, name, port); }
  kj::String toString() override { return kj::str(name.c_str()); }

 private:
  static Task<kj::Own<kj::AsyncIoStream>> doConnect(Impl& net, std::string own, std::string name,
                                                    kj::uint port);
  Impl& net;
  std::string own, name;
  kj::uint port;
};

class Receiver final : public kj::ConnectionReceiver {
 public:
  Receiver(Impl& net, std::string host, kj::uint port)
      : net(net), host(std::move(host)), life(net.host(this->host).life), port(port) {
    auto& listeners = net.host(this->host).listeners;
    KJ_REQUIRE(listeners.count(port) == 0, "the port is in use", port);
    listeners[port] = this;
  }
  ~Receiver() noexcept(false) {
    if (net.host(host).life == life) net.host(host).listeners.erase(port);
  }
  void add(kj::AuthenticatedStream stream) {
    waiting.push_back(kj::mv(stream));
    KJ_IF_MAYBE (fulfiller, wanted) (*fulfiller)->fulfill();
    wanted = nullptr;
  }
  kj::Promise<kj::Own<kj::AsyncIoStream>> accept() override {
    return acceptAuthenticated().then(
        [](kj::AuthenticatedStream accepted) { return kj::mv(accepted.stream); });
  }
  kj::Promise<kj::AuthenticatedStream> acceptAuthenticated() override { return next(); }
  kj::uint getPort() override { return port; }

 private:
  Task<kj::AuthenticatedStream> next() {
    for (;;) {
      co_await net.host(host).machine.whenAwake();
      if (!waiting.empty()) break;
      auto pair = kj::newPromiseAndFulfiller<void>();
      wanted = kj::mv(pair.fulfiller);
      co_await pair.promise;
    }
    auto first = kj::mv(waiting.front());
    waiting.pop_front();
    co_return kj::mv(first);
  }
  Impl& net;
  std::string host;
  uint64_t life;
  kj::uint port;
  std::deque<kj::AuthenticatedStream> waiting;
  kj::Maybe<kj::Own<kj::PromiseFulfiller<void>>> wanted;
};

kj::Own<kj::ConnectionReceiver> Address::listen() { return kj::heap<Receiver>(net, own, port); }

Task<kj::Own<kj::AsyncIoStream>> Address::doConnect(Impl& net, std::string own, std::string name,
                                                    kj::uint port) {
  auto life = net.host(own).life;
  kj::Maybe<kj::Own<kj::AsyncIoStream>> made;
  for (;;) {
    co_await net.timer().afterDelay(net.delayOf(net.link(own, name)));
    auto& target = net.host(name);
    bool through = target.power && !net.link(own, name).cut && !net.link(name, own).cut;
    if (through) {
      auto listener = target.listeners.find(port);
      if (listener != target.listeners.end() && net.host(own).life == life) {
        auto connection = net.connect(own, name);
        auto from = kj::heap<Address>(net, name, own, 0);
        listener->second->add({kj::heap<Stream>(net, kj::addRef(*connection), 1),
                               kj::NetworkPeerIdentity::newInstance(kj::mv(from))});
        made = kj::Own<kj::AsyncIoStream>(kj::heap<Stream>(net, kj::mv(connection), 0));
      }
      break;
    }
    co_await net.timer().afterDelay(AGAIN);
  }
  co_await net.timer().afterDelay(net.delayOf(net.link(name, own)));
  co_await net.host(own).machine.whenAwake();
  if (net.host(own).life != life) co_await kj::Promise<void>(kj::NEVER_DONE);
  KJ_IF_MAYBE (stream, made) co_return kj::mv(*stream);
  kj::throwFatalException(kj::Exception(kj::Exception::Type::DISCONNECTED, __FILE__, __LINE__,
                                        kj::str("connection refused by ", name.c_str())));
}

class HostNetwork final : public kj::Network {
 public:
  HostNetwork(Impl& net, std::string own) : net(net), own(std::move(own)) {}
  kj::Promise<kj::Own<kj::NetworkAddress>> parseAddress(kj::StringPtr text,
                                                        kj::uint hint) override {
    KJ_IF_MAYBE (colon, text.findLast(':')) {
      std::string name(text.begin(), *colon);
      if (name.empty() || name == "*") name = own;
      net.host(name);
      auto port = text.slice(*colon + 1).parseAs<kj::uint>();
      return kj::Own<kj::NetworkAddress>(kj::heap<Address>(net, own, name, port));
    }
    return kj::Own<kj::NetworkAddress>(kj::heap<Address>(net, own, text.cStr(), hint));
  }
  kj::Own<kj::NetworkAddress> getSockaddr(const void*, kj::uint) override {
    KJ_UNIMPLEMENTED("hosts of a memory network have names");
  }
  kj::Own<kj::Network> restrictPeers(kj::ArrayPtr<const kj::StringPtr>,
                                     kj::ArrayPtr<const kj::StringPtr>) override {
    return kj::heap<HostNetwork>(net, own);
  }

 private:
  Impl& net;
  std::string own;
};

}  // namespace

void Impl::deliver(Connection& connection, int end) {
  auto& pipe = connection.pipes[end];
  auto& to = *pipe.target;
  if (pipe.link->cut || pipe.underWay.empty()) return;
  if (pipe.underWay.front().at > timer().now()) return;
  bool dead = pipe.readerGone || to.life != connection.lives[1 - end];
  if (dead && !to.power) {  // nobody answers
    pipe.underWay.front().at = timer().now() + AGAIN;
    return;
  }
  auto piece = kj::mv(pipe.underWay.front());
  pipe.underWay.pop_front();
  pipe.bytesUnderWay -= piece.bytes.size();
  if (piece.kind == Pipe::Kind::RESET) return breakBoth(connection);
  if (dead) {  // nobody is there for it: the host says so
    bool heard = !pipe.writerGone && piece.kind == Pipe::Kind::DATA;
    pipe.underWay.clear();
    pipe.bytesUnderWay = 0;
    if (heard) send(connection, 1 - end, nullptr, Pipe::Kind::RESET);
    return;
  }
  if (piece.kind == Pipe::Kind::FIN) {
    pipe.ended = true;
  } else {
    bytes += piece.bytes.size();
    pipe.arrived.append(piece.bytes.asChars().begin(), piece.bytes.size());
  }
  if (pipe.reading != nullptr && !to.machine.frozen()) pipe.reading->look();
}

void Impl::breakPipe(Pipe& pipe) {
  if (pipe.broken) return;
  pipe.broken = true;
  pipe.underWay.clear();
  pipe.bytesUnderWay = 0;
  for (auto& writer : std::exchange(pipe.writing, {})) writer->reject(resetByPeer());
  if (pipe.reading != nullptr && !pipe.target->machine.frozen()) pipe.reading->look();
}

// An end was dropped by its life, or with it.
void Impl::gone(Connection& connection, int end) {
  auto& out = connection.pipes[end];
  auto& in = connection.pipes[1 - end];
  in.readerGone = true;
  in.arrived.clear();
  for (auto& writer : std::exchange(in.writing, {})) writer->fulfill();
  bool quiet = out.writerGone || out.broken;
  out.writerGone = true;
  if (!quiet) send(connection, end, nullptr, Pipe::Kind::FIN);
  if (out.readerGone) std::erase(open, &connection);
}

kj::Own<Connection> Impl::connect(const std::string& from, const std::string& to) {
  auto connection = kj::refcounted<Connection>();
  for (int end : {0, 1}) {
    auto& pipe = connection->pipes[end];
    pipe.from = end == 0 ? from : to;
    pipe.to = end == 0 ? to : from;
    pipe.source = &host(pipe.from);
    pipe.target = &host(pipe.to);
    pipe.link = &link(pipe.from, pipe.to);
    connection->lives[end] = pipe.source->life;
  }
  open.push_back(connection.get());
  return connection;
}

MemoryNetwork::MemoryNetwork(VirtualWorld& world, uint64_t seed)
    : impl(kj::heap<Impl>(world, seed)) {}
MemoryNetwork::~MemoryNetwork() noexcept(false) {}

void MemoryNetwork::addHost(kj::StringPtr name, VirtualMachine& machine) {
  impl->hosts.emplace(name.cStr(), machine);
}

kj::Own<kj::Network> MemoryNetwork::networkOf(kj::StringPtr name) {
  return kj::heap<HostNetwork>(*impl, name.cStr());
}

void MemoryNetwork::endLife(kj::StringPtr name, bool silently) {
  std::string own = name.cStr();
  auto& host = impl->host(own);
  if (silently) host.power = false;
  auto life = host.life++;
  host.listeners.clear();
  auto open = impl->open;
  for (auto* connection : open) {
    for (int end : {0, 1}) {
      if (connection->pipes[end].from != own || connection->lives[end] != life) continue;
      if (connection->pipes[1 - end].readerGone) continue;
      // Whoever waits in it waits for ever.
      connection->pipes[1 - end].reading = nullptr;
      for (auto& writer : std::exchange(connection->pipes[end].writing, {})) {
        impl->parked.push_back(kj::mv(writer));
      }
      if (silently) {
        connection->pipes[end].underWay.clear();
        connection->pipes[end].bytesUnderWay = 0;
        connection->pipes[end].writerGone = true;
        connection->pipes[1 - end].readerGone = true;
        if (connection->pipes[end].readerGone) std::erase(impl->open, connection);
      } else {
        impl->gone(*connection, end);
      }
    }
  }
}

void MemoryNetwork::up(kj::StringPtr name) { impl->host(name.cStr()).power = true; }

void MemoryNetwork::setLink(kj::StringPtr from, kj::StringPtr to, LinkQuality quality) {
  impl->links[{from.cStr(), to.cStr()}] = quality;
  auto open = impl->open;
  for (auto* connection : open) {
    for (int end : {0, 1}) {
      auto& pipe = connection->pipes[end];
      if (pipe.from == from && pipe.to == to) impl->arm(*connection, end);
    }
  }
}

LinkQuality MemoryNetwork::link(kj::StringPtr from, kj::StringPtr to) const {
  return impl->link(from.cStr(), to.cStr());
}

void MemoryNetwork::reset(kj::StringPtr a, kj::StringPtr b) {
  auto open = impl->open;
  for (auto* connection : open) {
    auto& pipe = connection->pipes[0];
    bool between = (pipe.from == a && pipe.to == b) || (pipe.from == b && pipe.to == a);
    if (between) impl->breakBoth(*connection);
  }
}

void MemoryNetwork::awake(kj::StringPtr name) {
  auto open = impl->open;
  for (auto* connection : open) {
    for (int end : {0, 1}) {
      auto& pipe = connection->pipes[end];
      if (pipe.to == name && pipe.reading != nullptr && !pipe.readerGone) pipe.reading->look();
    }
  }
}

uint64_t MemoryNetwork::bytes() const { return impl->bytes; }
size_t MemoryNetwork::connections() const { return impl->open.size(); }

}  // namespace orch::testing
