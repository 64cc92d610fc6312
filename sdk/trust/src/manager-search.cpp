#include "orch/trust/manager-search.h"

#include <algorithm>

#include "orch/trust/first-of.h"

namespace orch::trust {

Task<FoundManager> ManagerSearch::find() {
  auto known = managers;
  for (auto& address : suggested) {
    if (std::find(known.begin(), known.end(), address) == known.end()) known.push_back(address);
  }
  if (known.empty()) fail(kj::str("this node knows of no manager"));
  std::rotate(known.begin(), known.begin() + round++ % known.size(), known.end());
  first = known[0];
  auto asks = [this, &known](size_t number) { return ask(known[number]).promise(); };
  FirstOf<FoundManager> any(env.timer(), known.size(), kj::mv(asks));
  co_return co_await any.answer();
}

Task<FoundManager> ManagerSearch::ask(std::string address) {
  auto stream = co_await connect(kj::str(address.c_str()));
  auto link = kj::heap<PeerLink>(kj::mv(stream));
  auto gateway = link->bootstrap<schema::Gateway>();
  kj::Promise<capnp::Response<schema::Gateway::ServicesResults>> asked =
      gateway.servicesRequest().send();
  auto services = co_await env.timer().timeoutAfter(HANDSHAKE_LIMIT, kj::mv(asked));
  // Its plugins are still starting, or it does not lead.
  if (services.getNames().size() == 0) fail(kj::str("it has nothing for this node yet"));
  FoundManager found{kj::mv(address), kj::mv(link), kj::mv(gateway), kj::mv(services)};
  co_return kj::mv(found);
}

}  // namespace orch::trust
