#include "serve/network-ipv6.h"

#include "decide/address-allocator.h"
#include "orch/fail.h"
#include "serve/validate.h"

namespace orch::control::manager {

namespace {
using network::Ipv4Subnet;
using network::Ipv6;
using network::Ipv6Subnet;
using network::ipv6Text;
using network::parseSubnet;
using network::parseSubnet6;

constexpr uint8_t LEAST_PREFIX6 = 8;

Ipv6Subnet subnet6Of(kj::StringPtr flag, kj::StringPtr value) {
  auto subnet = parseSubnet6(value);
  refuseIf(!subnet, flag, " '", value, "' must be an IPv6 subnet such as fd00:1::/64");
  return *subnet;
}

// "::" and the like, what is a link's own, and what is no single host's.
void refuseUnusable(const Ipv6Subnet& subnet) {
  for (auto range : {"::/8"_kj, "fe80::/9"_kj, "ff00::/8"_kj}) {
    refuseIf(overlap(subnet, *parseSubnet6(range)), "--subnet '", subnetText(subnet),
             "' must not meet ", range, ", which hosts cannot have for such a network");
  }
}

// Not the first one: it is any router's (RFC 4291).
Ipv6 address6In(kj::StringPtr flag, kj::StringPtr value, const Ipv6Subnet& subnet) {
  auto address = network::parseIpv6(value);
  refuseIf(!address, flag, " '", value, "' must be an IPv6 address");
  refuseIf(!subnet.contains(*address) || *address == subnet.network, flag, " '", value,
           "' must be an address in the subnet ", subnetText(subnet));
  return *address;
}

// With room for a twin of each address of the other subnet (lib/ipv6.h).
void refuseSmall(kj::StringPtr flag, const Ipv6Subnet& given, const Ipv4Subnet& subnet) {
  auto most = network::mostPrefixFor(subnet);
  refuseIf(given.prefix < LEAST_PREFIX6 || given.prefix > most, flag, " '", subnetText(given),
           "' must have a prefix of ", LEAST_PREFIX6, " to ", most,
           ": it has an address for each one of ", subnetText(subnet));
}

Ipv6Subnet chosenSubnet6(const View& view, schema::Network::Reader spec, const Ipv4Subnet& subnet) {
  if (spec.getSubnet6().size() == 0) {
    refuseWithoutSubnet(spec, true);
    return chooseSubnet6(view);
  }
  auto given = subnet6Of("--subnet", spec.getSubnet6());
  refuseSmall("--subnet", given, subnet);
  refuseUnusable(given);
  auto why = whySubnetIsTaken(view, given);
  if (!why.empty()) {
    fail(kj::str("the subnet ", spec.getSubnet6(), " is taken: ", why.c_str(),
                 "; choose another one, or leave it out"));
  }
  return given;
}

}  // namespace

bool isIpv6(capnp::Text::Reader value) { return value.findFirst(':') != nullptr; }

void refuseIpv6(schema::Network::Reader spec) {
  auto check = [](kj::StringPtr flag, kj::StringPtr value) {
    refuseIf(value.size() > 0, flag, " '", value, "' is of IPv6: add --ipv6, or leave it out");
  };
  check("--subnet", spec.getSubnet6());
  check("--gateway", spec.getGateway6());
  check("--ip-range", spec.getIpRange6());
  for (auto pair : spec.getReserved()) {
    if (isIpv6(pair.getValue())) check("--aux-address", pair.getValue());
  }
}

void refuseWithoutSubnet(schema::Network::Reader spec, bool ipv6) {
  auto gateway = ipv6 ? spec.getGateway6() : spec.getGateway();
  auto range = ipv6 ? spec.getIpRange6() : spec.getIpRange();
  for (kj::StringPtr other : {gateway, range}) {
    refuseIf(other.size() > 0, "'", other, "' needs a --subnet that it is in");
  }
  for (auto pair : spec.getReserved()) {
    refuseIf(isIpv6(pair.getValue()) == ipv6, "--aux-address needs a --subnet that it is in");
  }
}

void fillIpv6(const View& view, schema::Network::Reader spec, schema::Network::Builder network) {
  auto subnet = *parseSubnet(network.getSubnet());
  auto subnet6 = chosenSubnet6(view, spec, subnet);
  network.setIpv6(true);
  network.setSubnet6(subnetText(subnet6));
  if (spec.getIpRange6().size() > 0) {
    auto range = subnet6Of("--ip-range", spec.getIpRange6());
    refuseIf(range.prefix < subnet6.prefix || !subnet6.contains(range.network), "--ip-range '",
             spec.getIpRange6(), "' must be in the subnet ", subnetText(subnet6));
    refuseSmall("--ip-range", range, subnet);
    network.setIpRange6(subnetText(range));
  }
  auto twins = *network::twinsOf(network.asReader());
  auto gateway = twins.of(*network::parseIpv4(network.getGateway()));
  if (spec.getGateway6().size() > 0) {
    gateway = address6In("--gateway", spec.getGateway6(), subnet6);
  }
  network.setGateway6(ipv6Text(gateway));
  std::set<Ipv6> seen;
  for (auto pair : spec.getReserved()) {
    if (!isIpv6(pair.getValue())) continue;
    auto address = address6In("--aux-address", pair.getValue(), subnet6);
    refuseIf(address == gateway, "--aux-address '", pair.getKey(), "=", pair.getValue(),
             "' is the gateway's address");
    refuseIf(!seen.insert(address).second, "--aux-address '", pair.getValue(), "' is given twice");
  }
}

}  // namespace orch::control::manager
