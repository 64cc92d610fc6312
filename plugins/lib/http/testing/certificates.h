// For tests: an authority, certificates that it signs, and one of a stranger; by the openssl
// command.
#pragma once

#include <string>
#include <vector>

#include "orch/env.h"
#include "orch/testing/test-host.h"

namespace orch::http {

class Certificates final {
 public:
  // Both outlive it.
  Certificates(Env& env, kj::WaitScope& scope, kj::StringPtr testName);

  // `ca.pem` and `stranger.pem` are authorities, `NAME.pem` and `NAME.key` what was signed.
  std::string file(const std::string& name) const { return folder.sub(name.c_str()).cStr(); }
  // By `ca`, for what `names` says, as `IP:127.0.0.1`; for servers and clients. -1: it expired
  // a day ago.
  void sign(const std::string& name, const std::string& names, int days = 1);

 private:
  void authority(const std::string& name);
  void run(const std::vector<std::string>& words);
  Env& env;
  kj::WaitScope& scope;
  testing::TestFolder folder;
};

}  // namespace orch::http
