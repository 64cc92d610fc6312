// Real servers of ZooKeeper on loopback, in a folder of the test's own.
#pragma once

#include <string>
#include <vector>

#include "orch/env.h"
#include "orch/testing/test-host.h"
#include "orch/testing/test-server.h"
#include "zookeeper/client.h"

namespace orch::zookeeper {

// One ZooKeeper of `size` servers. They end with it. Ticks are 200 ms: sessions are granted up to a
// minute, from 400 ms on, and an ensemble that has lost its leader has another one in about a
// second.
class TestZookeeper final {
 public:
  // `env` is a real one and outlives it. `lines` go into every server's zoo.cfg.
  TestZookeeper(Env& env, kj::WaitScope& scope, kj::StringPtr testName, size_t size = 1,
                std::vector<std::string> lines = {});

  // Starts the server again, on its files and ports.
  void start(size_t server = 0);
  // By SIGKILL; returns when it is gone.
  void kill(size_t server = 0);
  // After SIGSTOP it does nothing any more when this returns.
  void signal(int number, size_t server = 0);
  // Its files are gone too, as if it had never been.
  void wipe(size_t server = 0);
  // Keeps a copy of its files, or brings it back. While it does not run.
  void keepFiles(size_t server = 0);
  void restoreFiles(size_t server = 0);
  // Makes the first server's files those of another ZooKeeper's. While neither runs.
  void takeFiles(const TestZookeeper& other);

  uint16_t port(size_t server = 0) const { return servers[server].clientPort; }
  std::string endpoint(size_t server = 0) const;
  std::vector<std::string> endpoints() const;
  // What a server prints to the four-letter word `srvr`; empty: it does not answer.
  std::string status(size_t server = 0);
  // `leader`, `follower` or `standalone`, as soon as it is one.
  std::string role(size_t server);

 private:
  struct One {
    uint16_t clientPort = 0;
    uint16_t peerPort = 0;
    uint16_t electionPort = 0;
    kj::Own<testing::TestServer> process;
  };
  kj::String dataOf(size_t server) const;
  Env& env;
  kj::WaitScope& scope;
  testing::TestFolder folder;
  std::vector<std::string> lines;
  std::vector<One> servers;
};

// A client of the test's own, which waits on the loop for each answer. Calls fail unless they
// succeed.
class TestClient final {
 public:
  TestClient(Env& env, kj::WaitScope& scope, const std::vector<std::string>& endpoints,
             std::string user = "", std::string password = "",
             kj::Duration session = 4 * kj::SECONDS);

  std::string get(const std::string& path);
  std::vector<std::string> children(const std::string& path);  // sorted
  bool exists(const std::string& path);
  void put(const std::string& path, const std::string& value);  // makes it if need be
  void remove(const std::string& path);
  // With all below it.
  void removeAll(const std::string& path);

  Client client;

 private:
  void ready();
  kj::WaitScope& scope;
};

}  // namespace orch::zookeeper
