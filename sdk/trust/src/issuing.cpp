#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "orch/trust/openssl.h"

namespace orch::trust::openssl {

namespace {
constexpr int64_t ISSUED_NS_PER_S = 1'000'000'000;
constexpr int X509_VERSION = 2;  // which is 3
}  // namespace

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

Certificate blankCertificate(EVP_PKEY* key, int64_t fromNs, int64_t untilNs) {
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
  need(ASN1_TIME_set(X509_getm_notBefore(certificate.get()), fromNs / ISSUED_NS_PER_S) != nullptr &&
           ASN1_TIME_set(X509_getm_notAfter(certificate.get()), untilNs / ISSUED_NS_PER_S) !=
               nullptr,
       "ASN1_TIME_set");
  need(X509_set_pubkey(certificate.get(), key) == 1, "X509_set_pubkey");
  return certificate;
}

}  // namespace orch::trust::openssl
