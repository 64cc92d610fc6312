// What the kernel has of one network on this node: a namespace with a bridge, a VXLAN device to the
// other hosts, and a port per task of this node. Blocking: for worker threads in the node's network
// namespace, one at a time. Everything may be repeated.
#pragma once

#include <kj/memory.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "balancer.h"
#include "book.h"
#include "layout.h"
#include "lib/netns.h"
#include "lib/rtnetlink.h"

namespace orch::network::overlay {

struct Applied {
  std::map<std::string, std::string> refused;  // tasks that have no leg, and why
  std::string flowsKept;  // what went wrong but does not matter to the callers; mostly empty
};

class Sandbox final {
 public:
  // The one that is there, or a new one, which stays when this goes.
  Sandbox(const Layout& layout, const std::string& network, Step step = nullptr);
  KJ_DISALLOW_COPY(Sandbox);

  // What has to be added comes before what has to go. The VXLAN device is made when this node's
  // address is known.
  Applied apply(const SandboxChange& change);

  // Takes all of it away, and the records of these legs last. The kernel ends the namespace after
  // the answer, when no process is in it any more. Gone is success.
  static void remove(const Layout& layout, const std::string& network, const std::vector<Leg>& legs,
                     const Step& step = nullptr);

  // Changes of links and neighbours that the kernel was asked for so far.
  uint64_t changes() const { return net->changes(); }
  uint64_t transactions() const {
    return balancer->transactions() + (kind6.isIpv6() ? balancer6->transactions() : 0);
  }

 private:
  void step() const {
    if (onStep) onStep();
  }
  void open(const std::string& network);
  void prepare(const NetworkFacts& facts);
  void prepareIpv6(const NetworkFacts& facts);
  void connect(const NetworkFacts& facts, const HostAddress& host);
  // What is there that was not named; it is taken away with the rest.
  void adopt(const SandboxChange& change, std::vector<std::string>& ports);
  void adoptNeighbours6(const std::set<Ipv4>& local);
  std::string balance(const BalancerChange& change);
  void plug(const Leg& leg, uint32_t mtu);
  void plugIpv6(const Leg& leg, int taskNamespace, Rtnetlink& inside, uint32_t device);
  void setRemotes(const std::map<Ipv4, HostAddress>& wanted);
  void removeRemotes(const std::vector<Ipv4>& addresses);
  void unplug(const std::vector<Leg>& legs, const std::vector<std::string>& ports,
              const std::map<Ipv4, HostAddress>& remotesWanted);

  Layout layout;
  Step onStep;
  kj::AutoCloseFd handle;
  kj::Own<Rtnetlink> net;      // inside
  kj::Own<Balancer> balancer;  // inside
  // The same of IPv6, once it is known that the network has it.
  AddressKind kind6;
  kj::Own<Balancer> balancer6;
  uint32_t bridge = 0;  // indices; 0: not there yet
  uint32_t vxlan = 0;
  HostAddress connected;                // the address that the VXLAN device sends from
  std::map<Ipv4, HostAddress> remotes;  // tasks and their hosts, as the kernel has them
};

}  // namespace orch::network::overlay
