// The tunnel of a host to the others of encrypted networks: one WireGuard device for all of them,
// in the host's namespace, where the VXLAN devices send and receive. Blocking: for worker threads.
#pragma once

#include <string>

#include "encryption/wireguard.h"
#include "lib/findings.h"

namespace orch::network::overlay {

// IPv4's 20, UDP's 8 and WireGuard's 32 bytes, of the 1500 that nearly all hosts have.
constexpr uint32_t LEAST_TUNNEL_MTU = 1440;
// Of IPv6, UDP, VXLAN and Ethernet, which a network's packet has in the tunnel.
constexpr uint32_t BYTES_IN_TUNNEL = 70;

struct TunnelFacts {
  std::string device;
  WireguardFacts wireguard;
  uint16_t dataPort = 0;  // of the packets in it
  uint32_t mtu = LEAST_TUNNEL_MTU;
  bool operator==(const TunnelFacts&) const = default;

  HostAddress address() const { return tunnelAddressOf(publicKeyOf(wireguard.privateKey)); }
};

// Whose device it is.
enum class TunnelBy : uint8_t { NOBODY, KERNEL, USER };
TunnelBy tunnelThere(const std::string& device);
// Of whoever it is; fails if it is nobody's.
kj::Own<Wireguard> wireguardOf(const std::string& device);
// In the kernel, with nothing set.
void makeKernelTunnel(const std::string& device);

// Of one that is there: as these say, whatever it was before. What lets nothing pass beside it
// comes first.
void setTunnel(const TunnelFacts& facts);
// Gone is success. wireguard-go ends with its device.
void removeTunnel(const std::string& device);
// Reads only.
void checkTunnel(const TunnelFacts& facts, Findings& findings);

}  // namespace orch::network::overlay
