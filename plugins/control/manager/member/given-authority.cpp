#include "member/given-authority.h"

#include <kj/common.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <string_view>

#include "orch/fail.h"
#include "orch/trust/certificate.h"

namespace orch::control::manager {

namespace {

using namespace trust::openssl;
using RootStore = std::unique_ptr<X509_STORE, Release<X509_STORE_free>>;
using Verifying = std::unique_ptr<X509_STORE_CTX, Release<X509_STORE_CTX_free>>;

constexpr int64_t GIVEN_NS_PER_S = 1'000'000'000;
constexpr int64_t NS_PER_DAY = 24 * 3'600 * GIVEN_NS_PER_S;
constexpr int LEAST_RSA_BITS = 2048;
constexpr int AUTH_LEVEL = 2;  // Debian's for TLS: 112 bits, no SHA-1

bool isTakenKey(EVP_PKEY* key) {
  if (EVP_PKEY_is_a(key, "RSA") == 1) return EVP_PKEY_get_bits(key) >= LEAST_RSA_BITS;
  char group[64] = {};
  bool curve = EVP_PKEY_is_a(key, "EC") == 1 &&
               EVP_PKEY_get_group_name(key, group, sizeof(group), nullptr) == 1;
  ERR_clear_error();
  auto name = std::string_view(group);
  return curve && (name == "prime256v1" || name == "secp384r1");
}

void checkRoot(X509* certificate, EVP_PKEY* key) {
  if (X509_check_private_key(certificate, key) != 1) {
    ERR_clear_error();
    fail(kj::str("usage: the key is not that of the certificate"));
  }
  if (X509_check_ca(certificate) != 1) {
    fail(
        kj::str("usage: the certificate is of no authority: it needs basicConstraints CA:TRUE, and "
                "keyUsage keyCertSign if it has one"));
  }
  if (X509_verify(certificate, key) != 1) {
    ERR_clear_error();
    fail(kj::str("usage: the certificate is signed by another one: name the root itself"));
  }
  if (X509_get0_subject_key_id(certificate) == nullptr) {
    fail(
        kj::str("usage: the certificate has no subjectKeyIdentifier, by which it is told from the "
                "one before; 'openssl req -x509' makes it"));
  }
}

Certificate readPem(const std::string& pem) {
  Certificate certificate(PEM_read_bio_X509(bufferOf(pem).get(), nullptr, nullptr, nullptr));
  need(certificate != nullptr, "PEM_read_bio_X509");
  return certificate;
}

}  // namespace

void checkGiven(X509* certificate, EVP_PKEY* key, int64_t nowNs, int64_t lifetimeNs) {
  checkRoot(certificate, key);
  if (!isTakenKey(key)) {
    fail(kj::str("usage: the authority's key must be of EC P-256, EC P-384 or RSA of at least ",
                 LEAST_RSA_BITS, " bits, which every node can check"));
  }
  auto now = static_cast<time_t>(nowNs / GIVEN_NS_PER_S);
  if (X509_cmp_time(X509_get0_notBefore(certificate), &now) > 0 ||
      X509_cmp_time(X509_get0_notAfter(certificate), &now) < 0) {
    fail(kj::str("usage: the certificate is not valid yet, or has expired"));
  }
  auto endNs = trust::endNsOf(pemOf(certificate));
  if (endNs - nowNs >= 2 * lifetimeNs) return;
  fail(kj::str("usage: the authority ends at ", trust::timeText(endNs).c_str(),
               ", but nodes' certificates are good for ", lifetimeNs / NS_PER_DAY,
               " days: it must not end before ", trust::timeText(nowNs + 2 * lifetimeNs).c_str(),
               ", or name a shorter --cert-expiry"));
}

void checkTaken(const std::string& certificate, const std::string& crossed, const std::string& root,
                int64_t nowNs) {
  auto leaf = readPem(certificate), trusted = readPem(root);
  Certificate between;
  if (!crossed.empty()) between = readPem(crossed);
  RootStore store(X509_STORE_new());
  need(store != nullptr && X509_STORE_add_cert(store.get(), trusted.get()) == 1,
       "X509_STORE_add_cert");
  auto* shown = sk_X509_new_null();
  KJ_DEFER(sk_X509_free(shown));
  if (between != nullptr) need(sk_X509_push(shown, between.get()) > 0, "sk_X509_push");
  for (auto purpose : {X509_PURPOSE_SSL_SERVER, X509_PURPOSE_SSL_CLIENT}) {
    Verifying verifying(X509_STORE_CTX_new());
    need(verifying != nullptr &&
             X509_STORE_CTX_init(verifying.get(), store.get(), leaf.get(), shown) == 1 &&
             X509_STORE_CTX_set_purpose(verifying.get(), purpose) == 1,
         "X509_STORE_CTX_init");
    auto* terms = X509_STORE_CTX_get0_param(verifying.get());
    X509_VERIFY_PARAM_set_auth_level(terms, AUTH_LEVEL);
    if (nowNs == 0) {
      need(X509_VERIFY_PARAM_set_flags(terms, X509_V_FLAG_NO_CHECK_TIME) == 1, "NO_CHECK_TIME");
    } else {
      X509_VERIFY_PARAM_set_time(terms, static_cast<time_t>(nowNs / GIVEN_NS_PER_S));
    }
    bool taken = X509_verify_cert(verifying.get()) == 1;
    ERR_clear_error();
    if (taken) continue;
    auto* why = X509_verify_cert_error_string(X509_STORE_CTX_get_error(verifying.get()));
    fail(kj::str("usage: no node would take certificates of this authority: ", why));
  }
}

}  // namespace orch::control::manager
