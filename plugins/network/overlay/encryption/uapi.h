// The texts that wireguard-go understands (https://www.wireguard.com/xplatform/): `key=value`
// lines.
#pragma once

#include <string>

#include "encryption/wireguard.h"

namespace orch::network::overlay {

// All of it, with the empty line at its end.
std::string uapiSet(const WireguardChange& change);
// Of the answer to `get=1`; fails if it is cut short or an error.
WireguardFacts parseUapi(const std::string& answer);
// The number in `errno=N`, which each answer ends with; -1 if it is cut short.
int uapiError(const std::string& answer);

}  // namespace orch::network::overlay
