#include "encryption/keys.h"

#include <errno.h>
#include <kj/debug.h>
#include <sodium.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "orch/durable-file.h"

namespace orch::network::overlay {

namespace {
constexpr size_t KEY_TEXT_LENGTH = 44;

void prepareSodium() { KJ_REQUIRE(sodium_init() >= 0, "libsodium does not work here"); }

std::string textIn(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}
}  // namespace

kj::String keyText(const Key& key) {
  char text[KEY_TEXT_LENGTH + 1];
  sodium_bin2base64(text, sizeof(text), key.data(), key.size(), sodium_base64_VARIANT_ORIGINAL);
  return kj::str(text);
}

std::optional<Key> parseKey(kj::StringPtr text) {
  if (text.size() != KEY_TEXT_LENGTH) return std::nullopt;
  Key key;
  size_t size = 0;
  const char* end = nullptr;
  int failed = sodium_base642bin(key.data(), key.size(), text.cStr(), text.size(), nullptr, &size,
                                 &end, sodium_base64_VARIANT_ORIGINAL);
  if (failed != 0 || size != key.size() || end != text.end()) return std::nullopt;
  return key;
}

std::string hexOf(const Key& key) {
  char text[2 * sizeof(Key) + 1];
  return sodium_bin2hex(text, sizeof(text), key.data(), key.size());
}

std::optional<Key> keyOfHex(const std::string& text) {
  Key key;
  size_t size = 0;
  int failed =
      sodium_hex2bin(key.data(), key.size(), text.c_str(), text.size(), nullptr, &size, nullptr);
  if (failed != 0 || size != key.size() || text.size() != 2 * key.size()) return std::nullopt;
  return key;
}

Key newPrivateKey() {
  prepareSodium();
  Key key;
  randombytes_buf(key.data(), key.size());
  // RFC 7748, section 5: so WireGuard has it, and would answer it.
  key[0] &= 248;
  key[31] = (key[31] & 127) | 64;
  return key;
}

Key publicKeyOf(const Key& privateKey) {
  Key key;
  crypto_scalarmult_base(key.data(), privateKey.data());
  return key;
}

HostAddress tunnelAddressOf(const Key& publicKey) {
  uint8_t hash[crypto_hash_sha256_BYTES];
  crypto_hash_sha256(hash, publicKey.data(), publicKey.size());
  HostAddress::Bytes bytes;
  auto rest = std::copy(TUNNEL_RANGE.begin(), TUNNEL_RANGE.end(), bytes.begin());
  std::copy_n(hash, bytes.end() - rest, rest);
  return HostAddress(bytes);
}

Key keptKey(const std::string& path) {
  auto text = textIn(path);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  auto kept = parseKey(text.c_str());
  if (kept) return *kept;
  auto key = newPrivateKey();
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  auto content = kj::str(keyText(key), "\n");
  replaceFile(path, content.asBytes(), Outlives::POWER);
  return key;
}

}  // namespace orch::network::overlay
