// An authority whose key somebody else has: its server signs what managers ask it to, by cfssl's
// HTTP API. What it answers counts only if it is what was asked for, and whoever trusts the
// authority would take it.
#pragma once

#include <string>
#include <utility>

#include "orch/env.h"
#include "orch/schema/objects.capnp.h"
#include "orch/schema/trust.capnp.h"
#include "orch/semaphore.h"
#include "orch/task.h"

namespace orch::control::manager {

// Where it signs.
struct SigningPlace {
  SigningPlace(std::string url, std::string vouchedBy)
      : url(std::move(url)), vouchedBy(std::move(vouchedBy)) {}
  std::string url;
  std::string vouchedBy;  // PEM: of whom the server shows a certificate; empty: the system knows

  // Fails with what is accepted. Plain HTTP is for servers on this host.
  static SigningPlace of(schema::ExternalAuthority::Reader named);
  void fill(schema::ExternalAuthority::Builder to) const;
};

// What is asked, and what is answered, as JSON. Pure.
std::string signText(const std::string& request, schema::Role role, const std::string& id);
// For the certificate of another authority, by the server's profile `CA`.
std::string crossText(const std::string& request);
// The certificate that an answer has. Fails with what the server says.
std::string certificateIn(kj::StringPtr answer);
// Fails, with what to do, unless the certificate is `authority`'s for the key of `request`, and of
// that role and id.
void checkSignedAs(const std::string& certificate, const std::string& request,
                   const std::string& authority, schema::Role role, const std::string& id,
                   int64_t nowNs);

// On the loop. Each call fails when its answer takes longer than five seconds.
class ExternalSigner final {
 public:
  // `env` outlives it. `file`: who vouches for the server, for TLS.
  ExternalSigner(Env& env, std::string file);

  // A certificate for the public key of `request` (PKCS#10, PEM), as Authority.sign; how long it is
  // good is for the server to say.
  Task<std::string> sign(SigningPlace at, std::string authority, std::string request,
                         schema::Role role, std::string id);
  // `next`, with its request, signed by that authority.
  Task<std::string> cross(SigningPlace at, std::string request);
  // The authority's own certificate.
  Task<std::string> certificateOf(SigningPlace at);

 private:
  Task<std::string> ask(SigningPlace at, std::string path, std::string body);
  Task<std::string> send(SigningPlace at, std::string path, std::string body);
  Task<void> write(std::string authorities);

  Env& env;
  const std::string file;
  std::string written;  // into it
  Semaphore asking{16}, writing{1};
};

}  // namespace orch::control::manager
