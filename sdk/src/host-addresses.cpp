#include "orch/host-addresses.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <kj/debug.h>
#include <net/if.h>

#include <algorithm>

namespace orch {

std::vector<std::string> hostAddresses() {
  // What containers hang on is no way to this host: bridges and pairs that orch and docker make.
  constexpr std::string_view OURS[] = {"orch", "docker", "br-", "veth"};
  std::vector<std::string> found;
  struct ifaddrs* list = nullptr;
  KJ_SYSCALL(getifaddrs(&list));
  KJ_DEFER(freeifaddrs(list));
  for (auto* entry = list; entry != nullptr; entry = entry->ifa_next) {
    bool other = entry->ifa_addr != nullptr && entry->ifa_addr->sa_family == AF_INET &&
                 (entry->ifa_flags & (IFF_UP | IFF_LOOPBACK)) == IFF_UP;
    std::string_view name = entry->ifa_name;
    bool ours = std::any_of(std::begin(OURS), std::end(OURS),
                            [&](auto prefix) { return name.starts_with(prefix); });
    if (!other || ours) continue;
    char text[INET_ADDRSTRLEN] = {};
    auto* v4 = reinterpret_cast<struct sockaddr_in*>(entry->ifa_addr);
    found.emplace_back(inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text)));
  }
  return found;
}

kj::String withNodePort(kj::StringPtr address) {
  constexpr uint16_t NODE_PORT = 2377;
  auto colons = std::count(address.begin(), address.end(), ':');
  bool bracketed = address.startsWith("[");
  if (colons > 1 && !bracketed) return kj::str("[", address, "]:", NODE_PORT);
  bool port = bracketed ? !address.endsWith("]") : colons == 1;
  return port ? kj::str(address) : kj::str(address, ":", NODE_PORT);
}

}  // namespace orch
