#include "member/authority.h"

#include <kj/debug.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "orch/fail.h"
#include "orch/trust/certificate.h"
#include "orch/trust/openssl.h"

namespace orch::control::manager {

namespace {

constexpr int64_t NS_PER_S = 1'000'000'000;
constexpr int64_t AUTHORITY_NS = 10 * 365 * 24 * 3'600 * NS_PER_S;
constexpr int X509_VERSION = 2;  // which is 3
constexpr size_t MAX_REQUEST = 8 << 10;

using namespace trust::openssl;

void addName(X509_NAME* name, const char* field, const std::string& value) {
  need(X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8,
                                  reinterpret_cast<const unsigned char*>(value.data()),
                                  static_cast<int>(value.size()), -1, 0) == 1,
       "X509_NAME_add_entry_by_txt");
}

void addExtension(X509* certificate, X509* issuer, int kind, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  auto* extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value);
  need(extension != nullptr, value);
  bool added = X509_add_ext(certificate, extension, -1) == 1;
  X509_EXTENSION_free(extension);
  need(added, value);
}

Certificate blank(EVP_PKEY* key, int64_t fromNs, int64_t untilNs) {
  Certificate certificate(X509_new());
  need(certificate != nullptr, "X509_new");
  need(X509_set_version(certificate.get(), X509_VERSION) == 1, "X509_set_version");
  unsigned char serial[16];
  need(RAND_bytes(serial, sizeof(serial)) == 1, "RAND_bytes");
  serial[0] &= 0x7f;  // a positive number
  auto* number = BN_bin2bn(serial, sizeof(serial), nullptr);
  need(number != nullptr, "BN_bin2bn");
  bool set = BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate.get())) != nullptr;
  BN_free(number);
  need(set, "BN_to_ASN1_INTEGER");
  need(ASN1_TIME_set(X509_getm_notBefore(certificate.get()), fromNs / NS_PER_S) != nullptr &&
           ASN1_TIME_set(X509_getm_notAfter(certificate.get()), untilNs / NS_PER_S) != nullptr,
       "ASN1_TIME_set");
  need(X509_set_pubkey(certificate.get(), key) == 1, "X509_set_pubkey");
  return certificate;
}

const char* unitOf(schema::Role role) {
  switch (role) {
    case schema::Role::WORKER:
      return "orch-worker";
    case schema::Role::MANAGER:
      return "orch-manager";
    case schema::Role::ADMIN:
      return "orch-admin";
    default:
      KJ_FAIL_REQUIRE("there are no certificates of this role", static_cast<uint16_t>(role));
  }
}
const char* namesOf(schema::Role role) {
  switch (role) {
    case schema::Role::MANAGER:
      return "DNS:manager.orch,DNS:worker.orch";
    case schema::Role::WORKER:
      return "DNS:worker.orch";
    default:
      return "DNS:admin.orch";
  }
}

}  // namespace

struct Authority::Parts {
  PrivateKey key;
  Certificate certificate;
};

Authority::Authority(std::shared_ptr<Parts> given) : parts(given) {
  pem = pemOf(parts->certificate.get());
  hash = trust::openssl::digestOf(parts->certificate.get());
}

Authority Authority::make(const std::string& name, int64_t nowNs) {
  auto parts = std::make_shared<Parts>();
  parts->key = newKey();
  parts->certificate = blank(parts->key.get(), nowNs - trust::BACKDATED_NS, nowNs + AUTHORITY_NS);
  auto* certificate = parts->certificate.get();
  auto* subject = X509_get_subject_name(certificate);
  addName(subject, "O", "orch");
  addName(subject, "CN", name);
  need(X509_set_issuer_name(certificate, subject) == 1, "X509_set_issuer_name");
  addExtension(certificate, certificate, NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
  addExtension(certificate, certificate, NID_key_usage, "critical,keyCertSign,cRLSign");
  addExtension(certificate, certificate, NID_subject_key_identifier, "hash");
  need(X509_sign(certificate, parts->key.get(), EVP_sha256()) > 0, "X509_sign");
  return Authority(kj::mv(parts));
}

Authority Authority::decode(const std::string& text) {
  auto parts = std::make_shared<Parts>();
  auto buffer = bufferOf(text);
  parts->certificate.reset(PEM_read_bio_X509(buffer.get(), nullptr, nullptr, nullptr));
  need(parts->certificate != nullptr, "PEM_read_bio_X509");
  parts->key.reset(PEM_read_bio_PrivateKey(buffer.get(), nullptr, nullptr, nullptr));
  need(parts->key != nullptr, "PEM_read_bio_PrivateKey");
  return Authority(kj::mv(parts));
}

std::string Authority::encode() const { return pem + pemOf(parts->key.get()); }

std::string Authority::sign(const std::string& request, schema::Role role, const std::string& id,
                            int64_t nowNs, int64_t lifetimeNs) const {
  if (request.size() > MAX_REQUEST) fail(kj::str("usage: the certificate request is too long"));
  SigningRequest asked(PEM_read_bio_X509_REQ(bufferOf(request).get(), nullptr, nullptr, nullptr));
  auto* key = asked == nullptr ? nullptr : X509_REQ_get0_pubkey(asked.get());
  bool own = key != nullptr && X509_REQ_verify(asked.get(), key) == 1;
  ERR_clear_error();
  if (!own) fail(kj::str("usage: this is no certificate request that its own key has signed"));
  auto certificate = blank(key, nowNs - trust::BACKDATED_NS, nowNs + lifetimeNs);
  auto* issuer = parts->certificate.get();
  need(X509_set_issuer_name(certificate.get(), X509_get_subject_name(issuer)) == 1,
       "X509_set_issuer_name");
  auto* subject = X509_get_subject_name(certificate.get());
  addName(subject, "O", "orch");
  addName(subject, "OU", unitOf(role));
  addName(subject, "CN", id);
  addExtension(certificate.get(), issuer, NID_basic_constraints, "critical,CA:FALSE");
  addExtension(certificate.get(), issuer, NID_key_usage, "critical,digitalSignature");
  addExtension(certificate.get(), issuer, NID_ext_key_usage, "serverAuth,clientAuth");
  addExtension(certificate.get(), issuer, NID_subject_alt_name, namesOf(role));
  addExtension(certificate.get(), issuer, NID_authority_key_identifier, "keyid");
  need(X509_sign(certificate.get(), parts->key.get(), EVP_sha256()) > 0, "X509_sign");
  return pemOf(certificate.get());
}

}  // namespace orch::control::manager
