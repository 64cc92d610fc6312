#include "decide/address-allocator.h"

#include <algorithm>
#include <utility>

#include "orch/fail.h"

namespace orch::control::manager {

namespace {
using network::Ipv4Subnet;
using network::ipv4Text;
using network::parseIpv4;
using network::parseSubnet;

constexpr kj::StringPtr DEFAULT_POOL = "10.0.0.0/8"_kj;
// What is below belongs to others by custom.
constexpr uint32_t FIRST_VNI = 4097;
constexpr uint32_t LAST_VNI = (1 << 24) - 1;
constexpr int64_t NS_PER_S = 1'000'000'000;

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

bool overlap(const Ipv4Subnet& a, const Ipv4Subnet& b) {
  return a.contains(b.network) || b.contains(a.network);
}

bool isExcluded(schema::Network::Reader network, Ipv4 address) {
  auto subnet = parseSubnet(network.getSubnet()).value_or(Ipv4Subnet{});
  if (address == subnet.network || address == (subnet.network | ~subnet.mask())) return true;
  if (parseIpv4(network.getGateway()) == address) return true;
  for (auto reserved : network.getReserved()) {
    if (parseIpv4(reserved.getValue()) == address) return true;
  }
  return false;
}

uint64_t capacityOf(schema::Network::Reader network) {
  auto subnet = parseSubnet(network.getSubnet()).value_or(Ipv4Subnet{});
  auto range = rangeOf(network);
  std::set<Ipv4> excluded = {subnet.network, subnet.network | ~subnet.mask()};
  if (auto gateway = parseIpv4(network.getGateway())) excluded.insert(*gateway);
  for (auto reserved : network.getReserved()) {
    if (auto address = parseIpv4(reserved.getValue())) excluded.insert(*address);
  }
  uint64_t inRange = std::count_if(excluded.begin(), excluded.end(),
                                   [&](auto address) { return range.contains(address); });
  return range.size() - inRange;
}

namespace {
// Calls `found(subnet, what)` for all that the node's host has or reaches, until it says true.
// `what()` goes on from the node's name, in a text for users.
template <typename F>
bool anyOfNode(schema::Node::Reader node, F&& found) {
  auto description = node.getDescription();
  for (auto pool : description.getNetworks()) {
    auto subnet = parseSubnet(pool.getSubnet());
    auto what = [&] {
      return kj::str("has a network '", pool.getName(), "' with ", pool.getSubnet());
    };
    if (subnet && found(*subnet, what)) return true;
  }
  for (auto route : description.getRoutes()) {
    auto subnet = parseSubnet(route);
    auto what = [&] { return kj::str("has a route to ", route); };
    if (subnet && found(*subnet, what)) return true;
  }
  auto address = hostOf(node);
  auto what = [&] { return kj::str("has the address ", ipv4Text(*address)); };
  return address && found(Ipv4Subnet{*address, 32}, what);
}

// Calls `found(subnet, whose)` for all that no new network may meet, until it says true. `whose()`
// is a text for users.
template <typename F>
bool anyTaken(const View& view, F&& found) {
  for (auto network : allNetworks(view)) {
    auto other = parseSubnet(network.getSubnet());
    auto whose = [&] {
      return kj::str("the network '", network.getName(), "' has ", network.getSubnet());
    };
    if (other && found(*other, whose)) return true;
  }
  for (auto node : view.nodes()) {
    auto ofNode = [&](const Ipv4Subnet& other, auto& what) {
      auto whose = [&] {
        return kj::str("node '", node.getDescription().getHostname(), "' ", what());
      };
      return found(other, whose);
    };
    if (anyOfNode(node, ofNode)) return true;
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

std::string whySubnetIsTaken(const View& view, const Ipv4Subnet& subnet) {
  std::string why;
  anyTaken(view, [&](const Ipv4Subnet& other, auto& whose) {
    if (!overlap(other, subnet)) return false;
    why = whose().cStr();
    return true;
  });
  return why;
}

std::vector<std::string> overlapsOf(const View& view, schema::Node::Reader node) {
  std::vector<std::string> problems;
  auto networks = allNetworks(view);
  anyOfNode(node, [&](const Ipv4Subnet& other, auto& what) {
    for (auto network : networks) {
      auto subnet = parseSubnet(network.getSubnet());
      if (!subnet || !overlap(*subnet, other)) continue;
      problems.push_back(
          kj::str("node '", node.getDescription().getHostname(), "' ", what(),
                  ", which meets the network '", network.getName(), "' (", network.getSubnet(),
                  "): tasks on both sides may miss each other; make the network anew with another "
                  "--subnet, or change the host")
              .cStr());
    }
    return false;
  });
  return problems;
}

Ipv4Subnet chooseSubnet(const View& view) {
  std::vector<Ipv4Subnet> taken;
  anyTaken(view, [&](const Ipv4Subnet& subnet, auto&) {
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
  uint64_t start = range.contains(newest) ? newest - range.network + 1 : 0;
  int64_t earliestNs = INT64_MAX;
  for (uint64_t i = 0; i < range.size(); ++i) {
    Ipv4 address = range.network + static_cast<Ipv4>((start + i) % range.size());
    if (isExcluded(network, address) || addresses.isHeld(address)) continue;
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
      legs.push_back(
          {id, kj::str(ipv4Text(chosen.address), "/", prefix).cStr(), network->getInternal()});
    }
  }
  return true;
}

std::map<std::string, std::string> chooseVirtualAddresses(
    const View& view, schema::ServiceSpec::Reader spec,
    kj::Maybe<schema::Service::Reader> service) {
  std::map<std::string, std::string> chosen;
  if (spec.getEndpoint().getMode() != schema::EndpointSpec::Mode::VIP) return chosen;
  std::map<std::string, std::string> had;
  KJ_IF_MAYBE (known, service) {
    for (auto address : known->getAddresses()) {
      had[text(address.getNetwork())] = text(address.getAddress());
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
      chosen[id] = ipv4Text(free.address).cStr();
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
