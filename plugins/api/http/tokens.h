// Who may read what: tokens of a file, each with a role. Pure, but for `readTokenFile`.
#pragma once

#include <array>
#include <map>
#include <string>

namespace orch::api::http {

// Each may do what those before it may.
enum class Role { NONE, METRICS, READ, CHANGE };

class Tokens final {
 public:
  static constexpr size_t MAX_TOKENS = 1000;
  static constexpr size_t MIN_TOKEN_CHARACTERS = 16;

  // Fails with `name:line: ` and what is accepted.
  static Tokens parse(const std::string& text, const std::string& name);
  // Of who sends such an Authorization header.
  Role roleOf(const std::string& authorization) const;

 private:
  // By their digests: how long a look takes says nothing of a token.
  using Digest = std::array<unsigned char, 32>;
  static Digest digestOf(const std::string& token);
  std::map<Digest, Role> roles;
};

// Blocks. Fails if others than its owner may read it.
std::string readTokenFile(const std::string& path);

}  // namespace orch::api::http
