#include "kernel/trust/certificate.h"

#include <kj/debug.h>
#include <kj/encoding.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <memory>

#include "orch/fail.h"

namespace orch::trust {

namespace {

constexpr int64_t NS_PER_SECOND = 1'000'000'000;
constexpr std::string_view TOKEN_PREFIX = "ORCHTKN-1-";
constexpr size_t DIGEST_DIGITS = 64;

template <auto release>
struct Release {
  template <typename T>
  void operator()(T* object) const {
    release(object);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Release<EVP_PKEY_free>>;
using Request = std::unique_ptr<X509_REQ, Release<X509_REQ_free>>;
using Certificate = std::unique_ptr<X509, Release<X509_free>>;
using Bio = std::unique_ptr<BIO, Release<BIO_free_all>>;

void need(bool done, const char* what) {
  if (done) return;
  char reason[256] = "unknown";
  if (auto code = ERR_get_error()) ERR_error_string_n(code, reason, sizeof(reason));
  ERR_clear_error();
  KJ_FAIL_ASSERT("OpenSSL failed", what, reason);
}

Bio memory() {
  Bio bio(BIO_new(BIO_s_mem()));
  need(bio != nullptr, "BIO_new");
  return bio;
}
Bio reading(const std::string& text) {
  Bio bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  need(bio != nullptr, "BIO_new_mem_buf");
  return bio;
}
std::string contents(BIO* bio) {
  char* data = nullptr;
  auto size = BIO_get_mem_data(bio, &data);
  return std::string(data, size);
}

Certificate readCertificate(const std::string& pem) {
  auto text = reading(pem);
  Certificate certificate(PEM_read_bio_X509(text.get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  if (certificate == nullptr) fail(kj::str("this is no certificate in PEM"));
  // Or the digest would be of the first, and others could take the text for more.
  if (BIO_pending(text.get()) > 0) fail(kj::str("there is something behind the certificate"));
  return certificate;
}

std::string nameField(X509* certificate, int field) {
  char text[128] = {};
  int n = X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), field, text, sizeof(text));
  return n < 0 ? std::string() : std::string(text, n);
}

int64_t nanoseconds(const ASN1_TIME* time) {
  struct tm parts = {};
  need(ASN1_TIME_to_tm(time, &parts) == 1, "ASN1_TIME_to_tm");
  return timegm(&parts) * NS_PER_SECOND;
}

}  // namespace

KeyRequest newKeyRequest() {
  Key key(EVP_EC_gen("P-256"));
  need(key != nullptr, "EVP_EC_gen");
  Request request(X509_REQ_new());
  need(request != nullptr, "X509_REQ_new");
  need(X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) == 1, "X509_REQ_set_version");
  need(X509_REQ_set_pubkey(request.get(), key.get()) == 1, "X509_REQ_set_pubkey");
  need(X509_REQ_sign(request.get(), key.get(), EVP_sha256()) > 0, "X509_REQ_sign");
  auto keyText = memory(), requestText = memory();
  need(PEM_write_bio_PKCS8PrivateKey(keyText.get(), key.get(), nullptr, nullptr, 0, nullptr,
                                     nullptr) == 1,
       "PEM_write_bio_PKCS8PrivateKey");
  need(PEM_write_bio_X509_REQ(requestText.get(), request.get()) == 1, "PEM_write_bio_X509_REQ");
  return {contents(keyText.get()), contents(requestText.get())};
}

std::string digestOf(const std::string& certificate) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  auto parsed = readCertificate(certificate);
  need(X509_digest(parsed.get(), EVP_sha256(), digest, &size) == 1, "X509_digest");
  return kj::encodeHex(kj::arrayPtr(digest, size)).cStr();
}

Holder holderOf(const std::string& certificate) {
  return holderOf(readCertificate(certificate).get());
}

Holder holderOf(void* x509) {
  auto* certificate = static_cast<X509*>(x509);
  Holder holder;
  auto unit = nameField(certificate, NID_organizationalUnitName);
  if (unit == "orch-worker") {
    holder.role = schema::Role::WORKER;
  } else if (unit == "orch-manager") {
    holder.role = schema::Role::MANAGER;
  } else if (unit == "orch-admin") {
    holder.role = schema::Role::ADMIN;
  } else {
    fail(kj::str("the certificate's OU '", unit.c_str(), "' is no role of orch"));
  }
  holder.id = nameField(certificate, NID_commonName);
  holder.notBeforeNs = nanoseconds(X509_get0_notBefore(certificate));
  holder.notAfterNs = nanoseconds(X509_get0_notAfter(certificate));
  return holder;
}

void checkSigned(const std::string& certificate, const std::string& authority,
                 const std::string& key) {
  auto own = readCertificate(certificate), signer = readCertificate(authority);
  Key pair(PEM_read_bio_PrivateKey(reading(key).get(), nullptr, nullptr, nullptr));
  need(pair != nullptr, "PEM_read_bio_PrivateKey");
  bool signedBy = X509_verify(own.get(), X509_get0_pubkey(signer.get())) == 1;
  bool matches = X509_check_private_key(own.get(), pair.get()) == 1;
  ERR_clear_error();
  if (!signedBy) fail(kj::str("the certificate is not signed by the cluster's authority"));
  if (!matches) fail(kj::str("the certificate is not for this node's key"));
}

Token parseToken(const std::string& text) {
  auto rest = std::string_view(text);
  auto dash = rest.rfind('-');
  bool whole = rest.starts_with(TOKEN_PREFIX) && dash == TOKEN_PREFIX.size() + DIGEST_DIGITS &&
               rest.size() > dash + 1 &&
               rest.substr(0, dash).find_first_not_of("0123456789abcdef", TOKEN_PREFIX.size()) ==
                   std::string_view::npos;
  if (!whole) {
    fail(
        kj::str("usage: this is no token of orch: expected ORCHTKN-1-<64 digits>-<secret>, whole, "
                "as 'orch join-token worker' prints it on a manager"));
  }
  return {std::string(rest.substr(TOKEN_PREFIX.size(), DIGEST_DIGITS)),
          std::string(rest.substr(dash + 1))};
}

}  // namespace orch::trust
