#include "schedule/encryption.h"

namespace orch::control::manager {

bool isEncrypted(schema::Network::Reader network) {
  for (auto option : network.getOptions()) {
    if (option.getKey() == ENCRYPTED) return true;
  }
  return false;
}

std::string whyNoEncryption(schema::Node::Reader node) {
  auto problem = node.getDescription().getEncryptionProblem();
  return problem.size() > 0 ? problem.cStr() : "it has no key";
}

}  // namespace orch::control::manager
