#include "member/authority.h"

#include <kj/debug.h>
#include <kj/encoding.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <sodium.h>

#include <algorithm>

#include "member/given-authority.h"
#include "member/sealed.h"
#include "orch/fail.h"
#include "orch/trust/certificate.h"
#include "orch/trust/openssl.h"

namespace orch::control::manager {

namespace {

constexpr int64_t NS_PER_S = 1'000'000'000;
constexpr int64_t AUTHORITY_NS = 10 * 365 * 24 * 3'600 * NS_PER_S;
constexpr size_t MAX_REQUEST = 8 << 10;
constexpr const char* STATE_KEY = "ORCH STATE KEY";  // of its block in PEM
constexpr const char* OWN_KEY = "PRIVATE KEY-----";  // of any kind of block with one

using namespace trust::openssl;

// For one use of a secret.
kj::Array<kj::byte> derive(const std::string& secret, kj::StringPtr use) {
  auto key = kj::heapArray<kj::byte>(crypto_secretbox_KEYBYTES);
  crypto_generichash(key.begin(), key.size(), reinterpret_cast<const kj::byte*>(secret.data()),
                     secret.size(), use.asBytes().begin(), use.size());
  return key;
}
constexpr kj::StringPtr FOR_STATE = "orch: logins for registries"_kj;
constexpr kj::StringPtr FOR_NEXT = "orch: the next authority"_kj;
constexpr kj::StringPtr FOR_WORKERS = "orch: join token of workers"_kj;
constexpr kj::StringPtr FOR_MANAGERS = "orch: join token of managers"_kj;
constexpr size_t JOIN_SECRET_BYTES = 16;

// Empty if there is no such block in what is left of the text.
kj::Array<kj::byte> readStateKey(const Buffer& text) {
  char *name = nullptr, *header = nullptr;
  unsigned char* data = nullptr;
  long size = 0;
  bool read = PEM_read_bio(text.get(), &name, &header, &data, &size) == 1;
  ERR_clear_error();
  if (!read) return nullptr;
  bool fits = std::string_view(name) == STATE_KEY && size == crypto_secretbox_KEYBYTES;
  auto key = kj::heapArray<kj::byte>(fits ? size : 0);
  if (fits) std::copy(data, data + size, key.begin());
  OPENSSL_free(name);
  OPENSSL_free(header);
  OPENSSL_clear_free(data, size);
  return key;
}

int refusePassword(char*, int, int, void*) { return -1; }

Certificate readGiven(const std::string& pem) {
  Certificate given(PEM_read_bio_X509(bufferOf(pem).get(), nullptr, nullptr, nullptr));
  ERR_clear_error();
  if (given == nullptr) fail(kj::str("usage: this is no certificate in PEM"));
  return given;
}

SigningRequest readRequest(const std::string& request) {
  if (request.size() > MAX_REQUEST) fail(kj::str("usage: the certificate request is too long"));
  SigningRequest asked(PEM_read_bio_X509_REQ(bufferOf(request).get(), nullptr, nullptr, nullptr));
  auto* key = asked == nullptr ? nullptr : X509_REQ_get0_pubkey(asked.get());
  bool own = key != nullptr && X509_REQ_verify(asked.get(), key) == 1;
  ERR_clear_error();
  if (!own) fail(kj::str("usage: this is no certificate request that its own key has signed"));
  return asked;
}

}  // namespace

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

void checkRequest(const std::string& request) { readRequest(request); }

struct Authority::Parts {
  PrivateKey key;  // null: others have it
  Certificate certificate;
  kj::Array<kj::byte> stateKey;  // empty: derived from the rest, of which `key` is
};

Authority::Authority(std::shared_ptr<Parts> given) : parts(given) {
  pem = pemOf(parts->certificate.get());
  hash = trust::openssl::digestOf(parts->certificate.get());
}

Authority Authority::make(const std::string& text, int64_t nowNs) {
  std::unique_ptr<X509_NAME, Release<X509_NAME_free>> name(X509_NAME_new());
  need(name != nullptr, "X509_NAME_new");
  addName(name.get(), "O", "orch");
  addName(name.get(), "CN", text);
  return make(name.get(), nullptr, nowNs);
}

// A key for the state is from the one whose place it takes.
Authority Authority::make(void* name, kj::Array<kj::byte> stateKey, int64_t nowNs) {
  auto parts = std::make_shared<Parts>();
  parts->stateKey = kj::mv(stateKey);
  parts->key = newKey();
  parts->certificate =
      blankCertificate(parts->key.get(), nowNs - trust::BACKDATED_NS, nowNs + AUTHORITY_NS);
  auto* certificate = parts->certificate.get();
  auto* subject = static_cast<X509_NAME*>(name);
  need(X509_set_subject_name(certificate, subject) == 1 &&
           X509_set_issuer_name(certificate, subject) == 1,
       "X509_set_subject_name");
  addExtension(certificate, certificate, NID_basic_constraints, "critical,CA:TRUE");
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
  if (text.find(OWN_KEY) != std::string::npos) {
    parts->key.reset(PEM_read_bio_PrivateKey(buffer.get(), nullptr, nullptr, nullptr));
    need(parts->key != nullptr, "PEM_read_bio_PrivateKey");
  }
  parts->stateKey = readStateKey(buffer);
  need(parts->key != nullptr || parts->stateKey.size() > 0, STATE_KEY);
  return Authority(kj::mv(parts));
}

std::string Authority::encode() const {
  auto text = isExternal() ? pem : pem + pemOf(parts->key.get());
  auto& state = parts->stateKey;
  if (state.size() == 0) return text;
  auto block = newBuffer();
  need(
      PEM_write_bio(block.get(), STATE_KEY, "", state.begin(), static_cast<long>(state.size())) > 0,
      "PEM_write_bio");
  return text + textOf(block);
}

// Of the same name: a step between authorities of one name does not count for how long a path may
// be (RFC 5280, 4.2.1.9).
Authority Authority::next(int64_t nowNs) const {
  return make(X509_get_subject_name(parts->certificate.get()), stateKey(), nowNs);
}

Authority Authority::next(const std::string& certificate, const std::string& key, int64_t nowNs,
                          int64_t lifetimeNs) const {
  auto next = std::make_shared<Parts>();
  next->certificate = readGiven(certificate);
  next->key.reset(PEM_read_bio_PrivateKey(bufferOf(key).get(), nullptr, refusePassword, nullptr));
  ERR_clear_error();
  if (next->key == nullptr) {
    fail(kj::str("usage: this is no key in PEM, or it is encrypted with a password"));
  }
  checkGiven(next->certificate.get(), next->key.get(), nowNs, lifetimeNs);
  next->stateKey = stateKey();
  Authority given(kj::mv(next));
  auto request = trust::newKeyRequest().request;
  auto leaf = given.sign(request, schema::Role::MANAGER, "trial", nowNs, lifetimeNs);
  checkTaken(leaf, "", given.certificate(), nowNs);
  return given;
}

Authority Authority::external(const std::string& certificate, kj::Array<kj::byte> stateKey,
                              int64_t nowNs, int64_t lifetimeNs) {
  auto parts = std::make_shared<Parts>();
  parts->certificate = readGiven(certificate);
  auto* root = parts->certificate.get();
  checkGiven(root, X509_get0_pubkey(root), nowNs, lifetimeNs);
  parts->stateKey = kj::mv(stateKey);
  return Authority(kj::mv(parts));
}

Authority Authority::external(const std::string& certificate, int64_t nowNs, int64_t lifetimeNs) {
  auto stateKey = kj::heapArray<kj::byte>(crypto_secretbox_KEYBYTES);
  randombytes_buf(stateKey.begin(), stateKey.size());
  return external(certificate, kj::mv(stateKey), nowNs, lifetimeNs);
}

Authority Authority::nextExternal(const std::string& certificate, int64_t nowNs,
                                  int64_t lifetimeNs) const {
  return external(certificate, stateKey(), nowNs, lifetimeNs);
}

bool Authority::isExternal() const { return parts->key == nullptr; }

std::string Authority::request() const {
  SigningRequest made(X509_REQ_new());
  auto* key = parts->key.get();
  need(made != nullptr &&
           X509_REQ_set_subject_name(made.get(), X509_get_subject_name(parts->certificate.get())) ==
               1 &&
           X509_REQ_set_pubkey(made.get(), key) == 1 &&
           X509_REQ_sign(made.get(), key, EVP_sha256()) > 0,
       "X509_REQ_sign");
  auto text = newBuffer();
  need(PEM_write_bio_X509_REQ(text.get(), made.get()) == 1, "PEM_write_bio_X509_REQ");
  return textOf(text);
}

std::string Authority::crossed(const Authority& next, int64_t nowNs) const {
  auto* from = next.parts->certificate.get();
  auto* issuer = parts->certificate.get();
  auto certificate =
      blankCertificate(X509_get0_pubkey(from), nowNs - trust::BACKDATED_NS, nowNs + AUTHORITY_NS);
  need(X509_set_subject_name(certificate.get(), X509_get_subject_name(from)) == 1 &&
           X509_set_issuer_name(certificate.get(), X509_get_subject_name(issuer)) == 1,
       "X509_set_subject_name");
  addExtension(certificate.get(), issuer, NID_basic_constraints, "critical,CA:TRUE");
  addExtension(certificate.get(), issuer, NID_key_usage, "critical,keyCertSign,cRLSign");
  // As that one calls its key, whichever way; whoever looks for the signer of this one finds
  // `issuer`.
  auto* own = X509_get_ext(from, X509_get_ext_by_NID(from, NID_subject_key_identifier, -1));
  need(X509_add_ext(certificate.get(), own, -1) == 1, "X509_add_ext");
  addExtension(certificate.get(), issuer, NID_authority_key_identifier, "keyid");
  need(X509_sign(certificate.get(), parts->key.get(), EVP_sha256()) > 0, "X509_sign");
  return pemOf(certificate.get());
}

kj::Array<kj::byte> Authority::stateKey() const {
  if (parts->stateKey.size() > 0) return kj::heapArray(parts->stateKey.asPtr());
  return derive(encode(), FOR_STATE);
}

std::string Authority::joinSecret(schema::Role role, kj::StringPtr salt) const {
  auto use = role == schema::Role::MANAGER ? FOR_MANAGERS : FOR_WORKERS;
  auto secret = derive(encode() + salt.cStr(), use);
  return kj::encodeHex(secret.slice(0, JOIN_SECRET_BYTES)).cStr();
}

kj::Array<kj::byte> Authority::seal(const Authority& next) const {
  return sealed(derive(encode(), FOR_NEXT), kj::StringPtr(next.encode().c_str()).asBytes());
}

Authority Authority::open(kj::ArrayPtr<const kj::byte> box) const {
  KJ_IF_MAYBE (plain, unsealed(derive(encode(), FOR_NEXT), box)) {
    return decode(std::string(plain->asChars().begin(), plain->size()));
  }
  fail(kj::str("the authority that came next is not encrypted with this one's key"));
}

std::string Authority::sign(const std::string& request, schema::Role role, const std::string& id,
                            int64_t nowNs, int64_t lifetimeNs) const {
  auto asked = readRequest(request);
  auto* key = X509_REQ_get0_pubkey(asked.get());
  // What outlives its issuer is taken by nobody.
  auto endNs = trust::endNsOf(pem);
  if (endNs <= nowNs) {
    fail(kj::str("the cluster's authority has ended at ", trust::timeText(endNs).c_str(),
                 "; 'orch ca --rotate' puts another one in its place"));
  }
  auto untilNs = std::min(nowNs + lifetimeNs, endNs);
  auto certificate = blankCertificate(key, nowNs - trust::BACKDATED_NS, untilNs);
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
