#include "parse.h"

#include <charconv>

#include "encryption/tunnel.h"
#include "lib/names.h"
#include "lib/rtnetlink.h"
#include "orch/fail.h"

namespace orch::network::overlay {

namespace {

constexpr kj::StringPtr MTU_OPTION = "com.docker.network.driver.mtu"_kj;
// 1500, what nearly all hosts have, without the 50 bytes of IPv4, UDP, VXLAN and Ethernet.
constexpr uint32_t USUAL_MTU = 1450;
constexpr kj::StringPtr ENCRYPTED_OPTION = "encrypted"_kj;
// In the tunnel that 1500 leave.
constexpr uint32_t USUAL_ENCRYPTED_MTU = LEAST_TUNNEL_MTU - BYTES_IN_TUNNEL;
constexpr uint32_t MOST_ENCRYPTED_MTU = 65405;  // 60 bytes less for WireGuard, 20 for IPv6
constexpr uint32_t LEAST_MTU = 576;             // RFC 791: what every host takes
constexpr uint32_t LEAST_MTU6 = 1280;           // RFC 8200: the same
constexpr uint32_t MOST_MTU = 65485;
constexpr uint32_t MOST_VNI = (1u << 24) - 1;  // RFC 7348: 24 bits

bool isEncrypted(schema::Network::Reader network) {
  for (auto option : network.getOptions()) {
    if (option.getKey() == ENCRYPTED_OPTION) return true;
  }
  return false;
}

uint32_t mtuOf(schema::Network::Reader network, bool encrypted) {
  auto least = network.getSubnet6().size() > 0 ? LEAST_MTU6 : LEAST_MTU;
  uint32_t most = encrypted ? MOST_ENCRYPTED_MTU : MOST_MTU;
  for (auto option : network.getOptions()) {
    if (option.getKey() != MTU_OPTION) continue;
    auto text = option.getValue();
    uint32_t mtu = 0;
    auto [end, error] = std::from_chars(text.begin(), text.end(), mtu);
    if (error == std::errc() && end == text.end() && mtu >= least && mtu <= most) {
      return mtu;
    }
    fail(kj::str("the network '", network.getName(), "' cannot have ", MTU_OPTION, " '", text,
                 "': it must be ", least, " to ", most));
  }
  return encrypted ? USUAL_ENCRYPTED_MTU : USUAL_MTU;
}

// Of tasks and of services.
Ipv4 addressIn(kj::StringPtr network, kj::StringPtr what, kj::StringPtr text) {
  auto address = parseIpv4(text);
  if (address && *address != 0) return *address;
  fail(kj::str("'", text, "' cannot be the address of ", what, " on the network '", network,
               "': it must be an IPv4 address"));
}

std::optional<Ipv6Facts> ipv6FactsOf(schema::Network::Reader network) {
  if (network.getSubnet6().size() == 0) return std::nullopt;
  auto subnet = parseSubnet6(network.getSubnet6());
  auto gateway = parseIpv6(network.getGateway6());
  auto twins = twinsOf(network);
  if (subnet && gateway && twins && subnet->contains(*gateway)) {
    return Ipv6Facts{*twins, *gateway, subnet->prefix};
  }
  fail(kj::str("the network '", network.getName(), "' cannot have the subnet '",
               network.getSubnet6(), "' with the gateway '", network.getGateway6(),
               "': they must be as in fd00:1::/64 and fd00:1::1, with as many addresses as ",
               network.getSubnet()));
}

}  // namespace

std::optional<NetworkFacts> factsOf(schema::Network::Reader network) {
  if (network.getVni() == 0) return std::nullopt;
  NetworkFacts facts;
  auto subnet = parseSubnet(network.getSubnet());
  auto gateway = parseIpv4(network.getGateway());
  if (!subnet || !gateway || !subnet->contains(*gateway)) {
    fail(kj::str("the network '", network.getName(), "' cannot have the subnet '",
                 network.getSubnet(), "' with the gateway '", network.getGateway(),
                 "': they must be as in 10.0.1.0/24 and 10.0.1.1"));
  }
  if (network.getVni() > MOST_VNI) {
    fail(kj::str("the network '", network.getName(), "' cannot have the VNI ", network.getVni(),
                 ": it must be 1 to ", MOST_VNI));
  }
  facts.subnet = *subnet;
  facts.gateway = *gateway;
  facts.vni = network.getVni();
  facts.encrypted = isEncrypted(network);
  facts.mtu = mtuOf(network, facts.encrypted);
  facts.ipv6 = ipv6FactsOf(network);
  return facts;
}

Ipv4 hostOf(kj::StringPtr nodeAddress) {
  if (nodeAddress.size() == 0) return 0;
  auto text = kj::str(nodeAddress);
  KJ_IF_MAYBE (colon, nodeAddress.findFirst(':')) text = kj::str(nodeAddress.slice(0, *colon));
  auto address = parseIpv4(text);
  if (address) return *address;
  fail(kj::str("'", nodeAddress, "' cannot be the address of a node: it must be an IPv4 address"));
}

Peer peerOf(schema::NetworkPeer::Reader told, const std::string& ownNode) {
  Peer peer;
  peer.serviceId = told.getServiceId().cStr();
  peer.address = addressIn(told.getNetwork(), "a task", told.getAddress());
  peer.serving = told.getServing();
  if (told.getNodeId() == ownNode.c_str()) return peer;
  peer.host = hostOf(told.getNodeAddress());
  peer.key = parseKey(told.getNodeKey());
  return peer;
}

VirtualService serviceOf(schema::NetworkService::Reader told) {
  VirtualService service;
  if (told.getAddress().size() == 0) return service;
  service.address = addressIn(told.getNetwork(), "a service", told.getAddress());
  service.choice.persistenceMs = told.getPersistenceMs();
  switch (told.getAlgorithm()) {
    case schema::EndpointSpec::Algorithm::LC:
      service.choice.algorithm = Algorithm::LC;
      break;
    case schema::EndpointSpec::Algorithm::SH:
      service.choice.algorithm = Algorithm::SH;
      break;
    case schema::EndpointSpec::Algorithm::RR:
    default:  // of a newer version
      service.choice.algorithm = Algorithm::RR;
  }
  return service;
}

Leg legOf(schema::LegRequest::Reader request) {
  Leg leg;
  leg.network = request.getNetwork().cStr();
  leg.taskId = request.getTaskId().cStr();
  leg.namespacePath = request.getNamespacePath().cStr();
  leg.device = request.getDevice().cStr();
  if (request.getClosed()) leg.wayOut = request.getPublished() ? WayOut::ANSWERS : WayOut::NONE;
  for (auto* id : {&leg.network, &leg.taskId}) {
    if (isId(id->c_str())) continue;
    fail(kj::str("'", id->c_str(),
                 "' cannot be the id of a task or a network: it must be 1 to 64 characters of a-z, "
                 "A-Z, 0-9, '_', '-' and '.'"));
  }
  if (leg.device.empty() || leg.device.size() > MAX_LINK_NAME) {
    fail(kj::str("'", leg.device.c_str(),
                 "' cannot be the name of a network device: it must be 1 to 15 characters"));
  }
  auto text = request.getAddress();
  KJ_IF_MAYBE (slash, text.findFirst('/')) {
    auto rest = text.slice(*slash + 1);
    auto [end, error] = std::from_chars(rest.begin(), rest.end(), leg.prefix);
    leg.address = parseIpv4(kj::str(text.slice(0, *slash))).value_or(0);
    bool whole = error == std::errc() && end == rest.end() && leg.prefix >= 1 && leg.prefix <= 32;
    if (whole && leg.address != 0) return leg;
  }
  fail(kj::str("'", text, "' cannot be the address of a task: it must be as in 10.0.1.5/24"));
}

}  // namespace orch::network::overlay
