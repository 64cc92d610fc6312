// The socket, and a thread of its own that reads requests and writes answers (Boost.Beast): a
// client that is slow, wrong or many costs the loop nothing. Only plain values pass. No KJ here.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "request.h"

namespace orch::api::http {

struct NetSettings {
  std::string listen;       // as in config.capnp; port 0: any
  std::string certificate;  // PEM; empty: no TLS
  std::string key;
  size_t maxConnections = 256;
  unsigned requestMs = 10'000;
};

// Counted since the start; read by any thread.
struct NetFigures {
  std::atomic<uint64_t> connections{0};  // open now
  std::atomic<uint64_t> accepted{0};
  std::atomic<uint64_t> bytes{0};       // of answers that clients have not taken yet
  std::atomic<uint64_t> turnedAway{0};  // since there were too many
  std::atomic<uint64_t> refused{
      0};  // requests that could not be read, and clients that were too slow
};

// What is wrong with an address to listen at; empty: nothing. `loopback`: whether it is of this
// host alone.
std::string problemOf(const std::string& listen, bool& loopback);

class Net final {
 public:
  // Of answers that clients have not taken yet: past it large ones are refused.
  static constexpr uint64_t MAX_BYTES = 256 << 20;
  static constexpr uint64_t LARGE_BYTES = 64 << 10;
  static constexpr size_t MAX_HEAD_BYTES = 16 << 10;
  static constexpr unsigned IDLE_MS = 60'000;   // between two requests of a connection
  static constexpr unsigned WRITE_MS = 60'000;  // for a client to take an answer, or a part
  static constexpr unsigned FAREWELL_MS = 2'000;

  // Called on the thread. They must not throw.
  struct Events {
    std::function<void(Request)> asked;
    std::function<void(uint64_t)> written;  // the head of an answer with `more`, or a part of it
    std::function<void(uint64_t)> gone;     // the client, before it had its answer
  };
  // Listens from now on. Fails with the address and the reason.
  Net(NetSettings settings, Events events);
  // Ends the thread and closes all connections.
  ~Net();
  Net(const Net&) = delete;
  Net& operator=(const Net&) = delete;

  // From any thread. What is of a request that is over is dropped.
  void answer(uint64_t id, Answer answer);
  // The next part. Whoever does not wait until the one before was written fills memory. The last
  // one may be empty.
  void send(uint64_t id, std::string part, bool last);

  unsigned port() const;
  const NetFigures& figures() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl;
};

}  // namespace orch::api::http
