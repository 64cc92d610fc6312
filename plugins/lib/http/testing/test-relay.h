// For tests: stands between a client and a server, and loses answers as it is told.
#pragma once

#include <kj/async-io.h>

#include <string>
#include <vector>

#include "orch/task.h"

namespace orch::http {

class TestRelay final : private kj::TaskSet::ErrorHandler {
 public:
  // To the server at `http://127.0.0.1:<port>`.
  TestRelay(kj::AsyncIoContext& io, uint16_t port);

  std::string url() { return "http://127.0.0.1:" + std::to_string(receiver->getPort()); }
  // The connection breaks when so many of the next answers have come from it, in place of each.
  void loseAnswers(int count) { lose = count; }
  int lost() const { return counted; }
  // What is asked from now on stays here, also when whoever asked has gone …
  void holdRequests() { holding = true; }
  size_t held() const { return requests.size(); }
  // Whether a whole request has come since.
  bool holds() const { return keeps; }
  // … until now: what is answered to each.
  Task<std::vector<std::string>> passHeld();

 private:
  struct Pair;
  Task<void> accept();
  Task<void> serve(kj::Own<kj::AsyncIoStream> client);
  Task<void> ask(Pair& pair);
  Task<void> answers(Pair& pair);
  void taskFailed(kj::Exception&&) override {}  // one end has gone

  kj::Network& network;
  uint16_t port;
  kj::Own<kj::ConnectionReceiver> receiver;
  struct Held {
    kj::Own<kj::AsyncIoStream> server;
    std::string bytes;
  };
  std::vector<Held> requests;  // whose client has gone
  bool holding = false;
  bool keeps = false;
  int lose = 0;
  int counted = 0;
  kj::TaskSet tasks{*this};
};

}  // namespace orch::http
