#include "orch/trust/certificate.h"

#include <kj/debug.h>
#include <kj/encoding.h>
#include <openssl/ec.h>
#include <openssl/err.h>

#include <algorithm>

#include "orch/fail.h"
#include "orch/trust/openssl.h"

namespace orch::trust {

namespace openssl {

void need(bool done, const char* what) {
  if (done) return;
  char reason[256] = "unknown";
  if (auto code = ERR_get_error()) ERR_error_string_n(code, reason, sizeof(reason));
  ERR_clear_error();
  KJ_FAIL_ASSERT("OpenSSL failed", what, reason);
}

Buffer newBuffer() {
  Buffer buffer(BIO_new(BIO_s_mem()));
  need(buffer != nullptr, "BIO_new");
  return buffer;
}
Buffer bufferOf(const std::string& text) {
  Buffer buffer(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
  need(buffer != nullptr, "BIO_new_mem_buf");
  return buffer;
}
std::string textOf(const Buffer& buffer) {
  char* data = nullptr;
  auto size = BIO_get_mem_data(buffer.get(), &data);
  return std::string(data, size);
}

PrivateKey newKey() {
  PrivateKey key(EVP_EC_gen("P-256"));
  need(key != nullptr, "EVP_EC_gen");
  return key;
}
std::string pemOf(EVP_PKEY* key) {
  auto text = newBuffer();
  need(PEM_write_bio_PKCS8PrivateKey(text.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1,
       "PEM_write_bio_PKCS8PrivateKey");
  return textOf(text);
}
std::string pemOf(X509* certificate) {
  auto text = newBuffer();
  need(PEM_write_bio_X509(text.get(), certificate) == 1, "PEM_write_bio_X509");
  return textOf(text);
}

std::string digestOf(X509* certificate) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  need(X509_digest(certificate, EVP_sha256(), digest, &size) == 1, "X509_digest");
  return kj::encodeHex(kj::arrayPtr(digest, size)).cStr();
}

}  // namespace openssl

namespace {

constexpr int64_t NS_PER_SECOND = 1'000'000'000;
constexpr std::string_view TOKEN_PREFIX = "ORCHTKN-1-";
constexpr size_t DIGEST_DIGITS = 64;

using namespace openssl;

Certificate readFrom(const Buffer& text) {
  Certificate certificate(PEM_read_bio_X509(text.get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  if (certificate == nullptr) fail(kj::str("this is no certificate in PEM"));
  return certificate;
}

Certificate readFirst(const std::string& pem) { return readFrom(bufferOf(pem)); }

Certificate readCertificate(const std::string& pem) {
  auto text = bufferOf(pem);
  auto certificate = readFrom(text);
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
  // RFC 5280 has 9999-12-31 for what has no end.
  return std::min<int64_t>(timegm(&parts), INT64_MAX / NS_PER_SECOND) * NS_PER_SECOND;
}

std::string requestFor(EVP_PKEY* key) {
  SigningRequest request(X509_REQ_new());
  need(request != nullptr, "X509_REQ_new");
  need(X509_REQ_set_version(request.get(), X509_REQ_VERSION_1) == 1, "X509_REQ_set_version");
  need(X509_REQ_set_pubkey(request.get(), key) == 1, "X509_REQ_set_pubkey");
  need(X509_REQ_sign(request.get(), key, EVP_sha256()) > 0, "X509_REQ_sign");
  auto text = newBuffer();
  need(PEM_write_bio_X509_REQ(text.get(), request.get()) == 1, "PEM_write_bio_X509_REQ");
  return textOf(text);
}

}  // namespace

KeyRequest newKeyRequest() {
  auto key = newKey();
  return {pemOf(key.get()), requestFor(key.get())};
}

std::string requestFor(const std::string& key) {
  PrivateKey pair(PEM_read_bio_PrivateKey(bufferOf(key).get(), nullptr, nullptr, nullptr));
  need(pair != nullptr, "PEM_read_bio_PrivateKey");
  return requestFor(pair.get());
}

std::string digestOf(const std::string& certificate) {
  return openssl::digestOf(readCertificate(certificate).get());
}

Holder holderOf(const std::string& certificate) { return holderOf(readFirst(certificate).get()); }

Trusted trustedOf(schema::Trusted::Reader from) {
  return {from.getAuthorities().cStr(), from.getFormer().cStr(), from.getCrossed().cStr()};
}

void fillTrusted(const Trusted& trusted, schema::Trusted::Builder to) {
  to.setAuthorities(trusted.authorities.c_str());
  to.setFormer(trusted.former.c_str());
  to.setCrossed(trusted.crossed.c_str());
}

std::string nameOf(const Trusted& trusted) {
  auto all = trusted.authorities + ";" + trusted.former + ";" + trusted.crossed;
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  need(EVP_Digest(all.data(), all.size(), digest, &size, EVP_sha256(), nullptr) == 1, "EVP_Digest");
  return kj::encodeHex(kj::arrayPtr(digest, size)).cStr();
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
  holder.fingerprint = openssl::digestOf(certificate);
  holder.notBeforeNs = nanoseconds(X509_get0_notBefore(certificate));
  holder.notAfterNs = nanoseconds(X509_get0_notAfter(certificate));
  return holder;
}

void checkSigned(const std::string& certificate, const std::string& authority,
                 const std::string& key) {
  auto own = readFirst(certificate), signer = readFirst(authority);
  PrivateKey pair(PEM_read_bio_PrivateKey(bufferOf(key).get(), nullptr, nullptr, nullptr));
  need(pair != nullptr, "PEM_read_bio_PrivateKey");
  bool signedBy = X509_verify(own.get(), X509_get0_pubkey(signer.get())) == 1;
  bool matches = X509_check_private_key(own.get(), pair.get()) == 1;
  ERR_clear_error();
  if (!signedBy) fail(kj::str("the certificate is not signed by the cluster's authority"));
  if (!matches) fail(kj::str("the certificate is not for this node's key"));
}

void checkTimes(const std::string& certificate, kj::StringPtr whose, int64_t nowNs,
                kj::StringPtr remedy) {
  auto parsed = readCertificate(certificate);
  auto second = [](int64_t ns) { return ns / NS_PER_SECOND; };
  auto from = nanoseconds(X509_get0_notBefore(parsed.get()));
  auto until = nanoseconds(X509_get0_notAfter(parsed.get()));
  bool early = second(nowNs) < second(from);
  if (!early && second(nowNs) <= second(until)) return;
  fail(kj::str(whose, early ? " is not valid before " : " has expired at ",
               timeText(early ? from : until).c_str(), ", and this host's clock says ",
               timeText(nowNs).c_str(), "; ", remedy));
}

int64_t endNsOf(const std::string& certificate) {
  return nanoseconds(X509_get0_notAfter(readFirst(certificate).get()));
}

std::string timeText(int64_t ns) {
  auto seconds = static_cast<time_t>(ns / NS_PER_SECOND);
  struct tm parts = {};
  char text[32];
  strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &parts));
  return text;
}

int64_t renewalNs(int64_t notBeforeNs, int64_t notAfterNs, double chance) {
  auto issuedNs = std::min(notBeforeNs + BACKDATED_NS, notAfterNs);
  auto life = static_cast<double>(notAfterNs - issuedNs);
  return issuedNs + static_cast<int64_t>(life * (0.5 + 0.3 * chance));
}

std::vector<std::string> certificatesIn(const std::string& pem) {
  constexpr std::string_view END = "-----END CERTIFICATE-----\n";
  std::vector<std::string> all;
  size_t begin = 0;
  for (size_t end; (end = pem.find(END, begin)) != std::string::npos; begin = end + END.size()) {
    all.push_back(pem.substr(begin, end + END.size() - begin));
  }
  return all;
}

std::string firstIn(const std::string& pem) {
  auto all = certificatesIn(pem);
  if (all.empty()) fail(kj::str("this is no certificate in PEM"));
  return all[0];
}

std::string signerOf(void* x509, const std::string& authorities) {
  for (auto& authority : certificatesIn(authorities)) {
    auto signer = readFirst(authority);
    bool signedBy = X509_verify(static_cast<X509*>(x509), X509_get0_pubkey(signer.get())) == 1;
    ERR_clear_error();
    if (signedBy) return openssl::digestOf(signer.get());
  }
  return {};
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
