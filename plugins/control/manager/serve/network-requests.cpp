#include "serve/network-requests.h"

#include <kj/encoding.h>

#include <algorithm>

#include "decide/address-allocator.h"
#include "orch/fail.h"
#include "schedule/encryption.h"
#include "serve/network-ipv6.h"
#include "serve/resolve.h"

namespace orch::control::manager {

namespace {
using network::Ipv4Subnet;
using network::ipv4Text;
using network::parseIpv4;
using network::parseSubnet;
using network::subnetText;

// Smaller than the pool of one node can be, and large enough for two tasks and a service.
constexpr uint8_t LEAST_PREFIX = 8;
constexpr uint8_t MOST_PREFIX = 29;
constexpr kj::StringPtr MTU = "com.docker.network.driver.mtu"_kj;
constexpr uint64_t LEAST_MTU = 576;
constexpr uint64_t MOST_MTU = 65485;  // 50 bytes less than an IPv4 packet has: those of VXLAN
constexpr uint64_t MOST_ENCRYPTED_MTU = 65405;  // 80 less again: those of the tunnel
// RFC 8200: of every link with IPv6.
constexpr uint64_t LEAST_MTU6 = 1280;
constexpr size_t MAX_PAIRS = 256;
constexpr size_t MAX_BYTES = 64 << 10;
constexpr size_t MAX_POOLS = 64;
constexpr size_t MAX_REASON_BYTES = 300;

Ipv4Subnet subnetOf(kj::StringPtr flag, kj::StringPtr value) {
  auto subnet = parseSubnet(value);
  refuseIf(!subnet, flag, " '", value, "' must be an IPv4 subnet such as 10.1.0.0/24");
  return *subnet;
}

// "This" network, loopback, and what is no single host's: of these nobody is reached.
void refuseUnusable(kj::StringPtr flag, const Ipv4Subnet& subnet) {
  for (auto range : {"0.0.0.0/8"_kj, "127.0.0.0/8"_kj, "169.254.0.0/16"_kj, "224.0.0.0/3"_kj}) {
    refuseIf(overlap(subnet, *parseSubnet(range)), flag, " '", subnetText(subnet),
             "' must not meet ", range, ", which hosts cannot have for such a network");
  }
}

Ipv4 addressIn(kj::StringPtr flag, kj::StringPtr value, const Ipv4Subnet& subnet) {
  auto address = parseIpv4(value);
  refuseIf(!address, flag, " '", value, "' must be an IPv4 address");
  bool inside = subnet.contains(*address) && *address != subnet.network &&
                *address != (subnet.network | ~subnet.mask());
  refuseIf(!inside, flag, " '", value, "' must be an address in the subnet ", subnetText(subnet));
  return *address;
}

void checkOption(schema::KeyValue::Reader option, bool encrypted, bool ipv6) {
  if (option.getKey() == MTU) {
    uint64_t most = encrypted ? MOST_ENCRYPTED_MTU : MOST_MTU;
    uint64_t mtu = 0;
    uint64_t least = ipv6 ? LEAST_MTU6 : LEAST_MTU;
    for (char c : option.getValue()) {
      bool digit = c >= '0' && c <= '9' && mtu <= most;
      mtu = digit ? mtu * 10 + (c - '0') : most + 1;
    }
    refuseIf(mtu < least || mtu > most, "--opt ", MTU, " must be ", least, " to ", most,
             ipv6 ? " with IPv6" : "", ", not '", option.getValue(), "'");
    return;
  }
  if (option.getKey() == ENCRYPTED) {
    auto value = option.getValue();
    refuseIf(value.size() > 0 && value != "true", "--opt encrypted has no value but true, not '",
             value, "'; without the option a network is not encrypted");
    return;
  }
  fail(
      kj::str("usage: unknown --opt '", option.getKey(), "'; there are ", ENCRYPTED, " and ", MTU));
}

void checkPairs(kj::StringPtr flag, capnp::List<schema::KeyValue>::Reader pairs) {
  refuseIf(pairs.size() > MAX_PAIRS, flag, " can be given ", MAX_PAIRS, " times at most");
  for (auto pair : pairs) {
    for (capnp::Text::Reader value : {pair.getKey(), pair.getValue()}) {
      refuseIf(kj::encodeUtf32(value).hadErrors, "a value of ", flag, " is not valid UTF-8");
    }
  }
}

// A node that could have a task on it.
bool hasDriver(const View& view, kj::StringPtr driver) {
  auto plugin = kj::str("network.", driver);
  return view.anyNode([&](schema::Node::Reader node) {
    for (auto id : node.getDescription().getPlugins()) {
      if (id == plugin) return true;
    }
    return false;
  });
}

// So that nobody waits for tasks that cannot start.
void checkEncryption(const View& view) {
  std::string reasons;
  bool any = view.anyNode([&](schema::Node::Reader node) {
    if (canEncrypt(node)) return true;
    auto hostname = node.getDescription().getHostname();
    auto reason = text(hostname) + ": " + whyNoEncryption(node);
    if (reasons.size() < MAX_REASON_BYTES) reasons += (reasons.empty() ? "" : "; ") + reason;
    return false;
  });
  if (any) return;
  fail(kj::str("no node can be on an encrypted network (", reasons.c_str(),
               "); install wireguard-go, or leave --opt encrypted out"));
}

void checkNew(const View& view, schema::Network::Reader spec) {
  auto name = spec.getName();
  checkName("network", name);
  size_t bytes = spec.totalSize().wordCount * sizeof(capnp::word);
  refuseIf(bytes > MAX_BYTES, "the network's description is too large: ", bytes, " bytes, at most ",
           MAX_BYTES);
  std::set<std::string> local = {"bridge", "host", "none"};
  for (auto node : view.nodes()) {
    for (auto pool : node.getDescription().getNetworks()) local.insert(text(pool.getName()));
  }
  bool taken = local.count(name.cStr()) > 0 || !view.networkNamed(manager::view(name)).empty();
  if (taken) fail(kj::str("network '", name, "' exists already; choose another name"));
  auto driver = spec.getDriver().size() > 0 ? spec.getDriver() : capnp::Text::Reader("overlay");
  if (driver == "bridge") {
    fail(
        kj::str("usage: a network of the driver 'bridge' is each node's own: [[plugin]] id = "
                "\"network.bridge#",
                name, "\" in its manifest makes one"));
  }
  refuseIf(driver != "overlay", "unknown driver '", driver, "' for --driver; there is overlay");
  if (!hasDriver(view, driver)) {
    fail(kj::str("no node has the plugin network.", driver, "; add it to a node's manifest"));
  }
  checkPairs("--label", spec.getLabels());
  checkPairs("--opt", spec.getOptions());
  checkPairs("--aux-address", spec.getReserved());
  for (auto option : spec.getOptions()) checkOption(option, isEncrypted(spec), spec.getIpv6());
  if (isEncrypted(spec)) checkEncryption(view);
}

Ipv4Subnet chosenSubnet(const View& view, schema::Network::Reader spec) {
  if (spec.getSubnet().size() == 0) {
    refuseWithoutSubnet(spec, false);
    return chooseSubnet(view);
  }
  auto subnet = subnetOf("--subnet", spec.getSubnet());
  refuseIf(subnet.prefix < LEAST_PREFIX || subnet.prefix > MOST_PREFIX, "--subnet '",
           spec.getSubnet(), "' must have a prefix of ", LEAST_PREFIX, " to ", MOST_PREFIX);
  refuseUnusable("--subnet", subnet);
  auto why = whySubnetIsTaken(view, subnet);
  if (!why.empty()) {
    fail(kj::str("the subnet ", spec.getSubnet(), " is taken: ", why.c_str(),
                 "; choose another one, or leave --subnet out"));
  }
  return subnet;
}

// Each for one thing.
void checkReserved(capnp::List<schema::KeyValue>::Reader reserved, const Ipv4Subnet& subnet,
                   Ipv4 gateway) {
  std::set<Ipv4> seen = {gateway};
  for (auto pair : reserved) {
    refuseIf(pair.getKey().size() == 0 || pair.getValue().size() == 0, "--aux-address '",
             pair.getKey(), "=", pair.getValue(), "' must be NAME=ADDRESS");
    if (isIpv6(pair.getValue())) continue;
    auto address = addressIn("--aux-address", pair.getValue(), subnet);
    refuseIf(address == gateway, "--aux-address '", pair.getKey(), "=", pair.getValue(),
             "' is the gateway's address");
    refuseIf(!seen.insert(address).second, "--aux-address '", pair.getValue(), "' is given twice");
  }
}
}  // namespace

Answer createNetwork(View& view, kj::StringPtr requestId, schema::Network::Reader spec) {
  auto before = earlier(view, requestId, "createNetwork");
  if (!before.empty()) return {before, {}};
  requireCluster(view);
  checkNew(view, spec);
  if (!spec.getIpv6()) refuseIpv6(spec);
  auto subnet = chosenSubnet(view, spec);
  auto gateway = spec.getGateway().size() > 0 ? addressIn("--gateway", spec.getGateway(), subnet)
                                              : subnet.network + 1;
  if (spec.getIpRange().size() > 0) {
    auto range = subnetOf("--ip-range", spec.getIpRange());
    refuseIf(range.prefix < subnet.prefix || !subnet.contains(range.network), "--ip-range '",
             spec.getIpRange(), "' must be in the subnet ", subnetText(subnet));
  }
  checkReserved(spec.getReserved(), subnet, gateway);
  capnp::MallocMessageBuilder trial;
  trial.setRoot(spec);
  auto tried = trial.getRoot<schema::Network>();
  tried.setSubnet(subnetText(subnet));
  tried.setGateway(ipv4Text(gateway));
  if (spec.getIpv6()) fillIpv6(view, spec, tried);
  refuseIf(capacityOf(tried) == 0, "--ip-range '", spec.getIpRange(),
           "' leaves no address for tasks: the gateway and --aux-address have all of it");
  auto vni = chooseVni(view);
  Answer answer;
  answer.id = view.create<schema::Network>(Kind::NETWORK, [&](schema::Network::Builder network) {
    network.setName(spec.getName());
    network.setDriver("overlay");
    network.setScope("swarm");
    network.setSubnet(subnetText(subnet));
    network.setGateway(ipv4Text(gateway));
    network.setLabels(spec.getLabels());
    network.setOptions(spec.getOptions());
    network.setIpRange(spec.getIpRange());
    network.setReserved(spec.getReserved());
    network.setInternal(spec.getInternal());
    network.setAttachable(spec.getAttachable());
    network.setIpv6(tried.getIpv6());
    network.setSubnet6(tried.getSubnet6());
    network.setGateway6(tried.getGateway6());
    network.setIpRange6(tried.getIpRange6());
    network.setVni(vni);
  });
  remember(view, requestId, "createNetwork", answer.id);
  return answer;
}

void setAddressPools(View& view, capnp::List<capnp::Text>::Reader pools, uint8_t prefix) {
  constexpr kj::StringPtr POOL = "--default-addr-pool"_kj;
  constexpr kj::StringPtr LENGTH = "--default-addr-pool-mask-length"_kj;
  if (pools.size() == 0 && prefix == 0) return;
  auto cluster = KJ_REQUIRE_NONNULL(view.cluster(), "there is no cluster");
  auto length = prefix == 0 ? cluster.getAddressPoolPrefix() : prefix;
  refuseIf(length < LEAST_PREFIX || length > MOST_PREFIX, LENGTH, " must be ", LEAST_PREFIX, " to ",
           MOST_PREFIX, ", not ", length);
  refuseIf(pools.size() > MAX_POOLS, POOL, " can be given ", MAX_POOLS, " times at most");
  std::vector<Ipv4Subnet> checked;
  for (auto given : pools.size() > 0 ? pools : cluster.getAddressPools()) {
    auto pool = subnetOf(POOL, given);
    refuseUnusable(POOL, pool);
    refuseIf(pool.prefix > length, POOL, " '", given, "' is smaller than one network of ", LENGTH,
             " ", length);
    for (auto& other : checked) {
      refuseIf(overlap(other, pool), POOL, " '", given, "' meets ", subnetText(other),
               ": give each address once");
    }
    checked.push_back(pool);
  }
  auto id = text(cluster.getMeta().getId());
  view.edit<schema::Cluster>(Kind::CLUSTER, id, [&](schema::Cluster::Builder changed) {
    if (pools.size() > 0) changed.setAddressPools(pools);
    changed.setAddressPoolPrefix(length);
  });
}

namespace {
// Names of services, in a text for users; empty if there are none.
std::string servicesOn(const View& view, schema::Network::Reader network) {
  std::string users;
  for (auto& name : view.servicesOn(manager::view(network.getName()))) {
    users += (users.empty() ? "'" : ", '") + name + "'";
  }
  return users;
}
}  // namespace

Answer removeNetwork(View& view, kj::StringPtr requestId, kj::StringPtr typed) {
  auto before = earlier(view, requestId, "removeNetwork");
  if (!before.empty()) return {before, {}};
  Answer answer;
  answer.id = resolveNetwork(view, typed);
  auto network = KJ_ASSERT_NONNULL(view.network(answer.id));
  auto users = servicesOn(view, network);
  if (!users.empty()) {
    fail(kj::str("network '", network.getName(), "' is in use by ", users.c_str(),
                 "; remove these services, or take it from them with 'orch service update "
                 "--network-rm ",
                 network.getName(), " SERVICE'"));
  }
  if (view.addresses(answer.id).held() > 0) {
    fail(kj::str("network '", network.getName(),
                 "' is in use by tasks that have not stopped yet; try again in a moment"));
  }
  view.erase(Key{Kind::NETWORK, answer.id});
  remember(view, requestId, "removeNetwork", answer.id);
  return answer;
}

std::vector<std::string> pruneNetworks(View& view, kj::StringPtr requestId,
                                       capnp::List<capnp::Text>::Reader ids) {
  // Names have no spaces in them; each has one before it.
  auto names = earlier(view, requestId, "pruneNetworks");
  if (names.empty()) {
    for (auto id : ids) {
      KJ_IF_MAYBE (network, view.network(manager::view(id))) {
        bool used = !servicesOn(view, *network).empty() || view.addresses(text(id)).held() > 0;
        if (used) continue;
        names += " " + text(network->getName());
        view.erase(Key{Kind::NETWORK, text(id)});
      }
    }
    if (!names.empty()) remember(view, requestId, "pruneNetworks", names);
  }
  std::vector<std::string> removed;
  for (size_t at = 0; at < names.size();) {
    auto end = std::min(names.find(' ', at + 1), names.size());
    removed.push_back(names.substr(at + 1, end - at - 1));
    at = end;
  }
  return removed;
}

}  // namespace orch::control::manager
