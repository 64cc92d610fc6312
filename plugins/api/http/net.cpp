#include "net.h"

#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>

#include <optional>
#include <thread>

#include "connection.h"
#include "orch/fail.h"

namespace orch::api::http {

namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using Code = boost::system::error_code;

// `10.0.0.1:80`, `[::1]:80`.
std::optional<tcp::endpoint> endpointOf(const std::string& listen) {
  auto colon = listen.rfind(':');
  if (colon == std::string::npos || colon == 0) return std::nullopt;
  auto host = listen.substr(0, colon), digits = listen.substr(colon + 1);
  bool bracketed = host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  Code error;
  auto address = asio::ip::make_address(host, error);
  if (error || bracketed != address.is_v6()) return std::nullopt;
  if (digits.empty() || digits.size() > 5) return std::nullopt;
  if (digits.find_first_not_of("0123456789") != std::string::npos) return std::nullopt;
  auto port = std::stoul(digits);
  if (port > 65535) return std::nullopt;
  return tcp::endpoint(address, static_cast<uint16_t>(port));
}

// Asio opens sockets that programs inherit.
void keepToOneself(int fd) { fcntl(fd, F_SETFD, FD_CLOEXEC); }

// A host that lost its power says nothing: who follows a log that nobody writes would stay for
// ever.
void noticeSilence(int fd) {
  auto set = [fd](int level, int option, int value) {
    setsockopt(fd, level, option, &value, sizeof(value));
  };
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 60);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 10);
  set(IPPROTO_TCP, TCP_KEEPCNT, 3);
  set(IPPROTO_TCP, TCP_NODELAY, 1);
}

constexpr std::string_view TOO_MANY =
    "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: application/json\r\n"
    "Retry-After: 1\r\nContent-Length: 41\r\n\r\n{\"error\":\"too many connections are open\"}";

}  // namespace

std::string problemOf(const std::string& listen, bool& loopback) {
  auto endpoint = endpointOf(listen);
  if (!endpoint) {
    return "'" + listen + "' is no address; accepted: ip:port or [ip6]:port, as 127.0.0.1:8377";
  }
  loopback = endpoint->address().is_loopback();
  return {};
}

class Net::Impl final {
 public:
  Impl(NetSettings given, Events events) : hall(std::move(given), std::move(events)) {
    io.emplace(1);
    if (!hall.settings.certificate.empty()) useTls();
    open();
    thread = std::thread([this] {
      pthread_setname_np(pthread_self(), "orch-http");
      sigset_t all;
      sigfillset(&all);
      pthread_sigmask(SIG_BLOCK, &all, nullptr);
      accept();
      io->run();
    });
  }
  ~Impl() {
    io->stop();
    thread.join();
    hall.forgetAll();
    pause.reset();
    acceptor.reset();
    io.reset();  // and with it the connections
  }

  template <typename F>
  void post(F work) {
    asio::post(*io, std::move(work));
  }
  Hall hall;
  unsigned port = 0;

 private:
  void useTls() {
    auto& context = hall.tls.emplace(asio::ssl::context::tls_server);
    SSL_CTX_set_min_proto_version(context.native_handle(), TLS1_2_VERSION);
    Code error;
    context.use_certificate_chain(asio::buffer(hall.settings.certificate), error);
    if (!error) {
      context.use_private_key(asio::buffer(hall.settings.key), asio::ssl::context::pem, error);
    }
    if (error) {
      fail(kj::str("certificateFile and keyFile are no certificate and its private key, as PEM: ",
                   error.message().c_str()));
    }
  }
  void open() {
    auto endpoint = endpointOf(hall.settings.listen);
    Code error;
    auto& listening = acceptor.emplace(*io);
    listening.open(endpoint->protocol(), error);
    if (!error) keepToOneself(listening.native_handle());
    if (!error) listening.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error && endpoint->address().is_v6()) {
      listening.set_option(asio::ip::v6_only(true), error);
    }
    if (!error) listening.bind(*endpoint, error);
    if (!error) listening.listen(asio::socket_base::max_listen_connections, error);
    if (error) {
      fail(kj::str("cannot listen on '", hall.settings.listen.c_str(),
                   "': ", error.message().c_str(),
                   "; give another address as 'listen', or end what has this one"));
    }
    port = listening.local_endpoint().port();
    pause.emplace(*io);
  }
  void accept() {
    acceptor->async_accept([this](Code error, tcp::socket socket) {
      if (error == asio::error::operation_aborted) return;
      if (error) {
        // Too many open files, for one: those who wait stay in the system's queue.
        pause->expires_after(std::chrono::milliseconds(100));
        pause->async_wait([this](Code) { accept(); });
        return;
      }
      welcome(std::move(socket));
      accept();
    });
  }
  void welcome(tcp::socket socket) {
    ++hall.figures.accepted;
    keepToOneself(socket.native_handle());
    noticeSilence(socket.native_handle());
    Code ignored;
    if (hall.figures.connections >= hall.settings.maxConnections) {
      ++hall.figures.turnedAway;
      socket.non_blocking(true, ignored);
      if (!hall.tls) socket.send(asio::buffer(TOO_MANY), 0, ignored);
      return;
    }
    startConnection(hall, std::move(socket));
  }

  std::optional<asio::io_context> io;
  std::optional<tcp::acceptor> acceptor;
  std::optional<asio::steady_timer> pause;
  std::thread thread;
};

Net::Net(NetSettings settings, Events events)
    : impl(std::make_unique<Impl>(std::move(settings), std::move(events))) {}
Net::~Net() = default;

void Net::answer(uint64_t id, Answer answer) {
  impl->post([impl = impl.get(), id, answer = std::move(answer)]() mutable {
    if (auto found = impl->hall.find(id)) found->answer(std::move(answer));
  });
}

void Net::send(uint64_t id, std::string part, bool last) {
  impl->post([impl = impl.get(), id, part = std::move(part), last]() mutable {
    if (auto found = impl->hall.find(id)) found->send(std::move(part), last);
  });
}

unsigned Net::port() const { return impl->port; }
const NetFigures& Net::figures() const { return impl->hall.figures; }

}  // namespace orch::api::http
