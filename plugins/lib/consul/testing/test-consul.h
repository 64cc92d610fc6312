// Real servers of consul on loopback, in a folder of the test's own.
#pragma once

#include <string>
#include <vector>

#include "orch/env.h"
#include "orch/testing/test-host.h"
#include "orch/testing/test-server.h"

namespace orch::consul {

// One consul of `size` servers. They end with it. Fails with "consul is not installed …" where
// there is none; ctest takes such a test as skipped.
class TestConsul final {
 public:
  // `env` is a real one and outlives it. `hcl`: further configuration of every server. Over TLS
  // (`secure`) there is no plain HTTP.
  TestConsul(Env& env, kj::WaitScope& scope, kj::StringPtr testName, size_t size = 1,
             std::string hcl = "", bool secure = false);

  // Starts the server again, on its files and ports.
  void start(size_t member = 0);
  // By SIGKILL; returns when it is gone.
  void kill(size_t member = 0);
  // After SIGSTOP it does nothing any more when this returns.
  void signal(int number, size_t member = 0);
  // Its files are gone too, as if it had never been.
  void wipe(size_t member = 0);
  // Keeps a copy of its files, or brings it back. While it does not run.
  void keepFiles(size_t member = 0);
  void restoreFiles(size_t member = 0);

  std::string url(size_t member = 0) const;
  std::vector<std::string> urls() const;
  uint16_t port(size_t member = 0) const { return members[member].http; }
  kj::String dataOf(size_t member) const;
  // What `consul WORDS…` prints, as for `consul kv get KEY`; fails unless it succeeds.
  std::string ctl(std::vector<std::string> words, size_t member = 0);
  // Until there is a leader; asks one server.
  void waitForLeader(size_t member = 0);
  // Which one it is.
  size_t leader();
  // With which `ctl` speaks.
  std::string token;
  // What `hcl` says of one where only the owner of this token may do anything.
  static constexpr const char* MASTER = "11111111-2222-3333-4444-555555555555";
  static std::string aclHcl();
  // A token that may do no more than these rules say.
  struct Token {
    std::string accessor, secret;
  };
  Token makeToken(const std::string& policy, const std::string& rules);

 private:
  struct Member {
    uint16_t http = 0, rpc = 0, serf = 0;
    kj::Own<testing::TestServer> process;
  };
  Env& env;
  kj::WaitScope& scope;
  testing::TestFolder folder;
  std::string hcl;
  bool secure;
  std::vector<Member> members;
};

}  // namespace orch::consul
