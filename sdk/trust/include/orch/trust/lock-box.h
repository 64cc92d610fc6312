// What is secret on a node's disk, encrypted with a key of 32 bytes (ChaCha20-Poly1305, OpenSSL);
// and that key as its user knows it.
#pragma once

#include <kj/array.h>
#include <kj/string.h>

#include <string>

namespace orch::trust {

constexpr size_t LOCK_KEY_BYTES = 32;

// At random.
std::string newLockKey();
// SHA-256, in hexadecimal; empty for an empty one.
std::string nameOfKey(const std::string& key);

// A nonce at random, then the text.
std::string lockUp(const std::string& key, const std::string& plain);
// Nothing if it was not locked with this key, or was changed since.
kj::Maybe<std::string> openUp(const std::string& key, const std::string& box);

// `ORCHKEY-1-<64 digits>`.
std::string unlockKeyText(const std::string& key);
// Fails with what is accepted. Space around it does not matter.
std::string parseUnlockKey(const std::string& text);

}  // namespace orch::trust
