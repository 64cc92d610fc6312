// WireGuard in the kernel, by generic netlink: linux/wireguard.h has the protocol.
#include <arpa/inet.h>
#include <errno.h>
#include <kj/debug.h>
#include <libmnl/libmnl.h>
#include <linux/wireguard.h>
#include <string.h>

#include "encryption/wireguard.h"
#include "lib/generic-netlink.h"
#include "orch/fail.h"

namespace orch::network::overlay {

namespace {
// An attribute has 64 KiB at most, and a peer is about 120 bytes in one.
constexpr size_t PEERS_AT_ONCE = 256;
constexpr uint8_t WHOLE_IPV6 = 128;
constexpr uint16_t LIST_ENTRY = 0 | NLA_F_NESTED;

void putU16(NetlinkMessage& message, uint16_t type, uint16_t value) {
  message.put(type, &value, sizeof(value));
}

void putPeer(NetlinkMessage& message, const Key& key, const WireguardPeer& peer) {
  size_t entry = message.nest(LIST_ENTRY);
  message.put(WGPEER_A_PUBLIC_KEY, key.data(), key.size());
  message.putU32(WGPEER_A_FLAGS, WGPEER_F_REPLACE_ALLOWEDIPS);
  sockaddr_in endpoint = {};
  endpoint.sin_family = AF_INET;
  endpoint.sin_port = htons(peer.port);
  endpoint.sin_addr.s_addr = htonl(peer.host);
  message.put(WGPEER_A_ENDPOINT, &endpoint, sizeof(endpoint));
  size_t allowed = message.nest(WGPEER_A_ALLOWEDIPS | NLA_F_NESTED);
  size_t one = message.nest(LIST_ENTRY);
  putU16(message, WGALLOWEDIP_A_FAMILY, AF_INET6);
  message.put(WGALLOWEDIP_A_IPADDR, peer.inside.ipv6().data(), peer.inside.ipv6().size());
  message.putU8(WGALLOWEDIP_A_CIDR_MASK, WHOLE_IPV6);
  message.endNest(one);
  message.endNest(allowed);
  message.endNest(entry);
}

void putGone(NetlinkMessage& message, const Key& key) {
  size_t entry = message.nest(LIST_ENTRY);
  message.put(WGPEER_A_PUBLIC_KEY, key.data(), key.size());
  message.putU32(WGPEER_A_FLAGS, WGPEER_F_REMOVE_ME);
  message.endNest(entry);
}

HostAddress insideOf(const nlattr* allowedIps) {
  HostAddress inside;
  for (auto* entry : NetlinkAttributes(allowedIps)) {
    for (auto* part : NetlinkAttributes(entry)) {
      bool ipv6 = mnl_attr_get_payload_len(part) == sizeof(HostAddress::Bytes);
      if (mnl_attr_get_type(part) != WGALLOWEDIP_A_IPADDR || !ipv6) continue;
      inside = HostAddress(valueOf<HostAddress::Bytes>(part));
    }
  }
  return inside;
}

void readPeers(const nlattr* list, WireguardPeers& peers) {
  for (auto* entry : NetlinkAttributes(list)) {
    Key key = {};
    WireguardPeer peer;
    for (auto* part : NetlinkAttributes(entry)) {
      switch (mnl_attr_get_type(part)) {
        case WGPEER_A_PUBLIC_KEY:
          key = valueOf<Key>(part);
          break;
        case WGPEER_A_ENDPOINT: {
          auto endpoint = valueOf<sockaddr_in>(part);
          if (endpoint.sin_family != AF_INET) break;
          peer.host = ntohl(endpoint.sin_addr.s_addr);
          peer.port = ntohs(endpoint.sin_port);
          break;
        }
        case WGPEER_A_ALLOWEDIPS:
          peer.inside = insideOf(part);
          break;
        default:
          break;
      }
    }
    peers.emplace(key, peer);  // one that goes on in the next message has all of this in the first
  }
}

class KernelWireguard final : public Wireguard {
 public:
  explicit KernelWireguard(const std::string& device) : device(device), socket(NETLINK_GENERIC) {
    auto found = genericFamily(socket, WG_GENL_NAME);
    if (!found)
      fail(kj::str("this kernel has no WireGuard; `modprobe wireguard` loads its module"));
    family = *found;
  }

  WireguardFacts read() override {
    for (;;) {
      WireguardFacts facts;
      auto message = request(WG_CMD_GET_DEVICE, NLM_F_DUMP, "look at");
      bool whole = socket.dump(message, [&](const nlmsghdr* answer) {
        for (auto* part : genericAttributes(answer)) {
          auto type = mnl_attr_get_type(part);
          if (type == WGDEVICE_A_PRIVATE_KEY) facts.privateKey = valueOf<Key>(part);
          if (type == WGDEVICE_A_LISTEN_PORT) facts.port = valueOf<uint16_t>(part);
          if (type == WGDEVICE_A_PEERS) readPeers(part, facts.peers);
        }
      });
      if (whole) return facts;
    }
  }

  void apply(const WireguardChange& change) override {
    std::vector<NetlinkMessage> messages;
    auto first = request(WG_CMD_SET_DEVICE, 0, "set up");
    if (change.privateKey) {
      first.put(WGDEVICE_A_PRIVATE_KEY, change.privateKey->data(), change.privateKey->size());
    }
    if (change.port) putU16(first, WGDEVICE_A_LISTEN_PORT, *change.port);
    messages.push_back(kj::mv(first));
    inParts(change.gone, messages, putGone);
    inParts(change.peers, messages,
            [](NetlinkMessage& to, auto& entry) { putPeer(to, entry.first, entry.second); });
    socket.run(kj::arrayPtr(messages.data(), messages.size()));
  }

 private:
  NetlinkMessage request(uint8_t command, uint16_t flags, kj::StringPtr verb) const {
    auto message =
        newGeneric(family, WG_GENL_VERSION, command, flags,
                   kj::str("cannot ", verb, " the WireGuard device '", device.c_str(), "'"));
    message.putText(WGDEVICE_A_IFNAME, device.c_str());
    return message;
  }

  template <typename List, typename Put>
  void inParts(const List& list, std::vector<NetlinkMessage>& messages, Put&& put) const {
    for (auto at = list.begin(); at != list.end();) {
      auto message = request(WG_CMD_SET_DEVICE, 0, "set the peers of");
      size_t peers = message.nest(WGDEVICE_A_PEERS | NLA_F_NESTED);
      for (size_t i = 0; i < PEERS_AT_ONCE && at != list.end(); ++i, ++at) put(message, *at);
      message.endNest(peers);
      messages.push_back(kj::mv(message));
    }
  }

  std::string device;
  NetlinkSocket socket;
  uint16_t family = 0;
};
}  // namespace

kj::Own<Wireguard> kernelWireguard(const std::string& device) {
  return kj::heap<KernelWireguard>(device);
}

bool kernelHasWireguard() {
  NetlinkSocket socket(NETLINK_GENERIC);
  return genericFamily(socket, WG_GENL_NAME).has_value();
}

}  // namespace orch::network::overlay
