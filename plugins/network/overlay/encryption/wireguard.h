// A WireGuard device and who is told of its peers: the kernel, or wireguard-go. Blocking: for
// worker threads in the host's network namespace.
#pragma once

#include <kj/common.h>
#include <kj/memory.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "encryption/keys.h"
#include "lib/ipv4.h"

namespace orch::network::overlay {

struct WireguardPeer {
  Ipv4 host = 0;       // where its packets go, by UDP
  uint16_t port = 0;   // the same
  HostAddress inside;  // the one address that it has in the tunnel
  bool operator==(const WireguardPeer&) const = default;
};
// By public key.
using WireguardPeers = std::map<Key, WireguardPeer>;

struct WireguardFacts {
  Key privateKey = {};
  uint16_t port = 0;
  WireguardPeers peers;
  bool operator==(const WireguardFacts&) const = default;
};

struct WireguardChange {
  std::optional<Key> privateKey;
  std::optional<uint16_t> port;
  WireguardPeers peers;  // new, or others than they were
  std::vector<Key> gone;
  bool empty() const { return !privateKey && !port && peers.empty() && gone.empty(); }
};
WireguardChange changeTo(const WireguardFacts& wanted, const WireguardFacts& there);

class Wireguard {
 public:
  virtual ~Wireguard() noexcept(false) {}
  virtual WireguardFacts read() = 0;
  virtual void apply(const WireguardChange& change) = 0;
};

// Each fails if there is no such device.
kj::Own<Wireguard> kernelWireguard(const std::string& device);
kj::Own<Wireguard> userWireguard(const std::string& device);

// Where wireguard-go of the device answers: in a folder that all of a machine's share.
std::string socketOf(const std::string& device);

// Whether the running kernel has WireGuard; a module is loaded if there is one.
bool kernelHasWireguard();

}  // namespace orch::network::overlay
