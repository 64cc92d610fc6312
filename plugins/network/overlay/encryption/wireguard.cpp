#include "encryption/wireguard.h"

namespace orch::network::overlay {

WireguardChange changeTo(const WireguardFacts& wanted, const WireguardFacts& there) {
  WireguardChange change;
  if (wanted.privateKey != there.privateKey) change.privateKey = wanted.privateKey;
  if (wanted.port != there.port) change.port = wanted.port;
  for (auto& [key, peer] : wanted.peers) {
    auto known = there.peers.find(key);
    if (known == there.peers.end() || !(known->second == peer)) change.peers[key] = peer;
  }
  for (auto& [key, peer] : there.peers) {
    if (wanted.peers.count(key) == 0) change.gone.push_back(key);
  }
  return change;
}

}  // namespace orch::network::overlay
