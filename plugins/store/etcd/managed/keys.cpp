#include "managed/keys.h"

#include <openssl/x509v3.h>

#include "orch/trust/openssl.h"

namespace orch::store::etcd {

namespace {

using namespace trust::openssl;

constexpr int64_t DAY_NS = 24 * 3'600'000'000'000;
constexpr int64_t AUTHORITY_LIFE_NS = 10 * 365 * DAY_NS;
constexpr int64_t MEMBER_LIFE_NS = 365 * DAY_NS;
// A host's clock may be ahead until somebody sets it.
constexpr int64_t AHEAD_NS = 30 * DAY_NS;

PrivateKey readKey(const std::string& pem) {
  PrivateKey key(PEM_read_bio_PrivateKey(bufferOf(pem).get(), nullptr, nullptr, nullptr));
  need(key != nullptr, "PEM_read_bio_PrivateKey");
  return key;
}

void signBy(EVP_PKEY* key, X509* certificate) {
  need(X509_sign(certificate, key, EVP_sha256()) > 0, "X509_sign");
}

// Its members, and those on its host.
std::string namesFor(std::string host) {
  if (host.starts_with('[')) host = host.substr(1, host.size() - 2);
  return "IP:127.0.0.1,IP:" + host;
}

}  // namespace

std::string newMembersAuthority(int64_t nowNs) {
  auto key = newKey();
  auto made = blankCertificate(key.get(), nowNs - AHEAD_NS, nowNs + AUTHORITY_LIFE_NS);
  auto* certificate = made.get();
  auto* subject = X509_get_subject_name(certificate);
  addName(subject, "O", "orch");
  addName(subject, "CN", "etcd");
  need(X509_set_issuer_name(certificate, subject) == 1, "X509_set_issuer_name");
  addExtension(certificate, certificate, NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
  addExtension(certificate, certificate, NID_key_usage, "critical,keyCertSign,cRLSign");
  addExtension(certificate, certificate, NID_subject_key_identifier, "hash");
  signBy(key.get(), certificate);
  return pemOf(certificate) + pemOf(key.get());
}

MemberKeys memberKeys(const std::string& authority, const std::string& name,
                      const std::string& host, const std::string& key, int64_t nowNs) {
  auto text = bufferOf(authority);
  Certificate issuer(PEM_read_bio_X509(text.get(), nullptr, nullptr, nullptr));
  need(issuer != nullptr, "PEM_read_bio_X509");
  PrivateKey signer(PEM_read_bio_PrivateKey(text.get(), nullptr, nullptr, nullptr));
  need(signer != nullptr, "PEM_read_bio_PrivateKey");
  auto own = key.empty() ? newKey() : readKey(key);
  auto made = blankCertificate(own.get(), nowNs - AHEAD_NS, nowNs + MEMBER_LIFE_NS);
  auto* certificate = made.get();
  need(X509_set_issuer_name(certificate, X509_get_subject_name(issuer.get())) == 1,
       "X509_set_issuer_name");
  auto* subject = X509_get_subject_name(certificate);
  addName(subject, "O", "orch");
  addName(subject, "CN", name);
  addExtension(certificate, issuer.get(), NID_basic_constraints, "critical,CA:FALSE");
  addExtension(certificate, issuer.get(), NID_key_usage, "critical,digitalSignature");
  // etcd's gateway is a client of etcd's, with the same certificate.
  addExtension(certificate, issuer.get(), NID_ext_key_usage, "serverAuth,clientAuth");
  addExtension(certificate, issuer.get(), NID_subject_alt_name, namesFor(host).c_str());
  addExtension(certificate, issuer.get(), NID_authority_key_identifier, "keyid");
  signBy(signer.get(), certificate);
  return {pemOf(issuer.get()), pemOf(certificate), pemOf(own.get())};
}

}  // namespace orch::store::etcd
