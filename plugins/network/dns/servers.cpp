#include "servers.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <string.h>

#include <fstream>
#include <sstream>

namespace orch::network::dns {

namespace {
constexpr uint32_t OUR_ADDRESS = 0x7f00000b;  // 127.0.0.11

bool same(const struct stat& a, const struct stat& b) {
  return a.st_ino == b.st_ino && a.st_dev == b.st_dev && a.st_size == b.st_size &&
         a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
}
}  // namespace

bool Server::operator<(const Server& other) const {
  if (size != other.size) return size < other.size;
  return memcmp(&address, &other.address, size) < 0;
}

std::optional<Server> parseServer(const std::string& text) {
  addrinfo hints = {};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  in_addr plain;
  // getaddrinfo takes `1` and `0x7f.1` for addresses too.
  bool strict = inet_pton(AF_INET, text.c_str(), &plain) == 1 || text.find(':') != text.npos;
  if (!strict || getaddrinfo(text.c_str(), "53", &hints, &found) != 0) return std::nullopt;
  Server server;
  memcpy(&server.address, found->ai_addr, found->ai_addrlen);
  server.size = found->ai_addrlen;
  freeaddrinfo(found);
  return server;
}

bool isOurs(const Server& server) {
  if (server.address.ss_family != AF_INET) return false;
  return ntohl(reinterpret_cast<const sockaddr_in&>(server.address).sin_addr.s_addr) == OUR_ADDRESS;
}

const std::vector<Server>& HostServers::current() {
  struct stat now = {};
  if (stat(path.c_str(), &now) != 0) now = {};
  if (changes > 0 && same(now, last)) return servers;
  last = now;
  ++changes;
  servers.clear();
  std::ifstream file(path);
  for (std::string line; servers.size() < MOST && std::getline(file, line);) {
    std::istringstream words(line);
    std::string key, value;
    words >> key >> value;
    auto server = key == "nameserver" ? parseServer(value) : std::nullopt;
    if (server && !isOurs(*server)) servers.push_back(*server);
  }
  return servers;
}

}  // namespace orch::network::dns
