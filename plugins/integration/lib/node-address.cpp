#include "lib/node-address.h"

#include <arpa/inet.h>

#include "orch/attempt.h"
#include "orch/fail.h"
#include "orch/schema/trust.capnp.h"

namespace orch::integration {

std::string hostPartOf(std::string_view hostPort) {
  if (hostPort.starts_with('[')) return std::string(hostPort.substr(1, hostPort.find(']') - 1));
  return std::string(hostPort.substr(0, hostPort.rfind(':')));
}

void checkAddress(const std::string& address) {
  in6_addr parsed;
  bool ok = address.empty() || inet_pton(AF_INET, address.c_str(), &parsed) == 1 ||
            inet_pton(AF_INET6, address.c_str(), &parsed) == 1;
  if (!ok) fail(kj::str("address is '", address.c_str(), "'; accepted: an address, as 10.0.0.1"));
}

Task<std::string> nodeAddress(Host& host) {
  auto trust = host.service<schema::Trust>("trust");
  auto asked = co_await attempt(trust.stateRequest().send());
  if (asked.ok()) {
    auto known = hostPartOf(asked.value().getState().getAddress().cStr());
    if (!known.empty()) co_return known;
  }
  auto listed = co_await attempt(trust.addressesRequest().send());
  bool any = listed.ok() && listed.value().getAddresses().size() > 0;
  if (any) co_return std::string(listed.value().getAddresses()[0].cStr());
  co_return std::string("127.0.0.1");
}

}  // namespace orch::integration
