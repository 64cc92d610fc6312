#include "encryption/uapi.h"

#include <arpa/inet.h>
#include <errno.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <charconv>
#include <sstream>

#include "orch/fail.h"

namespace orch::network::overlay {

namespace {
constexpr const char* SOCKETS = "/var/run/wireguard/";
// Of a program that works; one that hangs holds up nobody for longer.
constexpr int ANSWER_S = 10;
// About 250 bytes of a peer, and more peers than there are hosts.
constexpr size_t MOST_BYTES = 16 << 20;

template <typename Number>
Number numberOf(const std::string& text) {
  Number number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

HostAddress ipv6Of(const std::string& text) {
  HostAddress::Bytes bytes;
  if (inet_pton(AF_INET6, text.c_str(), bytes.data()) != 1) return {};
  return HostAddress(bytes);
}

void readPeer(const std::string& key, const std::string& value, WireguardPeer& peer) {
  if (key == "endpoint") {
    auto colon = value.rfind(':');
    if (colon == std::string::npos) return;
    peer.host = parseIpv4(value.substr(0, colon).c_str()).value_or(0);
    peer.port = numberOf<uint16_t>(value.substr(colon + 1));
  }
  // One that is not as we make it is as good as none.
  if (key == "allowed_ip" && value.ends_with("/128")) {
    peer.inside = ipv6Of(value.substr(0, value.size() - 4));
  }
}
}  // namespace

std::string uapiSet(const WireguardChange& change) {
  std::ostringstream text;
  text << "set=1\n";
  if (change.privateKey) text << "private_key=" << hexOf(*change.privateKey) << "\n";
  if (change.port) text << "listen_port=" << *change.port << "\n";
  for (auto& key : change.gone) text << "public_key=" << hexOf(key) << "\nremove=true\n";
  for (auto& [key, peer] : change.peers) {
    text << "public_key=" << hexOf(key) << "\nendpoint=" << ipv4Text(peer.host).cStr() << ":"
         << peer.port << "\nreplace_allowed_ips=true\nallowed_ip=" << hostText(peer.inside).cStr()
         << "/128\n";
  }
  text << "\n";
  return text.str();
}

int uapiError(const std::string& answer) {
  auto at = answer.rfind("errno=");
  bool whole = at != std::string::npos && answer.ends_with("\n\n");
  return whole ? numberOf<int>(answer.substr(at + strlen("errno="))) : -1;
}

WireguardFacts parseUapi(const std::string& answer) {
  int error = uapiError(answer);
  if (error != 0) fail(kj::str("wireguard-go does not say what it does: errno ", error));
  WireguardFacts facts;
  WireguardPeer* peer = nullptr;
  std::istringstream lines(answer);
  std::string line;
  while (std::getline(lines, line)) {
    auto equals = line.find('=');
    if (equals == std::string::npos) continue;
    auto key = line.substr(0, equals), value = line.substr(equals + 1);
    if (key == "private_key") facts.privateKey = keyOfHex(value).value_or(Key{});
    if (key == "listen_port") facts.port = numberOf<uint16_t>(value);
    if (key == "public_key") {
      auto of = keyOfHex(value);
      peer = of ? &facts.peers[*of] : nullptr;
    }
    if (peer != nullptr) readPeer(key, value, *peer);
  }
  return facts;
}

namespace {
class UserWireguard final : public Wireguard {
 public:
  explicit UserWireguard(const std::string& device) : device(device) {
    int fd;
    KJ_SYSCALL(fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    socket = kj::AutoCloseFd(fd);
    timeval limit = {ANSWER_S, 0};
    for (int which : {SO_RCVTIMEO, SO_SNDTIMEO}) {
      KJ_SYSCALL(setsockopt(fd, SOL_SOCKET, which, &limit, sizeof(limit)));
    }
    sockaddr_un address = {AF_UNIX, {}};
    auto path = socketOf(device);
    KJ_REQUIRE(path.size() < sizeof(address.sun_path));
    memcpy(address.sun_path, path.c_str(), path.size());
    int error = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) < 0 ? errno : 0;
    if (error != 0) failFor("be reached", strerror(error));
  }

  WireguardFacts read() override { return parseUapi(ask("get=1\n\n")); }
  void apply(const WireguardChange& change) override {
    int error = uapiError(ask(uapiSet(change)));
    if (error != 0) failFor("be set up", strerror(kj::max(error, -error)));
  }

 private:
  [[noreturn]] void failFor(kj::StringPtr what, kj::StringPtr reason) {
    fail(kj::str("wireguard-go of the device '", device.c_str(), "' cannot ", what, ": ", reason));
  }

  std::string ask(const std::string& question) {
    for (size_t sent = 0; sent < question.size();) {
      auto n = send(socket, question.data() + sent, question.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) failFor("be asked", strerror(errno));
      sent += n;
    }
    std::string answer;
    char buffer[16 << 10];
    while (uapiError(answer) < 0 && answer.size() < MOST_BYTES) {
      auto n = recv(socket, buffer, sizeof(buffer), 0);
      if (n < 0) failFor("answer", strerror(errno));
      if (n == 0) failFor("answer", "it has ended");
      answer.append(buffer, n);
    }
    return answer;
  }

  std::string device;
  kj::AutoCloseFd socket;
};
}  // namespace

std::string socketOf(const std::string& device) { return SOCKETS + device + ".sock"; }

kj::Own<Wireguard> userWireguard(const std::string& device) {
  return kj::heap<UserWireguard>(device);
}

}  // namespace orch::network::overlay
