#include "lib/names.h"

#include <cstdint>

namespace orch::network {

namespace {
constexpr size_t LONGEST_ID = 64;
constexpr size_t HASH_CHARACTERS = 13;  // of base 36: 64 bits

// FNV-1a, 64 bits.
uint64_t hashOf(const std::string& text) {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (unsigned char c : text) hash = (hash ^ c) * 0x100000001b3ull;
  return hash;
}
}  // namespace

bool isId(kj::StringPtr text) {
  if (text.size() == 0 || text.size() > LONGEST_ID || text[0] == '.') return false;
  for (char c : text) {
    bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '_' || c == '-' || c == '.';
    if (!ok) return false;
  }
  return true;
}

std::string linkNameOf(kj::StringPtr prefix, const std::string& text) {
  uint64_t hash = hashOf(text);
  std::string name = prefix.cStr();
  for (size_t i = 0; i < HASH_CHARACTERS; ++i, hash /= 36) {
    name += "0123456789abcdefghijklmnopqrstuvwxyz"[hash % 36];
  }
  return name;
}

}  // namespace orch::network
