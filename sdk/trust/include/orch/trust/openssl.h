// OpenSSL's objects as values that free themselves, for those who make and read certificates.
#pragma once

#include <openssl/pem.h>
#include <openssl/x509.h>

#include <cstdint>
#include <memory>
#include <string>

namespace orch::trust::openssl {

template <auto release>
struct Release {
  template <typename T>
  void operator()(T* object) const {
    release(object);
  }
};
using PrivateKey = std::unique_ptr<EVP_PKEY, Release<EVP_PKEY_free>>;
using SigningRequest = std::unique_ptr<X509_REQ, Release<X509_REQ_free>>;
using Certificate = std::unique_ptr<X509, Release<X509_free>>;
using Buffer = std::unique_ptr<BIO, Release<BIO_free_all>>;

// Fails with OpenSSL's reason unless it is done.
void need(bool done, const char* what);

Buffer newBuffer();
Buffer bufferOf(const std::string& text);
std::string textOf(const Buffer& buffer);

// EC P-256.
PrivateKey newKey();
std::string pemOf(EVP_PKEY* key);
std::string pemOf(X509* certificate);
// SHA-256 of the certificate as DER, in hexadecimal.
std::string digestOf(X509* certificate);

// For those who sign. One of `key`, with a random number and these times; the names, what it is for
// and the signature are still to come.
Certificate blankCertificate(EVP_PKEY* key, int64_t fromNs, int64_t untilNs);
// `field`: `CN`.
void addName(X509_NAME* name, const char* field, const std::string& value);
// `value` as in x509v3_config(5).
void addExtension(X509* certificate, X509* issuer, int kind, const char* value);

}  // namespace orch::trust::openssl
