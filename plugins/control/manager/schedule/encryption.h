// Encrypted networks (`--opt encrypted`): which nodes can be on them. Pure.
#pragma once

#include <string>

#include "orch/schema/objects.capnp.h"

namespace orch::control::manager {

inline constexpr kj::StringPtr ENCRYPTED = "encrypted"_kj;

bool isEncrypted(schema::Network::Reader network);
// Whether the node has a key that the others can be told.
inline bool canEncrypt(schema::Node::Reader node) {
  return node.getDescription().getEncryptionKey().size() > 0;
}
// In its own words, if it has said any.
std::string whyNoEncryption(schema::Node::Reader node);

}  // namespace orch::control::manager
