#include "orch/trust/lock-box.h"

#include <kj/debug.h>
#include <kj/encoding.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <memory>

#include "orch/fail.h"
#include "orch/trust/openssl.h"

namespace orch::trust {

namespace {

constexpr size_t NONCE_BYTES = 12, TAG_BYTES = 16;
constexpr std::string_view KEY_PREFIX = "ORCHKEY-1-";

using openssl::need;
using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, openssl::Release<EVP_CIPHER_CTX_free>>;

CipherContext newCipher(const std::string& key, const unsigned char* nonce, bool encrypts) {
  KJ_REQUIRE(key.size() == LOCK_KEY_BYTES, "a key of another length");
  CipherContext cipher(EVP_CIPHER_CTX_new());
  need(cipher != nullptr, "EVP_CIPHER_CTX_new");
  auto* raw = reinterpret_cast<const unsigned char*>(key.data());
  need(EVP_CipherInit_ex(cipher.get(), EVP_chacha20_poly1305(), nullptr, raw, nonce, encrypts) == 1,
       "EVP_CipherInit_ex");
  return cipher;
}

unsigned char* at(std::string& text, size_t offset) {
  return reinterpret_cast<unsigned char*>(text.data()) + offset;
}
const unsigned char* at(const std::string& text, size_t offset) {
  return reinterpret_cast<const unsigned char*>(text.data()) + offset;
}

}  // namespace

std::string newLockKey() {
  std::string key(LOCK_KEY_BYTES, '\0');
  need(RAND_bytes(at(key, 0), LOCK_KEY_BYTES) == 1, "RAND_bytes");
  return key;
}

std::string nameOfKey(const std::string& key) {
  if (key.empty()) return {};
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  auto text = "orch: name of a lock's key;" + key;
  need(EVP_Digest(text.data(), text.size(), digest, &size, EVP_sha256(), nullptr) == 1,
       "EVP_Digest");
  return kj::encodeHex(kj::arrayPtr(digest, size)).cStr();
}

std::string lockUp(const std::string& key, const std::string& plain) {
  std::string box(NONCE_BYTES + plain.size() + TAG_BYTES, '\0');
  need(RAND_bytes(at(box, 0), NONCE_BYTES) == 1, "RAND_bytes");
  auto cipher = newCipher(key, at(box, 0), true);
  int size = 0;
  need(EVP_CipherUpdate(cipher.get(), at(box, NONCE_BYTES), &size, at(plain, 0),
                        static_cast<int>(plain.size())) == 1,
       "EVP_CipherUpdate");
  auto end = NONCE_BYTES + plain.size();
  need(EVP_CipherFinal_ex(cipher.get(), at(box, end), &size) == 1, "EVP_CipherFinal_ex");
  need(EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, at(box, end)) == 1,
       "EVP_CTRL_AEAD_GET_TAG");
  return box;
}

kj::Maybe<std::string> openUp(const std::string& key, const std::string& box) {
  if (key.size() != LOCK_KEY_BYTES || box.size() < NONCE_BYTES + TAG_BYTES) return nullptr;
  std::string plain(box.size() - NONCE_BYTES - TAG_BYTES, '\0');
  std::string tag = box.substr(box.size() - TAG_BYTES);
  auto cipher = newCipher(key, at(box, 0), false);
  int size = 0;
  need(EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, at(tag, 0)) == 1,
       "EVP_CTRL_AEAD_SET_TAG");
  unsigned char none[TAG_BYTES];
  bool opened = EVP_CipherUpdate(cipher.get(), at(plain, 0), &size, at(box, NONCE_BYTES),
                                 static_cast<int>(plain.size())) == 1 &&
                EVP_CipherFinal_ex(cipher.get(), none, &size) == 1;
  ERR_clear_error();
  if (!opened) return nullptr;
  return kj::mv(plain);
}

std::string unlockKeyText(const std::string& key) {
  if (key.empty()) return {};
  auto* raw = reinterpret_cast<const kj::byte*>(key.data());
  return std::string(KEY_PREFIX) + kj::encodeHex(kj::arrayPtr(raw, key.size())).cStr();
}

std::string parseUnlockKey(const std::string& text) {
  constexpr const char* SPACE = " \t\r\n";
  auto from = text.find_first_not_of(SPACE);
  auto word = from == std::string::npos
                  ? std::string()
                  : text.substr(from, text.find_last_not_of(SPACE) + 1 - from);
  bool whole = word.starts_with(KEY_PREFIX) &&
               word.size() == KEY_PREFIX.size() + 2 * LOCK_KEY_BYTES &&
               word.find_first_not_of("0123456789abcdef", KEY_PREFIX.size()) == std::string::npos;
  if (!whole) {
    fail(
        kj::str("usage: this is no unlock key: expected ORCHKEY-1-<64 digits>, whole, as 'orch "
                "unlock-key' prints it"));
  }
  auto digits = word.substr(KEY_PREFIX.size());
  auto bytes = kj::decodeHex(kj::StringPtr(digits.c_str()));
  return std::string(bytes.asChars().begin(), bytes.size());
}

}  // namespace orch::trust
