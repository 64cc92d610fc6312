// Subnets, numbers and addresses of networks. Pure.
#pragma once

#include "lib/ipv6.h"
#include "state/view.h"

namespace orch::control::manager {

template <typename Subnet>
bool overlap(const Subnet& a, const Subnet& b) {
  return a.contains(b.network) || b.contains(a.network);
}
// That tasks and services can have, in all. Each with its twin of IPv6, if the network has that.
uint64_t capacityOf(schema::Network::Reader network);

// A subnet of the cluster's pools that meets no other network and holds no node's address. Fails if
// none is left.
network::Ipv4Subnet chooseSubnet(const View& view);
// A unique local one (RFC 4193), of those that are the cluster's by its id; the same otherwise.
network::Ipv6Subnet chooseSubnet6(const View& view);
// Why the subnet, of either kind, cannot be a network's; empty if it can.
template <typename Subnet>
std::string whySubnetIsTaken(const View& view, const Subnet& subnet);
// What of the node's host meets a network that users made: in whole sentences, for users.
std::vector<std::string> overlapsOf(const View& view, schema::Node::Reader node);
// A number that no network has, by chance: that of one that was removed may still be on a node.
uint32_t chooseVni(View& view);
struct ChosenAddress {
  Ipv4 address = 0;      // 0: none is left
  int64_t restedNs = 0;  // then one will be that rests now; 0: nobody knows
};
// One that nobody has, and that rests no more, after the last one that was given.
ChosenAddress chooseAddress(const View& view, schema::Network::Reader network);

struct ChosenLeg {
  std::string network;   // id
  std::string address;   // `10.0.1.5/24`
  std::string address6;  // `fd00:1::5/64`; empty: the network has no IPv6
  bool internal = false;
};
struct Lack {
  std::string why;
  int64_t untilNs = 0;  // 0: nobody knows
};
// A leg in each network that users made, of those that the spec names. False if one of them has no
// address to give now.
bool chooseLegs(const View& view, schema::TaskSpec::Reader spec, std::vector<ChosenLeg>& legs,
                Lack& lack);
struct ChosenVirtual {
  std::string address;
  std::string address6;  // empty: the network has no IPv6
};
// A virtual address in each of them, by id; those that the service has stay. Fails if a network has
// none left.
std::map<std::string, ChosenVirtual> chooseVirtualAddresses(
    const View& view, schema::ServiceSpec::Reader spec, kj::Maybe<schema::Service::Reader> service);

// At the end of a pass: writes down that addresses were given back of which nothing else will tell
// the next manager. It then lets all of the network's rest that nobody has.
void noteReleases(View& view);

}  // namespace orch::control::manager
