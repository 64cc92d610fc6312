#include "member/authority.h"

#include <kj/debug.h>
#include <kj/encoding.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "orch/fail.h"

namespace orch::control::manager {

namespace {

constexpr int64_t NS_PER_S = 1'000'000'000;
constexpr int64_t HOUR_NS = 3'600 * NS_PER_S;
constexpr int64_t AUTHORITY_NS = 10 * 365 * 24 * HOUR_NS;
constexpr int X509_VERSION = 2;  // which is 3
constexpr size_t MAX_REQUEST = 8 << 10;

template <auto release>
struct Freed {
  template <typename T>
  void operator()(T* object) const {
    release(object);
  }
};
using PrivateKey = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;
using X509Ptr = std::unique_ptr<X509, Freed<X509_free>>;
using RequestPtr = std::unique_ptr<X509_REQ, Freed<X509_REQ_free>>;
using Buffer = std::unique_ptr<BIO, Freed<BIO_free_all>>;

void must(bool done, const char* what) {
  if (done) return;
  char reason[256] = "unknown";
  if (auto code = ERR_get_error()) ERR_error_string_n(code, reason, sizeof(reason));
  ERR_clear_error();
  KJ_FAIL_ASSERT("OpenSSL failed", what, reason);
}

std::string textOf(const Buffer& buffer) {
  char* data = nullptr;
  auto size = BIO_get_mem_data(buffer.get(), &data);
  return std::string(data, size);
}
Buffer bufferOf(const std::string& text) {
  return Buffer(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::string pemOf(X509* certificate) {
  Buffer buffer(BIO_new(BIO_s_mem()));
  must(PEM_write_bio_X509(buffer.get(), certificate) == 1, "PEM_write_bio_X509");
  return textOf(buffer);
}

void addName(X509_NAME* name, const char* field, const std::string& value) {
  must(X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8,
                                  reinterpret_cast<const unsigned char*>(value.data()),
                                  static_cast<int>(value.size()), -1, 0) == 1,
       "X509_NAME_add_entry_by_txt");
}

void addExtension(X509* certificate, X509* issuer, int kind, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  auto* extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value);
  must(extension != nullptr, value);
  bool added = X509_add_ext(certificate, extension, -1) == 1;
  X509_EXTENSION_free(extension);
  must(added, value);
}

X509Ptr blank(EVP_PKEY* key, int64_t fromNs, int64_t untilNs) {
  X509Ptr certificate(X509_new());
  must(certificate != nullptr, "X509_new");
  must(X509_set_version(certificate.get(), X509_VERSION) == 1, "X509_set_version");
  unsigned char serial[16];
  must(RAND_bytes(serial, sizeof(serial)) == 1, "RAND_bytes");
  serial[0] &= 0x7f;  // a positive number
  auto* number = BN_bin2bn(serial, sizeof(serial), nullptr);
  must(number != nullptr, "BN_bin2bn");
  bool set = BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate.get())) != nullptr;
  BN_free(number);
  must(set, "BN_to_ASN1_INTEGER");
  must(ASN1_TIME_set(X509_getm_notBefore(certificate.get()), fromNs / NS_PER_S) != nullptr &&
           ASN1_TIME_set(X509_getm_notAfter(certificate.get()), untilNs / NS_PER_S) != nullptr,
       "ASN1_TIME_set");
  must(X509_set_pubkey(certificate.get(), key) == 1, "X509_set_pubkey");
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
  X509Ptr certificate;
};

Authority::Authority(std::shared_ptr<Parts> given) : parts(given) {
  pem = pemOf(parts->certificate.get());
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  must(X509_digest(parts->certificate.get(), EVP_sha256(), digest, &size) == 1, "X509_digest");
  hash = kj::encodeHex(kj::arrayPtr(digest, size)).cStr();
}

Authority Authority::make(const std::string& name, int64_t nowNs) {
  auto parts = std::make_shared<Parts>();
  parts->key.reset(EVP_EC_gen("P-256"));
  must(parts->key != nullptr, "EVP_EC_gen");
  parts->certificate = blank(parts->key.get(), nowNs - HOUR_NS, nowNs + AUTHORITY_NS);
  auto* certificate = parts->certificate.get();
  auto* subject = X509_get_subject_name(certificate);
  addName(subject, "O", "orch");
  addName(subject, "CN", name);
  must(X509_set_issuer_name(certificate, subject) == 1, "X509_set_issuer_name");
  addExtension(certificate, certificate, NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
  addExtension(certificate, certificate, NID_key_usage, "critical,keyCertSign,cRLSign");
  addExtension(certificate, certificate, NID_subject_key_identifier, "hash");
  must(X509_sign(certificate, parts->key.get(), EVP_sha256()) > 0, "X509_sign");
  return Authority(kj::mv(parts));
}

Authority Authority::decode(const std::string& text) {
  auto parts = std::make_shared<Parts>();
  auto buffer = bufferOf(text);
  parts->certificate.reset(PEM_read_bio_X509(buffer.get(), nullptr, nullptr, nullptr));
  must(parts->certificate != nullptr, "PEM_read_bio_X509");
  parts->key.reset(PEM_read_bio_PrivateKey(buffer.get(), nullptr, nullptr, nullptr));
  must(parts->key != nullptr, "PEM_read_bio_PrivateKey");
  return Authority(kj::mv(parts));
}

std::string Authority::encode() const {
  Buffer buffer(BIO_new(BIO_s_mem()));
  must(PEM_write_bio_X509(buffer.get(), parts->certificate.get()) == 1 &&
           PEM_write_bio_PKCS8PrivateKey(buffer.get(), parts->key.get(), nullptr, nullptr, 0,
                                         nullptr, nullptr) == 1,
       "PEM_write_bio_PKCS8PrivateKey");
  return textOf(buffer);
}

std::string Authority::sign(const std::string& request, schema::Role role, const std::string& id,
                            int64_t nowNs, int64_t lifetimeNs) const {
  if (request.size() > MAX_REQUEST) fail(kj::str("usage: the certificate request is too long"));
  RequestPtr asked(PEM_read_bio_X509_REQ(bufferOf(request).get(), nullptr, nullptr, nullptr));
  auto* key = asked == nullptr ? nullptr : X509_REQ_get0_pubkey(asked.get());
  bool own = key != nullptr && X509_REQ_verify(asked.get(), key) == 1;
  ERR_clear_error();
  if (!own) fail(kj::str("usage: this is no certificate request that its own key has signed"));
  auto certificate = blank(key, nowNs - HOUR_NS, nowNs + lifetimeNs);
  auto* issuer = parts->certificate.get();
  must(X509_set_issuer_name(certificate.get(), X509_get_subject_name(issuer)) == 1,
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
  must(X509_sign(certificate.get(), parts->key.get(), EVP_sha256()) > 0, "X509_sign");
  return pemOf(certificate.get());
}

}  // namespace orch::control::manager
