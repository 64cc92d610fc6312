// An authority that the user brings (`orch ca --rotate --ca-cert --ca-key`): whether nodes would
// take its certificates, and all OpenSSL and TLS ask of it, before anything is changed.
#pragma once

#include <cstdint>
#include <string>

#include "orch/trust/openssl.h"

namespace orch::control::manager {

// Fails with what is wrong with it: it has to be a root, of a key of EC P-256, EC P-384 or RSA of
// at least 2048 bits, that does not end before two certificates of that lifetime would.
void checkGiven(X509* certificate, EVP_PKEY* key, int64_t nowNs, int64_t lifetimeNs);

// Fails unless whoever trusts `root` takes the manager's certificate, which comes with `crossed`
// (PEM, or empty), as TLS would. `nowNs` is 0: whatever the time.
void checkTaken(const std::string& certificate, const std::string& crossed, const std::string& root,
                int64_t nowNs);

}  // namespace orch::control::manager
