// From a token to a certificate.
#pragma once

#include <string>
#include <vector>

#include "orch/trust/node-credentials.h"
#include "orch/trust/peer-link.h"

namespace orch::trust {

// Of this host. Empty: the address that the manager is reached from; what others are told.
struct Addresses {
  std::string advertise;
  std::string listen;
};
// From a token to a certificate, at the first manager of `managers` that gives one. Changes
// nothing.
Task<Credentials> joinCluster(Env& env, kj::String token, std::vector<std::string> managers,
                              Addresses own);

}  // namespace orch::trust
