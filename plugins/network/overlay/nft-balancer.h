// By nftables and its connection tracking: nft-rules.h has the table.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "answered.h"
#include "balancer.h"
#include "lib/netlink.h"

namespace orch::network::overlay {

class NftBalancer final : public Balancer {
 public:
  explicit NftBalancer(const AddressKind& kind = {})
      : kind(kind), netfilter(NETLINK_NETFILTER), answered(kind) {}
  KJ_DISALLOW_COPY(NftBalancer);

  // What one leaves in the calling thread's network namespace.
  static void removeAll(const AddressKind& kind = {});

  // In one transaction.
  std::string apply(const BalancerChange& change) override;
  uint64_t transactions() const override { return commits; }

 private:
  struct Before {
    Ipv4 address = 0;
    Balanced service;            // in the order of their turns
    std::vector<Ipv4> unwanted;  // those that have no turn any more
  };
  // In the books; what was there before.
  std::vector<Before> take(const BalancerChange& change);
  void commit(const BalancerChange& change, const std::vector<Before>& before);
  void forget(const BalancerChange& change, const std::vector<Before>& before);
  void forgetStrays(const std::set<Ipv4>& there);

  AddressKind kind;
  NetlinkSocket netfilter;
  Answered answered;
  std::map<Ipv4, Backends> told;      // by address, which is not the order of their turns
  std::map<Ipv4, Balanced> services;  // in that order
  std::set<Ipv4> locals;
  bool built = false;  // the kernel's table is as these say
  uint64_t commits = 0;
};

}  // namespace orch::network::overlay
