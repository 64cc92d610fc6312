// A client of raw bytes, for tests of what no library would send.
#pragma once

#include <kj/async-io.h>

#include <string>

#include "orch/env.h"

namespace orch::api::http {

class TestClient final {
 public:
  TestClient(Env& env, kj::WaitScope& waitScope, unsigned port) : waitScope(waitScope) {
    auto address = env.network().parseAddress("127.0.0.1", port).wait(waitScope);
    stream = address->connect().wait(waitScope);
  }
  TestClient(kj::WaitScope& waitScope, kj::Own<kj::AsyncIoStream> stream)
      : waitScope(waitScope), stream(kj::mv(stream)) {}
  TestClient& send(const std::string& bytes) {
    stream->write(bytes.data(), bytes.size()).wait(waitScope);
    return *this;
  }
  // Up to the end, or until `enough` has come; later bytes stay for the next time.
  std::string read(const std::string& enough = "") {
    for (;;) {
      auto found = enough.empty() ? std::string::npos : pending.find(enough);
      if (found != std::string::npos) {
        auto taken = pending.substr(0, found + enough.size());
        pending.erase(0, taken.size());
        return taken;
      }
      if (!more()) return std::move(pending);
    }
  }
  // One answer with a Content-Length: its body; `head` is what stands before it.
  std::string answer(std::string* head = nullptr) {
    auto before = read("\r\n\r\n");
    if (head != nullptr) *head = before;
    auto at = before.find("Content-Length: ");
    if (at == std::string::npos) return "no answer: " + before;
    size_t size = std::stoul(before.substr(at + 16));
    while (pending.size() < size && more()) {
    }
    auto body = pending.substr(0, size);
    pending.erase(0, size);
    return body;
  }
  void endWriting() { stream->shutdownWrite(); }

 private:
  bool more() {
    char bytes[16 << 10];
    size_t count = stream->tryRead(bytes, 1, sizeof(bytes)).wait(waitScope);
    pending.append(bytes, count);
    return count > 0;
  }

  kj::WaitScope& waitScope;
  kj::Own<kj::AsyncIoStream> stream;
  std::string pending;
};

inline std::string get(const std::string& path) {
  return "GET " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
}

}  // namespace orch::api::http
