#include "zookeeper/address.h"

#include <algorithm>
#include <charconv>

#include "orch/fail.h"

namespace orch::zookeeper {

namespace {

constexpr size_t MAX_HOST_BYTES = 253;

bool isHost(std::string_view host, bool bracketed) {
  auto fits = [bracketed](unsigned char c) {
    bool number = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    if (bracketed) return number || c == ':' || c == '.' || c == '%';
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
           c == '-' || c == '_';
  };
  return !host.empty() && host.size() <= MAX_HOST_BYTES &&
         std::all_of(host.begin(), host.end(), fits);
}

}  // namespace

Server Server::parse(std::string_view text) {
  Server server;
  auto colon = text.rfind(':');
  if (colon != std::string_view::npos) {
    auto host = text.substr(0, colon);
    bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
    if (bracketed) host = host.substr(1, host.size() - 2);
    auto end = text.data() + text.size();
    auto read = std::from_chars(text.data() + colon + 1, end, server.port);
    bool good = read.ec == std::errc() && read.ptr == end && server.port > 0;
    if (good && isHost(host, bracketed)) {
      server.host = host;
      return server;
    }
  }
  fail(kj::str("'", std::string(text).c_str(),
               "' is no address of a ZooKeeper; accepted: host:port, as 10.0.0.1:2181"));
}

std::string Server::text() const {
  bool v6 = host.find(':') != std::string::npos;
  return (v6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

std::string namesOf(const std::vector<Server>& servers) {
  std::string names;
  for (auto& server : servers) {
    names += names.empty() ? "'" : ", '";
    names += server.text() + "'";
  }
  return names;
}

}  // namespace orch::zookeeper
