#include "lib/beat.h"

#include <kj/debug.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <cstring>

namespace orch::control {

namespace {
constexpr uint8_t MAGIC[4] = {'O', 'B', 1, 0};
constexpr size_t SIGNED_BYTES = 24;

template <typename T>
void put(uint8_t* to, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) {
    to[i] = static_cast<uint8_t>(value >> (8 * (sizeof(T) - 1 - i)));
  }
}
template <typename T>
T get(const uint8_t* from) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) value = static_cast<T>(value << 8 | from[i]);
  return value;
}
}  // namespace

// Fetched once: a look-up of the algorithm costs more than the sum.
struct BeatCodec::Mac {
  EVP_MAC* kind = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
  EVP_MAC_CTX* context = EVP_MAC_CTX_new(kind);
  ~Mac() {
    EVP_MAC_CTX_free(context);
    EVP_MAC_free(kind);
  }
};

BeatCodec::BeatCodec() : mac(std::make_unique<Mac>()) {
  KJ_REQUIRE(mac->context != nullptr, "OpenSSL has no HMAC");
  char digest[] = "SHA256";
  OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                         OSSL_PARAM_construct_end()};
  KJ_REQUIRE(EVP_MAC_CTX_set_params(mac->context, params) == 1, "OpenSSL has no SHA-256");
}
BeatCodec::~BeatCodec() = default;

std::array<uint8_t, 16> BeatCodec::tagOf(const BeatKey& key, const uint8_t* bytes) {
  uint8_t whole[32];
  size_t size = 0;
  bool done = EVP_MAC_init(mac->context, key.data(), key.size(), nullptr) == 1 &&
              EVP_MAC_update(mac->context, bytes, SIGNED_BYTES) == 1 &&
              EVP_MAC_final(mac->context, whole, &size, sizeof(whole)) == 1;
  KJ_ASSERT(done && size == sizeof(whole));
  std::array<uint8_t, 16> tag;
  memcpy(tag.data(), whole, tag.size());
  return tag;
}

BeatBytes BeatCodec::seal(const BeatKey& key, const Beat& beat) {
  BeatBytes bytes;
  memcpy(bytes.data(), MAGIC, sizeof(MAGIC));
  put(bytes.data() + 4, beat.session);
  put(bytes.data() + 12, beat.sequence);
  put(bytes.data() + 20, beat.loopLagMs);
  auto tag = tagOf(key, bytes.data());
  memcpy(bytes.data() + SIGNED_BYTES, tag.data(), tag.size());
  return bytes;
}

std::optional<Beat> BeatCodec::read(const uint8_t* bytes, size_t size) {
  if (size != BEAT_BYTES || memcmp(bytes, MAGIC, sizeof(MAGIC)) != 0) return std::nullopt;
  return Beat{get<uint64_t>(bytes + 4), get<uint64_t>(bytes + 12), get<uint32_t>(bytes + 20)};
}

bool BeatCodec::isGenuine(const BeatKey& key, const uint8_t* bytes) {
  auto tag = tagOf(key, bytes);
  return CRYPTO_memcmp(tag.data(), bytes + SIGNED_BYTES, tag.size()) == 0;
}

}  // namespace orch::control
