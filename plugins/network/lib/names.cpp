#include "lib/names.h"

#include <cstdint>

#include "orch/fail.h"

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

namespace {
bool isName(kj::StringPtr text, size_t longest) {
  if (text.size() == 0 || text.size() > longest || text[0] == '.') return false;
  for (char c : text) {
    bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '_' || c == '-' || c == '.';
    if (!ok) return false;
  }
  return true;
}
}  // namespace

bool isId(kj::StringPtr text) { return isName(text, LONGEST_ID); }

std::string nameOf(kj::StringPtr setting, kj::StringPtr text, size_t longest) {
  if (isName(text, longest) && text[0] != '-') return text.cStr();
  fail(kj::str("'", setting, "' cannot be '", text, "': it must be 1 to ", longest,
               " characters of a-z, A-Z, 0-9, '_', '-' and '.'"));
}

void checkTaskId(kj::StringPtr text) {
  if (isId(text)) return;
  fail(kj::str("'", text,
               "' cannot be a task's id: it must be 1 to 64 characters of a-z, A-Z, 0-9, '_', '-' "
               "and '.'"));
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
