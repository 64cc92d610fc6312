// Stands between a client and a ZooKeeper, and loses answers or holds requests back as it is told.
#pragma once

#include <kj/async-io.h>

#include <string>
#include <vector>

#include "orch/task.h"

namespace orch::zookeeper {

// It knows what is a call (other than pings, and what makes a session), and nothing more.
class TestRelay final : private kj::TaskSet::ErrorHandler {
 public:
  // To the server at this port on loopback.
  TestRelay(kj::AsyncIoContext& io, uint16_t port);

  std::string endpoint() { return "127.0.0.1:" + std::to_string(receiver->getPort()); }
  // The connection breaks when so many of the next answers to calls have come, in place of each.
  void loseAnswers(int count) { loseAnswersAfter(0, count); }
  // The first so many pass.
  void loseAnswersAfter(int passed, int count) {
    spare = passed;
    lose = count;
  }
  int lost() const { return counted; }
  // Calls from now on stay here, also when the connection that they came over has gone …
  void holdRequests() { holding = true; }
  size_t held() const { return calls.size(); }
  // Whether a call has come since.
  bool holds() const { return keeps; }
  // … until now. What comes back to nobody is read and dropped; settles when something has.
  Task<void> passHeld();
  // All connections break, and new ones are not accepted; until `reach`.
  void cut();
  void reach();

 private:
  struct Pair;
  kj::Own<kj::TaskSet> newPairs();
  Task<void> accept();
  Task<void> serve(kj::Own<kj::AsyncIoStream> client);
  Task<void> forth(Pair& pair);
  Task<void> back(Pair& pair);
  void taskFailed(kj::Exception&&) override {}  // one end has gone

  struct Held {
    kj::Own<kj::AsyncIoStream> server;
    std::string bytes;
  };
  kj::Network& network;
  uint16_t port;
  kj::Own<kj::ConnectionReceiver> receiver;
  std::vector<Held> calls;  // whose client has gone
  std::vector<Held> passed;
  bool holding = false;
  bool keeps = false;
  bool isCut = false;
  int spare = 0;
  int lose = 0;
  int counted = 0;
  kj::TaskSet tasks{*this};
  kj::Own<kj::TaskSet> pairs;
};

}  // namespace orch::zookeeper
