// Keys and certificates of whoever belongs to a cluster, all as PEM. Whoever signs is elsewhere: a
// manager.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "orch/schema/trust.capnp.h"

namespace orch::trust {

// A key that never leaves this host, and the request to have it signed.
struct KeyRequest {
  std::string key;      // EC P-256, PKCS#8
  std::string request;  // PKCS#10, without a name: the signer gives it
};
KeyRequest newKeyRequest();
// The request for another certificate of a key.
std::string requestFor(const std::string& key);

// SHA-256 of the certificate as DER, in hexadecimal. Fails if it is none.
std::string digestOf(const std::string& certificate);

// What a certificate says of its holder.
struct Holder {
  schema::Role role = schema::Role::WORKER;
  std::string id;
  std::string fingerprint;  // the certificate's digest
  int64_t notBeforeNs = 0;
  int64_t notAfterNs = 0;
};
Holder holderOf(const std::string& certificate);
// The same of an X509 of OpenSSL. Fails if its OU is none of orch's.
Holder holderOf(void* x509);

// Fails unless the certificate is `authority`'s and for the key. Times do not count.
void checkSigned(const std::string& certificate, const std::string& authority,
                 const std::string& key);
// Fails, with what to do, if a certificate is not valid yet or any more. `whose`: as in "the
// authority of the cluster".
void checkTimes(const std::string& certificate, kj::StringPtr whose, int64_t nowNs,
                kj::StringPtr remedy = "is the clock right?");

// Certificates are valid from so long before they are signed, for clocks that differ.
inline constexpr int64_t BACKDATED_NS = 3'600'000'000'000;
// When one is renewed that is valid in this time: at 50 to 80 % of its life; `chance` is in [0, 1).
int64_t renewalNs(int64_t notBeforeNs, int64_t notAfterNs, double chance);

// Those that a PEM holds one after the other.
std::vector<std::string> certificatesIn(const std::string& pem);

// `ORCHTKN-1-<digest of the authority>-<secret>`. Fails with what is accepted.
struct Token {
  std::string digest;
  std::string secret;
};
Token parseToken(const std::string& text);

}  // namespace orch::trust
