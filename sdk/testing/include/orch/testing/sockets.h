// Sockets in network namespaces, for tests of what connects these. IPv4, if nothing else is said;
// an address tells by itself. What succeeds is waited for with an end; what goes wrong is said by
// the answer, or by an exception.
#pragma once

#include <kj/function.h>
#include <kj/io.h>
#include <netinet/in.h>

#include <string>
#include <vector>

namespace orch::testing {

// Of a wait that succeeds if nothing is wrong; what must not come is waited for as long.
constexpr int PATIENCE_MS = 20'000;

// Runs `work` on a thread of its own in the namespace that the file at `path` stands for, and waits
// for it. What it throws is thrown here.
void insideOf(const std::string& path, kj::FunctionParam<void()> work);

sockaddr_in socketAddressOf(const std::string& address, uint16_t port);
// A socket in the namespace at `path`; in the test's own if that is empty. Usable from anywhere.
kj::AutoCloseFd socketIn(const std::string& path, bool udp = false, bool ipv6 = false);
// Free on loopback at this moment, for TCP and UDP, for a server that has to be told its port;
// whoever asks next gets another one, in whichever process of tests, until this one has ended. None
// that a connection takes whose port nobody has named.
uint16_t freePort();
// Bound to the port on all addresses, and listening if it is TCP.
kj::AutoCloseFd serverIn(const std::string& path, uint16_t port, bool udp = false,
                         bool ipv6 = false);
// Its own end is the port.
void bindTo(int fd, uint16_t port);
// 0 or the errno.
int connectTo(int fd, const std::string& address, uint16_t port);
// The index of the one that has something to accept or to read; -1: none.
int readyOf(const std::vector<int>& sockets);

struct Accepted {
  kj::AutoCloseFd fd;
  std::string address;
};
Accepted acceptFrom(int server);
// One message there and one back over a connected pair; true if both came whole.
bool talk(int one, int other);
// Of the next read: 0 or the errno.
int readErrorOf(int fd);
// A new TCP connection between namespaces, with a message each way.
bool reaches(const std::string& from, const std::string& to, const std::string& address);
// Asks over a connected UDP socket: which server got it, and from whom; -1: none, or it could not
// answer.
struct Asked {
  int server = -1;
  std::string address;
};
Asked askUdp(int client, const std::vector<int>& servers);

}  // namespace orch::testing
