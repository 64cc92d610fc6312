// The cluster's certificate authority (EC P-256, OpenSSL): signs who is a member. Its key lies in
// one file on each manager's disk, and nowhere else in the clear. When another one takes its place,
// it signs that one's certificate: whoever trusts the old one trusts the new one, too.
#pragma once

#include <kj/array.h>

#include <cstdint>
#include <memory>
#include <string>

#include "orch/schema/trust.capnp.h"

namespace orch::control::manager {

// What a certificate says of a role: its OU, and its names as in x509v3_config(5).
const char* unitOf(schema::Role role);
const char* namesOf(schema::Role role);
// Fails unless that is a request (PKCS#10, PEM) that its own key has signed.
void checkRequest(const std::string& request);

class Authority final {
 public:
  // A new one, of `name`. Valid for ten years.
  static Authority make(const std::string& name, int64_t nowNs);
  // From `encode`. Fails if it is none.
  static Authority decode(const std::string& pem);
  // The certificate and the key, and that of the state where it is older, all PEM, for a file that
  // nobody else reads.
  std::string encode() const;

  // What takes its place: a new one of the same name, or the user's, of a certificate and a key in
  // PEM, which fails with what is wrong with them (given-authority.h). `lifetimeNs`: of what it is
  // to sign.
  Authority next(int64_t nowNs) const;
  Authority next(const std::string& certificate, const std::string& key, int64_t nowNs,
                 int64_t lifetimeNs) const;
  // A cluster's first one, or the next, of which others have the key: what is to be
  // signed by it they are asked for (external-signer.h), and `isExternal`.
  static Authority external(const std::string& certificate, int64_t nowNs, int64_t lifetimeNs);
  Authority nextExternal(const std::string& certificate, int64_t nowNs, int64_t lifetimeNs) const;
  bool isExternal() const;
  // The certificate of such a one, signed by this one, which is not external. PEM.
  std::string crossed(const Authority& next, int64_t nowNs) const;
  // Of one that is not: for another one to sign.
  std::string request() const;
  // `next` for the cluster's state: whoever has this one opens it.
  kj::Array<kj::byte> seal(const Authority& next) const;
  // Fails if this one has not sealed it.
  Authority open(kj::ArrayPtr<const kj::byte> sealed) const;
  // Of what is secret in the cluster's state: 32 bytes, which stay the same when it is replaced.
  kj::Array<kj::byte> stateKey() const;

  // The last part of a join token, 32 characters: nobody makes it of the salt alone, which is in
  // the cluster's state.
  std::string joinSecret(schema::Role role, kj::StringPtr salt) const;

  // PEM.
  const std::string& certificate() const { return pem; }
  // SHA-256 of the certificate as DER, in hexadecimal: the name of the cluster to its nodes.
  const std::string& digest() const { return hash; }
  // A certificate for the public key of `request` (PKCS#10, PEM); nothing else of it counts, but it
  // must be signed by its own key. Valid for `lifetimeNs` from now, or as long as this authority.
  std::string sign(const std::string& request, schema::Role role, const std::string& id,
                   int64_t nowNs, int64_t lifetimeNs) const;

 private:
  struct Parts;
  explicit Authority(std::shared_ptr<Parts> parts);
  static Authority make(void* name, kj::Array<kj::byte> stateKey, int64_t nowNs);
  static Authority external(const std::string& certificate, kj::Array<kj::byte> stateKey,
                            int64_t nowNs, int64_t lifetimeNs);
  std::shared_ptr<const Parts> parts;  // immutable, and shared by copies
  std::string pem;
  std::string hash;
};

}  // namespace orch::control::manager
