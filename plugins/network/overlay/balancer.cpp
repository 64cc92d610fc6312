#include "balancer.h"

#include <algorithm>

#include "ipvs-balancer.h"
#include "ipvs.h"
#include "nft-balancer.h"
#include "orch/attempt.h"

namespace orch::network::overlay {

bool serves(const Backends& backends) {
  return std::any_of(backends.begin(), backends.end(), [](auto& one) { return one.weight > 0; });
}

kj::StringPtr nameOf(BalancerKind kind) { return kind == BalancerKind::IPVS ? "ipvs" : "nft"; }

BalancerKind bestBalancer() { return Ipvs::isThere() ? BalancerKind::IPVS : BalancerKind::NFT; }

kj::Own<Balancer> newBalancer(BalancerKind kind, const AddressKind& addresses) {
  // A run with the other setting may have been here.
  if (kind == BalancerKind::NFT) {
    IpvsBalancer::removeAll(addresses);
    return kj::heap<NftBalancer>(addresses);
  }
  attemptNow([&] { NftBalancer::removeAll(addresses); });  // a kernel may have none of the family
  return kj::heap<IpvsBalancer>(addresses);
}

}  // namespace orch::network::overlay
