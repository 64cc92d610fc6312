// What one network is to be on this node, and what of that the kernel does not know yet. Pure.
// Everything may be repeated: what is known already changes nothing.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "balancer.h"
#include "encryption/wireguard.h"
#include "leg.h"

namespace orch::network::overlay {

struct NetworkFacts {
  Ipv4Subnet subnet;
  Ipv4 gateway = 0;
  uint32_t vni = 0;
  uint32_t mtu = 0;
  bool encrypted = false;
  std::optional<Ipv6Facts> ipv6;
  bool operator==(const NetworkFacts&) const = default;
};

struct Peer {
  std::string serviceId;
  Ipv4 address = 0;
  Ipv4 host = 0;  // 0: this one, or one that nobody reaches
  bool serving = false;
  std::optional<Key> key;  // the host's, if it has one
  bool operator==(const Peer&) const = default;
};

struct VirtualService {
  Ipv4 address = 0;  // 0: it has none
  Choice choice;
  bool operator==(const VirtualService&) const = default;
};

// What a sandbox is to do, in one go.
struct SandboxChange {
  std::optional<NetworkFacts> facts;  // nothing: legs go, all else stays as it is
  HostAddress host;                   // this node's, in the tunnel of an encrypted network
  bool complete = false;              // what is not named is gone
  std::vector<Leg> plugs;
  std::vector<Leg> unplugs;
  // A task's address and its host's, in the tunnel as well; not known: it is on no other host.
  std::map<Ipv4, HostAddress> remotes;
  BalancerChange balancing;
};

class NetworkBook final {
 public:
  void tell(const NetworkFacts& told);
  void tellPeer(const std::string& taskId, const Peer& peer);
  void forgetPeer(const std::string& taskId);
  void tellService(const std::string& serviceId, const VirtualService& service);
  void forgetService(const std::string& serviceId);
  // The network is gone, with all that is in it.
  void clear();
  std::vector<std::string> peerIds() const;
  std::vector<std::string> serviceIds() const;

  void plug(const Leg& leg);
  void unplug(const std::string& taskId);
  const Leg* legOf(const std::string& taskId) const;
  std::vector<std::string> taskIds() const;
  // The kernel has the leg, as far as anybody knows.
  bool isSettled(const std::string& taskId) const { return settled.count(taskId) > 0; }
  // Look again whether the kernel has it.
  void doubt(const std::string& taskId);

  bool told() const { return facts.has_value(); }
  bool isEncrypted() const { return facts && facts->encrypted; }
  // What an encrypted network has to have of the tunnel.
  void addTo(WireguardPeers& peers, uint16_t port) const;
  uint32_t mtu() const { return facts ? facts->mtu : 0; }
  bool hasLegs() const { return !legs.empty(); }
  bool isEmpty() const { return !facts && legs.empty() && peers.empty() && services.empty(); }
  bool hasChanges() const;

  // What changed since the last time; everything, as if the kernel had nothing, the first time and
  // after `startOver`.
  SandboxChange take(const HostAddress& host);
  // Everything, as `take` answers the first time; takes nothing.
  SandboxChange whole(const HostAddress& host) const;
  void confirm(const SandboxChange& done);
  // It was not done, or not as a whole.
  void failed(SandboxChange change);
  void startOver() { complete = true; }

 private:
  void touch(const Peer& peer);
  void removePeer(const std::string& taskId, const Peer& peer);
  HostAddress hostOf(Ipv4 address) const;
  std::optional<Balanced> balancedAt(Ipv4 virtualAddress) const;
  void takeLegs(SandboxChange& change);

  std::optional<NetworkFacts> facts;
  std::map<std::string, Peer> peers;
  std::map<Ipv4, std::string> owners;                // tasks, by address: the last that was told
  std::map<std::string, std::vector<Ipv4>> serving;  // by service; in order, without gaps in memory
  std::map<std::string, VirtualService> services;    // those with a virtual address
  std::map<Ipv4, std::string> servicesByAddress;
  std::map<std::string, Leg> legs;
  std::set<std::string> settled;

  bool complete = true;
  std::set<std::string> touchedLegs;
  std::map<std::string, Leg> goneLegs;
  std::set<Ipv4> touchedAddresses;
  std::set<Ipv4> touchedServices;  // by virtual address
  std::vector<Ipv4> gonePeers;
};

}  // namespace orch::network::overlay
