// Real members of etcd on loopback, in a folder of the test's own.
#pragma once

#include <string>
#include <vector>

#include "orch/env.h"
#include "orch/testing/test-host.h"
#include "orch/testing/test-server.h"

namespace orch::etcd {

// One etcd of `size` members. They end with it.
class TestEtcd final {
 public:
  // `env` is a real one and outlives it. `arguments` go to every member.
  TestEtcd(Env& env, kj::WaitScope& scope, kj::StringPtr testName, size_t size = 1,
           std::vector<std::string> arguments = {}, kj::StringPtr scheme = "http");

  // Starts the member again, on its files and ports.
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
  kj::String dataOf(size_t member) const;
  // What `etcdctl` prints; fails unless it succeeds.
  std::string ctl(std::vector<std::string> arguments, size_t member = 0);
  // Its newest one.
  uint64_t revision();

 private:
  struct Member {
    uint16_t clientPort = 0;
    uint16_t peerPort = 0;
    kj::Own<testing::TestServer> process;
  };
  Env& env;
  kj::WaitScope& scope;
  testing::TestFolder folder;
  std::vector<std::string> arguments;
  kj::String scheme;
  std::string cluster;
  std::vector<Member> members;
};

}  // namespace orch::etcd
