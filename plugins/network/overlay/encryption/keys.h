// WireGuard's keys, and the address that a host has in the tunnel, which is made of its key: nobody
// has to give it one, and nobody else can have it.
#pragma once

#include <kj/string.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "lib/host-address.h"

namespace orch::network::overlay {

// Of Curve25519: private, or public.
using Key = std::array<uint8_t, 32>;

// As wg(8) and our managers write a public one: 44 characters of base64.
kj::String keyText(const Key& key);
std::optional<Key> parseKey(kj::StringPtr text);
// As wireguard-go's socket has them.
std::string hexOf(const Key& key);
std::optional<Key> keyOfHex(const std::string& text);

Key newPrivateKey();
Key publicKeyOf(const Key& privateKey);

// All hosts' addresses in tunnels begin so: a range of RFC 4193 with "orche" in it.
constexpr std::array<uint8_t, 6> TUNNEL_RANGE = {0xfd, 0x6f, 0x72, 0x63, 0x68, 0x65};
constexpr uint8_t TUNNEL_PREFIX = 8 * TUNNEL_RANGE.size();
// The rest is the beginning of the key's SHA-256.
HostAddress tunnelAddressOf(const Key& publicKey);

// The private key that is kept in the file, or a new one. It never leaves the host: only its owner
// may read the file. One that is damaged is replaced. Blocks.
Key keptKey(const std::string& path);

}  // namespace orch::network::overlay
