// The cluster's certificate authority (EC P-256, OpenSSL): signs who is a member. Its key lies in
// one file on the manager's disk, and nowhere else.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "orch/schema/trust.capnp.h"

namespace orch::control::manager {

class Authority final {
 public:
  // A new one, of `name`. Valid for ten years.
  static Authority make(const std::string& name, int64_t nowNs);
  // From `encode`. Fails if it is none.
  static Authority decode(const std::string& pem);
  // The certificate and the key, both PEM, for a file that nobody else reads.
  std::string encode() const;

  // PEM.
  const std::string& certificate() const { return pem; }
  // SHA-256 of the certificate as DER, in hexadecimal: the name of the cluster to its nodes.
  const std::string& digest() const { return hash; }
  // A certificate for the public key of `request` (PKCS#10, PEM); nothing else of it counts, but it
  // must be signed by its own key. Valid for `lifetimeNs` from now.
  std::string sign(const std::string& request, schema::Role role, const std::string& id,
                   int64_t nowNs, int64_t lifetimeNs) const;

 private:
  struct Parts;
  explicit Authority(std::shared_ptr<Parts> parts);
  std::shared_ptr<const Parts> parts;  // immutable, and shared by copies
  std::string pem;
  std::string hash;
};

}  // namespace orch::control::manager
