// By IPVS, in the namespace of a network; nftables only says what is for it (ipvs-rules.h).
//
// A task that serves no more keeps its place in the TCP service, without new connections, until it
// is gone: IPVS knows a connection by it.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "answered.h"
#include "balancer.h"
#include "ipvs.h"
#include "lib/netlink.h"

namespace orch::network::overlay {

class IpvsBalancer final : public Balancer {
 public:
  explicit IpvsBalancer(const AddressKind& kind);
  KJ_DISALLOW_COPY(IpvsBalancer);

  // What one leaves in the calling thread's network namespace.
  static void removeAll(const AddressKind& kind = {});

  // Not in one transaction, but no packet meets a service without its tasks.
  std::string apply(const BalancerChange& change) override;
  uint64_t transactions() const override { return commits; }

 private:
  struct Work {
    std::set<Ipv4> touched;          // virtual addresses
    std::map<Ipv4, bool> newLocals;  // those that were not so
    std::vector<Ipv4> gone;
    std::optional<std::set<Ipv4>> there;  // all tasks, if that is known
  };
  struct Plan {
    std::vector<NetlinkMessage> first;  // before packets are led there
    std::vector<NetlinkMessage> last;
  };
  Work take(const BalancerChange& change);
  void settle(const Work& work);
  // The same for all that there is, whatever anybody changed.
  void settleAll(Work work);
  // These change `table` as the plan will the kernel.
  void planService(Plan& plan, Ipv4 address, uint8_t protocol);
  void planDestinations(Plan& plan, uint32_t mark, const Backends& wanted, bool isTcp);
  void planGone(Plan& plan, Ipv4 task);
  void planStrays(Plan& plan);
  std::set<Ipv4> goneBut(const std::set<Ipv4>& there) const;
  // True if there was something to do.
  bool commitRules(const Work& work);

  AddressKind kind;
  Ipvs ipvs;
  NetlinkSocket netfilter;
  Answered answered;
  Ipv4 gateway = 0;
  std::map<Ipv4, Balanced> services;
  std::set<Ipv4> locals;
  IpvsTable table;        // as the kernel has it
  std::set<Ipv4> marked;  // virtual addresses that are led to IPVS
  bool built = false;     // the kernel has what these say
  uint64_t commits = 0;
};

}  // namespace orch::network::overlay
