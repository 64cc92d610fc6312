#include "http/testing/test-relay.h"

#include <strings.h>

namespace orch::http {

namespace {
// Whether nothing of a request is on its way still.
bool isWhole(const std::string& request) {
  auto head = request.find("\r\n\r\n");
  if (head == std::string::npos) return false;
  size_t body = 0;
  const std::string field = "Content-Length:";
  for (size_t line = 0; line < head; line = request.find("\r\n", line) + 2) {
    bool says = strncasecmp(request.c_str() + line, field.c_str(), field.size()) == 0;
    if (says) body = std::stoul(request.substr(line + field.size()));
  }
  return request.size() >= head + 4 + body;
}
}  // namespace

struct TestRelay::Pair {
  kj::Own<kj::AsyncIoStream> client;
  kj::Own<kj::AsyncIoStream> server;
};

TestRelay::TestRelay(kj::AsyncIoContext& io, uint16_t port)
    : network(io.provider->getNetwork()),
      port(port),
      receiver(network.parseAddress("127.0.0.1").wait(io.waitScope)->listen()) {
  tasks.add(accept());
}

Task<void> TestRelay::accept() {
  for (;;) {
    auto client = co_await receiver->accept();
    tasks.add(serve(kj::mv(client)));
  }
}

Task<void> TestRelay::serve(kj::Own<kj::AsyncIoStream> client) {
  auto address = co_await network.parseAddress("127.0.0.1", port);
  Pair pair;
  pair.client = kj::mv(client);
  pair.server = co_await address->connect();
  auto both = answers(pair).promise().exclusiveJoin(ask(pair).promise());
  co_await both;
}

Task<void> TestRelay::ask(Pair& pair) {
  std::string kept;
  char bytes[4096];
  for (;;) {
    auto got = co_await pair.client->tryRead(bytes, 1, sizeof(bytes));
    if (got == 0) break;
    if (holding) {
      kept.append(bytes, got);
      keeps = keeps || isWhole(kept);
    } else {
      co_await pair.server->write(bytes, got);
    }
  }
  if (!kept.empty()) requests.push_back(Held{kj::mv(pair.server), kj::mv(kept)});
}

Task<std::vector<std::string>> TestRelay::passHeld() {
  holding = false;
  std::vector<std::string> all;
  auto passed = kj::mv(requests);
  requests.clear();
  for (auto& one : passed) {
    co_await one.server->write(one.bytes.data(), one.bytes.size());
    char bytes[4096];
    auto got = co_await one.server->tryRead(bytes, 1, sizeof(bytes));
    all.emplace_back(bytes, got);
  }
  co_return kj::mv(all);
}

Task<void> TestRelay::answers(Pair& pair) {
  char bytes[4096];
  for (;;) {
    auto got = co_await pair.server->tryRead(bytes, 1, sizeof(bytes));
    if (got == 0) co_return;
    if (lose > 0) {
      --lose;
      ++counted;
      co_return;
    }
    co_await pair.client->write(bytes, got);
  }
}

}  // namespace orch::http
