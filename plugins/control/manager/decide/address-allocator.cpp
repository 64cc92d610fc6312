#include "decide/address-allocator.h"

#include <algorithm>
#include <utility>

#include "orch/fail.h"

namespace orch::control::manager {

namespace {
using network::Ipv4Subnet;
using network::ipv4Text;
using network::Ipv6;
using network::Ipv6Subnet;
using network::ipv6Text;
using network::parseIpv4;
using network::parseIpv6;
using network::parseSubnet;
using network::twinsOf;

constexpr kj::StringPtr DEFAULT_POOL = "10.0.0.0/8"_kj;
// What is below belongs to others by custom.
constexpr uint32_t FIRST_VNI = 4097;
constexpr uint32_t LAST_VNI = (1 << 24) - 1;
constexpr int64_t NS_PER_S = 1'000'000'000;
// RFC 4193: fd, 40 bits that no other cluster has, 16 bits of the network.
constexpr uint8_t LOCAL_PREFIX = 0xfd;
constexpr uint8_t GLOBAL_PREFIX = 48;
constexpr uint8_t SUBNET6_PREFIX = 64;
constexpr uint32_t SUBNETS6 = 1 << 16;

// Both kinds of subnet, for what treats them alike.
template <typename Subnet>
std::optional<Subnet> parsed(kj::StringPtr text);
template <>
std::optional<Ipv4Subnet> parsed(kj::StringPtr text) {
  return parseSubnet(text);
}
template <>
std::optional<Ipv6Subnet> parsed(kj::StringPtr text) {
  return network::parseSubnet6(text);
}
template <typename Subnet>
kj::StringPtr subnetOf(schema::Network::Reader network) {
  if constexpr (std::is_same_v<Subnet, Ipv4Subnet>) return network.getSubnet();
  return network.getSubnet6();
}
// That the node itself is reached at.
template <typename Subnet>
std::optional<Subnet> hostAt(schema::Node::Reader node) {
  if constexpr (std::is_same_v<Subnet, Ipv4Subnet>) {
    auto address = hostOf(node);
    if (address) return Ipv4Subnet{*address, 32};
  } else {
    auto address = network::parseIpv6Host(node.getAddress());
    if (address) return Ipv6Subnet{*address, 128};
  }
  return std::nullopt;
}

// What addresses are given of.
Ipv4Subnet rangeOf(schema::Network::Reader network) {
  auto range = network.getIpRange().size() > 0 ? network.getIpRange() : network.getSubnet();
  return parseSubnet(range).value_or(Ipv4Subnet{});
}

std::vector<schema::Network::Reader> allNetworks(const View& view) {
  std::vector<schema::Network::Reader> result;
  for (auto& name : view.networkNames()) {
    KJ_IF_MAYBE (network, view.network(view.networkNamed(name))) result.push_back(*network);
  }
  return result;
}

std::vector<Ipv4Subnet> poolsOf(const View& view, uint8_t& prefix) {
  std::vector<Ipv4Subnet> pools;
  prefix = schema::Cluster::Reader().getAddressPoolPrefix();
  KJ_IF_MAYBE (cluster, view.cluster()) {
    prefix = cluster->getAddressPoolPrefix();
    for (auto pool : cluster->getAddressPools()) {
      if (auto parsed = parseSubnet(pool)) pools.push_back(*parsed);
    }
  }
  if (pools.empty()) pools.push_back(*parseSubnet(DEFAULT_POOL));
  return pools;
}
}  // namespace

namespace {
// That no task may have: the subnet's first and last address, the gateway's, reserved ones, and
// those whose twins of IPv6 are such.
std::set<Ipv4> excludedOf(schema::Network::Reader network) {
  auto subnet = parseSubnet(network.getSubnet()).value_or(Ipv4Subnet{});
  auto twins = twinsOf(network);
  std::set<Ipv4> excluded = {subnet.network, subnet.network | ~subnet.mask()};
  auto exclude = [&](kj::StringPtr text) {
    if (auto address = parseIpv4(text)) excluded.insert(*address);
    auto twin = twins ? parseIpv6(text) : std::nullopt;
    auto owner = twin ? twins->ownerOf(*twin) : std::nullopt;
    if (owner) excluded.insert(*owner);
  };
  exclude(network.getGateway());
  exclude(network.getGateway6());
  for (auto reserved : network.getReserved()) exclude(reserved.getValue());
  return excluded;
}
}  // namespace

uint64_t capacityOf(schema::Network::Reader network) {
  auto range = rangeOf(network);
  auto excluded = excludedOf(network);
  uint64_t inRange = std::count_if(excluded.begin(), excluded.end(),
                                   [&](auto address) { return range.contains(address); });
  return range.size() - inRange;
}

namespace {
// Calls `found(subnet, what)` for all that the node's host has or reaches, until it says true.
// `what()` goes on from the node's name, in a text for users.
template <typename Subnet, typename F>
bool anyOfNode(schema::Node::Reader node, F&& found) {
  auto description = node.getDescription();
  for (auto pool : description.getNetworks()) {
    auto subnet = parsed<Subnet>(pool.getSubnet());
    auto what = [&] {
      return kj::str("has a network '", pool.getName(), "' with ", pool.getSubnet());
    };
    if (subnet && found(*subnet, what)) return true;
  }
  for (auto route : description.getRoutes()) {
    auto subnet = parsed<Subnet>(route);
    auto what = [&] { return kj::str("has a route to ", route); };
    if (subnet && found(*subnet, what)) return true;
  }
  auto own = hostAt<Subnet>(node);
  auto what = [&] {
    auto text = subnetText(*own);
    return kj::str("has the address ", text.slice(0, KJ_ASSERT_NONNULL(text.findFirst('/'))));
  };
  return own && found(*own, what);
}

// Calls `found(subnet, whose)` for all that no new network may meet, until it says true. `whose()`
// is a text for users.
template <typename Subnet, typename F>
bool anyTaken(const View& view, F&& found) {
  for (auto network : allNetworks(view)) {
    auto other = parsed<Subnet>(subnetOf<Subnet>(network));
    auto whose = [&] {
      return kj::str("the network '", network.getName(), "' has ", subnetOf<Subnet>(network));
    };
    if (other && found(*other, whose)) return true;
  }
  for (auto node : view.nodes()) {
    auto ofNode = [&](const Subnet& other, auto& what) {
      auto whose = [&] {
        return kj::str("node '", node.getDescription().getHostname(), "' ", what());
      };
      return found(other, whose);
    };
    if (anyOfNode<Subnet>(node, ofNode)) return true;
  }
  return false;
}

// The first of the pool's that meets none of those taken; past each it is looked on behind it.
std::optional<Ipv4Subnet> firstFree(const Ipv4Subnet& pool, uint8_t prefix,
                                    const std::vector<Ipv4Subnet>& taken) {
  Ipv4Subnet subnet{pool.network, std::max(prefix, pool.prefix)};
  uint64_t end = uint64_t(pool.network) + pool.size();
  for (uint64_t at = pool.network; at < end;) {
    subnet.network = static_cast<Ipv4>(at);
    uint64_t next = at;
    for (auto& other : taken) {
      if (overlap(other, subnet)) next = std::max(next, uint64_t(other.network) + other.size());
    }
    if (next == at) return subnet;
    at = (next + subnet.size() - 1) / subnet.size() * subnet.size();
  }
  return std::nullopt;
}
}  // namespace

template <typename Subnet>
std::string whySubnetIsTaken(const View& view, const Subnet& subnet) {
  std::string why;
  anyTaken<Subnet>(view, [&](const Subnet& other, auto& whose) {
    if (!overlap(other, subnet)) return false;
    why = whose().cStr();
    return true;
  });
  return why;
}
template std::string whySubnetIsTaken(const View& view, const Ipv4Subnet& subnet);
template std::string whySubnetIsTaken(const View& view, const Ipv6Subnet& subnet);

namespace {
template <typename Subnet>
void addOverlaps(const View& view, schema::Node::Reader node, std::vector<std::string>& problems) {
  auto networks = allNetworks(view);
  anyOfNode<Subnet>(node, [&](const Subnet& other, auto& what) {
    for (auto network : networks) {
      auto subnet = parsed<Subnet>(subnetOf<Subnet>(network));
      if (!subnet || !overlap(*subnet, other)) continue;
      problems.push_back(
          kj::str("node '", node.getDescription().getHostname(), "' ", what(),
                  ", which meets the network '", network.getName(), "' (",
                  subnetOf<Subnet>(network),
                  "): tasks on both sides may miss each other; make the network anew with another "
                  "--subnet, or change the host")
              .cStr());
    }
    return false;
  });
}
}  // namespace

std::vector<std::string> overlapsOf(const View& view, schema::Node::Reader node) {
  std::vector<std::string> problems;
  addOverlaps<Ipv4Subnet>(view, node, problems);
  addOverlaps<Ipv6Subnet>(view, node, problems);
  return problems;
}

Ipv4Subnet chooseSubnet(const View& view) {
  std::vector<Ipv4Subnet> taken;
  anyTaken<Ipv4Subnet>(view, [&](const Ipv4Subnet& subnet, auto&) {
    taken.push_back(subnet);
    return false;
  });
  // Nodes have most of their routes in common.
  auto key = [](auto& subnet) { return std::make_pair(subnet.network, subnet.prefix); };
  std::sort(taken.begin(), taken.end(), [&](auto& a, auto& b) { return key(a) < key(b); });
  taken.erase(std::unique(taken.begin(), taken.end()), taken.end());
  uint8_t prefix = 0;
  std::string names;
  for (auto& pool : poolsOf(view, prefix)) {
    auto subnet = firstFree(pool, prefix, taken);
    if (subnet) return *subnet;
    names += (names.empty() ? "" : ", ") + std::string(network::subnetText(pool).cStr());
  }
  fail(kj::str("no subnet is left in the cluster's address pools (", names.c_str(),
               "): networks and routes of the nodes have them; remove a network, name one with "
               "--subnet, or give another pool with 'orch init --default-addr-pool'"));
}

Ipv6Subnet chooseSubnet6(const View& view) {
  // FNV-1a of what is as random as can be.
  uint64_t global = 14695981039346656037ull;
  KJ_IF_MAYBE (cluster, view.cluster()) {
    for (char c : cluster->getMeta().getId()) global = (global ^ uint8_t(c)) * 1099511628211ull;
  }
  Ipv6Subnet subnet;
  subnet.prefix = SUBNET6_PREFIX;
  subnet.network[0] = LOCAL_PREFIX;
  for (size_t i = 1; i <= 5; ++i) subnet.network[i] = uint8_t(global >> (8 * i));
  Ipv6Subnet all{subnet.network, GLOBAL_PREFIX};
  std::vector<Ipv6Subnet> taken;
  anyTaken<Ipv6Subnet>(view, [&](const Ipv6Subnet& other, auto&) {
    if (overlap(other, all)) taken.push_back(other);
    return false;
  });
  for (uint32_t number = 0; number < SUBNETS6; ++number) {
    subnet.network[6] = uint8_t(number >> 8);
    subnet.network[7] = uint8_t(number);
    bool meets = std::any_of(taken.begin(), taken.end(),
                             [&](auto& other) { return overlap(other, subnet); });
    if (!meets) return subnet;
  }
  fail(kj::str("no IPv6 subnet is left of ", subnetText(all), "; name one with --subnet"));
}

uint32_t chooseVni(View& view) {
  std::set<uint32_t> taken;
  for (auto network : allNetworks(view)) taken.insert(network.getVni());
  for (;;) {
    uint32_t vni = FIRST_VNI + view.random() % (LAST_VNI - FIRST_VNI + 1);
    if (taken.count(vni) == 0) return vni;
  }
}

ChosenAddress chooseAddress(const View& view, schema::Network::Reader network) {
  auto id = manager::view(network.getMeta().getId());
  auto range = rangeOf(network);
  auto addresses = view.addresses(id);
  auto newest = view.newestAddress(id);
  auto excluded = excludedOf(network);
  uint64_t start = range.contains(newest) ? newest - range.network + 1 : 0;
  int64_t earliestNs = INT64_MAX;
  for (uint64_t i = 0; i < range.size(); ++i) {
    Ipv4 address = range.network + static_cast<Ipv4>((start + i) % range.size());
    if (excluded.count(address) > 0 || addresses.isHeld(address)) continue;
    auto untilNs = addresses.restsUntilNs(address);
    if (untilNs <= view.now()) return {address, 0};
    earliestNs = std::min(earliestNs, untilNs);
  }
  return {0, earliestNs == INT64_MAX ? 0 : earliestNs};
}

bool chooseLegs(const View& view, schema::TaskSpec::Reader spec, std::vector<ChosenLeg>& legs,
                Lack& lack) {
  for (auto attachment : spec.getNetworks()) {
    auto id = view.networkNamed(manager::view(attachment.getName()));
    KJ_IF_MAYBE (network, view.network(id)) {
      auto chosen = chooseAddress(view, *network);
      if (chosen.address == 0) {
        auto rest = chosen.restedNs == 0 ? "" : " yet: those that were given back just now rest";
        lack = {
            kj::str("no address is left on the network '", network->getName(), "'", rest).cStr(),
            chosen.restedNs};
        return false;
      }
      auto prefix = parseSubnet(network->getSubnet()).value_or(Ipv4Subnet{}).prefix;
      ChosenLeg leg{id, kj::str(ipv4Text(chosen.address), "/", prefix).cStr(), "",
                    network->getInternal()};
      if (auto twins = twinsOf(*network)) {
        auto subnet6 = network::parseSubnet6(network->getSubnet6()).value_or(Ipv6Subnet{});
        leg.address6 = kj::str(ipv6Text(twins->of(chosen.address)), "/", subnet6.prefix).cStr();
      }
      legs.push_back(std::move(leg));
    }
  }
  return true;
}

std::map<std::string, ChosenVirtual> chooseVirtualAddresses(
    const View& view, schema::ServiceSpec::Reader spec,
    kj::Maybe<schema::Service::Reader> service) {
  std::map<std::string, ChosenVirtual> chosen;
  if (spec.getEndpoint().getMode() != schema::EndpointSpec::Mode::VIP) return chosen;
  std::map<std::string, ChosenVirtual> had;
  KJ_IF_MAYBE (known, service) {
    for (auto address : known->getAddresses()) {
      had[text(address.getNetwork())] = {text(address.getAddress()), text(address.getAddress6())};
    }
  }
  for (auto attachment : spec.getTask().getNetworks()) {
    auto id = view.networkNamed(manager::view(attachment.getName()));
    KJ_IF_MAYBE (network, view.network(id)) {
      auto known = had.find(id);
      if (known != had.end()) {
        chosen.insert(*known);
        continue;
      }
      auto free = chooseAddress(view, *network);
      if (free.restedNs > 0) {
        fail(kj::str("no address is left on the network '", network->getName(),
                     "' yet: those that were given back just now rest; try again in ",
                     (free.restedNs - view.now() + NS_PER_S - 1) / NS_PER_S, "s"));
      }
      if (free.address == 0) {
        fail(kj::str("no address is left on the network '", network->getName(),
                     "' for the service; use another network or a larger subnet"));
      }
      auto& given = chosen[id];
      given.address = ipv4Text(free.address).cStr();
      auto twins = twinsOf(*network);
      if (twins) given.address6 = ipv6Text(twins->of(free.address)).cStr();
    }
  }
  return chosen;
}

void noteReleases(View& view) {
  for (auto& id : view.forgottenIn()) {
    KJ_IF_MAYBE (network, view.network(id)) {
      if (network->getReleasedAtNs() + RELEASE_GRAIN_NS > view.now()) continue;
      view.edit<schema::Network>(Kind::NETWORK, id, [&](schema::Network::Builder changed) {
        changed.setReleasedAtNs(view.now());
      });
    }
  }
}

}  // namespace orch::control::manager
