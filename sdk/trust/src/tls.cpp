#include "orch/trust/tls.h"

#include <kj/debug.h>
#include <openssl/ssl.h>

namespace orch::trust {

namespace {

// kj-tls 0.9.2 tells the common name alone and keeps the certificate to itself. An explicit
// instantiation may name a private member.
template <void* kj::TlsPeerIdentity::*member>
struct CertificateOf {
  friend void* certificateOf(kj::TlsPeerIdentity& identity) { return identity.*member; }
};
void* certificateOf(kj::TlsPeerIdentity& identity);
template struct CertificateOf<&kj::TlsPeerIdentity::cert>;

// Nor does it hand out the context.
template <void* kj::TlsContext::*member>
struct ContextOf {
  friend void* contextOf(kj::TlsContext& tls) { return tls.*member; }
};
void* contextOf(kj::TlsContext& tls);
template struct ContextOf<&kj::TlsContext::ctx>;

kj::Own<kj::TlsContext> newTls(kj::TlsContext::Options& options) {
  auto tls = kj::heap<kj::TlsContext>(options);
  // OpenSSL keeps 33 KiB of buffers for records with each connection otherwise. A manager's are
  // silent nearly all of the time.
  SSL_CTX_set_mode(static_cast<SSL_CTX*>(contextOf(*tls)), SSL_MODE_RELEASE_BUFFERS);
  return tls;
}

}  // namespace

kj::Own<kj::TlsContext> newTls(Env& env, const std::string& authority,
                               const std::string& certificate, const std::string& key,
                               bool asksClients) {
  kj::Vector<kj::TlsCertificate> trusted;
  for (auto& one : certificatesIn(authority)) trusted.add(kj::StringPtr(one.c_str()));
  if (trusted.empty()) trusted.add(kj::StringPtr(authority.c_str()));  // says what is wrong with it
  kj::TlsContext::Options options;
  options.useSystemTrustStore = false;
  options.verifyClients = asksClients;
  options.trustedCertificates = trusted;
  options.minVersion =
      kj::TlsVersion::TLS_1_2;  // kj-tls has no word for 1.3, which is what is used
  options.timer = env.timer();
  options.acceptTimeout = HANDSHAKE_LIMIT;
  if (certificate.empty()) return newTls(options);
  kj::TlsKeypair own{kj::TlsPrivateKey(kj::StringPtr(key.c_str())),
                     kj::TlsCertificate(kj::StringPtr(certificate.c_str()))};
  options.defaultKeypair = own;
  return newTls(options);
}

namespace {
void* shownBy(kj::PeerIdentity& identity) {
  auto* certificate = certificateOf(kj::downcast<kj::TlsPeerIdentity>(identity));
  KJ_REQUIRE(certificate != nullptr, "the other end has shown no certificate");
  return certificate;
}
}  // namespace

Holder holderOf(kj::PeerIdentity& identity) { return holderOf(shownBy(identity)); }

std::string signerOf(kj::PeerIdentity& identity, const std::string& authorities) {
  return signerOf(shownBy(identity), authorities);
}

}  // namespace orch::trust
