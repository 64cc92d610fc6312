// Virtual addresses of one network by nftables: a connection to one goes to the next of the tasks
// behind it. Complete in itself: it needs a namespace with bridged frames in its IP hooks, and
// knows nothing of how tasks are connected. Blocking, for one thread at a time.
#pragma once

#include <kj/common.h>

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "lib/conntrack.h"
#include "lib/netlink.h"
#include "lib/rtnetlink.h"

namespace orch::network::overlay {

// In the order of their turns. Empty: whoever connects is refused at once.
using Backends = std::vector<Ipv4>;

struct BalancerChange {
  bool complete = false;  // what is not named is gone
  // By virtual address; nothing: there is no such service any more.
  std::map<Ipv4, std::optional<Backends>> services;
  // Tasks on this node: there, or gone.
  std::map<Ipv4, bool> locals;
  // Tasks, on whatever node, that are gone: their connections end.
  std::vector<Ipv4> gone;
};

class Balancer final {
 public:
  // In the calling thread's network namespace, whichever thread uses it afterwards.
  Balancer() : netfilter(NETLINK_NETFILTER) {}
  KJ_DISALLOW_COPY(Balancer);

  // Settles all of it in one transaction; what is so already changes nothing. Whoever loses a task
  // keeps its TCP connections; UDP, which has no end of a connection, goes elsewhere with the next
  // packet. The text of what went wrong but does not matter to the callers; mostly empty.
  std::string apply(const BalancerChange& change);
  // Those that changed something.
  uint64_t transactions() const { return commits; }

 private:
  struct Before {
    Ipv4 address = 0;
    Backends backends;
  };
  // In the books; what was there before.
  std::vector<Before> take(const BalancerChange& change);
  void answer(const std::vector<Before>& before);
  void commit(const BalancerChange& change, const std::vector<Before>& before);
  void forget(const BalancerChange& change, const std::vector<Before>& before);

  NetlinkSocket netfilter;
  Rtnetlink net;
  std::map<Ipv4, Backends> services;
  std::set<Ipv4> locals;
  std::set<Ipv4> answered;  // virtual addresses that the namespace has
  bool built = false;       // the kernel's table is as these say
  uint64_t commits = 0;
};

}  // namespace orch::network::overlay
