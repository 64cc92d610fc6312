// Virtual addresses of one network: a connection to one goes to the next of the tasks behind it.
// Complete in itself: it needs a namespace with bridged frames in its IP hooks, and knows nothing
// of how tasks are connected. Blocking, for one thread at a time.
#pragma once

#include <kj/common.h>
#include <kj/memory.h>
#include <kj/string.h>

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "address-kind.h"
#include "lib/findings.h"
#include "lib/ipv4.h"

namespace orch::network::overlay {

constexpr uint32_t MOST_WEIGHT = 100;

struct Backend {
  Backend(Ipv4 address, uint32_t weight = 1) : address(address), weight(weight) {}
  Ipv4 address;
  uint32_t weight;  // its share of the new connections; 0: none
  bool operator==(const Backend&) const = default;
};
// In the order of their turns. Empty: whoever connects is refused at once.
using Backends = std::vector<Backend>;
bool serves(const Backends& backends);

// Whom a new connection goes to.
enum class Algorithm : uint8_t {
  RR,  // the next in turn
  LC,  // who has the fewest connections; nftables does not know, and takes the next in turn
  SH,  // by the client's address: the same while the tasks are the same
};
struct Choice {
  Algorithm algorithm = Algorithm::RR;
  // A client's next connection within it goes where its last one went, if that serves; 0: never.
  uint64_t persistenceMs = 0;
  bool operator==(const Choice&) const = default;
};
// What is behind a virtual address.
struct Balanced {
  Balanced() = default;
  Balanced(Backends backends, Choice choice = {}) : backends(std::move(backends)), choice(choice) {}
  Backends backends;
  Choice choice;
  bool operator==(const Balanced&) const = default;
};

struct BalancerChange {
  bool complete = false;  // what is not named is gone
  // Whom a task sees when it reaches itself by its service's address.
  Ipv4 gateway = 0;
  // By virtual address; nothing: there is no such service any more.
  std::map<Ipv4, std::optional<Balanced>> services;
  // Tasks on this node: there, or gone.
  std::map<Ipv4, bool> locals;
  // Tasks, on whatever node, that are gone: their connections end.
  std::vector<Ipv4> gone;
  // Of a complete change: all tasks, on whatever node, that are there.
  std::set<Ipv4> there;
};

// The first of its changes is complete; so is the first after one that failed.
class Balancer {
 public:
  virtual ~Balancer() noexcept(false) {}

  // Settles all of it; what is so already changes nothing. Takes over what another run left, by
  // looking at what the kernel has. Whoever loses a task keeps its TCP connections; UDP, which has
  // no end of a connection, goes elsewhere with the next packet. The text of what went wrong but
  // does not matter to the callers; mostly empty.
  virtual std::string apply(const BalancerChange& change) = 0;
  // Calls that changed something.
  virtual uint64_t transactions() const = 0;
};

enum class BalancerKind { NFT, IPVS };
kj::StringPtr nameOf(BalancerKind kind);
// What the running kernel has: IPVS, or else NFT.
BalancerKind bestBalancer();
// In the calling thread's network namespace, whichever thread uses it afterwards. One balances one
// kind of addresses; both may be told of the same changes.
kj::Own<Balancer> newBalancer(BalancerKind kind, const AddressKind& addresses = {});
// What the kernel has, in the calling thread's network namespace, against a complete change; reads
// only.
void checkBalancer(BalancerKind kind, const AddressKind& addresses, const BalancerChange& whole,
                   Findings& findings);

}  // namespace orch::network::overlay
