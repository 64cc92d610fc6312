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

// Whose certificates count in a cluster, as `Trusted` in trust.capnp.
struct Trusted {
  std::string authorities;
  std::string former;
  std::string crossed;
};
Trusted trustedOf(schema::Trusted::Reader from);
void fillTrusted(const Trusted& trusted, schema::Trusted::Builder to);
// SHA-256 of all of it.
std::string nameOf(const Trusted& trusted);

// What a certificate says of its holder. Of several, the first.
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

// Fails unless the certificate is `authority`'s and for the key. Of several in one text, the first
// counts. Times do not.
void checkSigned(const std::string& certificate, const std::string& authority,
                 const std::string& key);
// Fails, with what to do, if a certificate is not valid yet or any more. `whose`: as in "the
// authority of the cluster".
void checkTimes(const std::string& certificate, kj::StringPtr whose, int64_t nowNs,
                kj::StringPtr remedy = "is the clock right?");

// When a certificate ends, of whomever it is; not after 2262, whatever it says.
int64_t endNsOf(const std::string& certificate);
// `2027-01-31T12:00:00Z`.
std::string timeText(int64_t ns);

// Certificates are valid from so long before they are signed, for clocks that differ.
inline constexpr int64_t BACKDATED_NS = 3'600'000'000'000;
// When one is renewed that is valid in this time: at 50 to 80 % of its life; `chance` is in [0, 1).
int64_t renewalNs(int64_t notBeforeNs, int64_t notAfterNs, double chance);

// Those that a PEM holds one after the other.
std::vector<std::string> certificatesIn(const std::string& pem);
// The first of them. Fails if there is none.
std::string firstIn(const std::string& pem);
// The digest of the one among `authorities` whose key has signed an X509 of OpenSSL; empty if none
// has by itself.
std::string signerOf(void* x509, const std::string& authorities);

// `ORCHTKN-1-<digest of the authority>-<secret>`. Fails with what is accepted.
struct Token {
  std::string digest;
  std::string secret;
};
Token parseToken(const std::string& text);

}  // namespace orch::trust
