// What a node keeps of its cluster on its disk (NodeCredentials in trust.capnp).
#pragma once

#include <kj/array.h>

#include <string>
#include <vector>

#include "orch/trust/certificate.h"
#include "orch/trust/lock-box.h"

namespace orch::trust {

// What joining has brought.
struct Credentials {
  std::string key;
  std::string certificate;
  Trusted trusted;
  std::vector<std::string> managers;
  std::string address;  // of this node
  bool own = false;     // the address was seen on this host
  // Of a manager: names the key of its lock, with which `key` and `dataKey` are encrypted on the
  // disk; empty: it has none.
  std::string lock;
  std::string dataKey;
  std::string sealed;  // both of them, as long as the lock's key is not known
};
// For the disk. `lockKey`: of the node's lock, if it has one and is not locked.
kj::Array<kj::byte> encode(const Credentials& credentials, const std::string& lockKey);
// Aligned to 8 bytes.
Credentials decode(kj::ArrayPtr<const kj::byte> bytes);
// Of a locked node. Fails, with nothing changed and what to do, if that is not the key of its lock.
void openSecrets(Credentials& credentials, const std::string& lockKey);

// Keys are bytes.
std::string textOf(kj::ArrayPtr<const kj::byte> bytes);
kj::ArrayPtr<const kj::byte> bytesOf(const std::string& text);

}  // namespace orch::trust
