// A node in a network namespace of the test's own, with the plugin on it, and tasks in others. The
// plugin answers on a thread of its own, so the test may block as any client does.
#pragma once

#include <kj/async-io.h>
#include <kj/io.h>
#include <sys/socket.h>

#include <optional>
#include <string>
#include <vector>

#include "lib/testing/checked.h"
#include "lib/testing/test-sockets.h"
#include "orch/env.h"
#include "orch/plugin.h"
#include "orch/schema/network.capnp.h"
#include "test-messages.h"

namespace orch::testing {
class TestFolder;
class TestHost;
}  // namespace orch::testing

namespace orch::network::dns {

// A namespace with lo, pinned.
class TestTask final {
 public:
  explicit TestTask(std::string path);
  ~TestTask() noexcept(false);
  KJ_DISALLOW_COPY(TestTask);
  const std::string& path() const { return pin; }
  // One query, one answer; empty after PATIENCE_MS, which only a test that fails needs, and at once
  // if there is nobody.
  Bytes ask(const Bytes& query, bool tcp = false) const;
  Answer ask(const std::string& name, uint16_t type = A) const {
    return read(ask(queryOf(name, type)));
  }
  // A socket that is connected to port 53 of 127.0.0.11.
  kj::AutoCloseFd client(int type = SOCK_DGRAM) const;
  // What a program there says that sees `resolvConf` as its /etc/resolv.conf.
  std::string run(const std::string& resolvConf, const std::string& command) const;
  std::vector<std::string> chains() const;  // of our table

 private:
  std::string pin;
};

// Empty after PATIENCE_MS.
Bytes receive(int fd);
// By TCP.
void sendFramed(int fd, const Bytes& message);
Bytes receiveFramed(int fd);

// A server at port 53 of an address, for a test to answer from by hand; in the namespace at `path`,
// or the node's.
class TestServer final {
 public:
  explicit TestServer(const std::string& address, const std::string& path = "");
  // Waits for a question; empty if none comes.
  Bytes question();
  bool wasAsked() const;  // without waiting
  void answer(const Bytes& message);
  // The same by TCP, one connection.
  Bytes questionByTcp();
  void answerByTcp(const Bytes& message);

 private:
  kj::AutoCloseFd udp, tcp, connection;
  std::vector<uint8_t> peer;
};

class TestNode final {
 public:
  explicit TestNode(kj::StringPtr testName);
  ~TestNode() noexcept(false);

  // Longer than a test's patience: whatever is answered at all comes in time.
  uint32_t timeoutMs = 30'000;
  void run();    // configure, recover, start
  void crash();  // without stop
  void tell(const Told& told);
  void serve(const TestTask& task, std::vector<std::string> networks = {"n1"},
             std::vector<std::string> servers = {}, const std::string& taskId = "task");
  bool closed = false;  // what is served from now on
  void serveAt(const std::string& path, std::vector<std::string> networks = {},
               std::vector<std::string> servers = {}, const std::string& taskId = "task");
  void release(const std::string& taskId = "task");
  void retain(std::vector<std::string> taskIds);
  // How many tasks have their questions not led here; and of how many they are again.
  size_t check() { return checking(false); }
  size_t repair() { return checking(true); }
  void resolvConf(const std::string& text);  // of the host
  std::string sub(const std::string& name) const;
  kj::WaitScope& scope() { return io.waitScope; }
  const std::vector<std::string>& logLines() const;

 private:
  size_t checking(bool repair);
  OwnNetwork network;
  kj::Own<testing::TestFolder> files;
  kj::AsyncIoContext io;
  kj::Own<Env> env;
  kj::Own<testing::TestHost> host;
  kj::Maybe<schema::Plugin::Client> plugin;
  kj::Maybe<schema::NameServer::Client> names;
};

}  // namespace orch::network::dns
