// For tests: a hub as classic Swarm's was, over real sockets, that does wrong what it is told to.
#pragma once

#include <kj/async-io.h>
#include <kj/compat/http.h>
#include <kj/compat/tls.h>

#include <string>
#include <vector>

namespace orch::discovery::token {

class TestHub final : private kj::HttpService, private kj::TaskSet::ErrorHandler {
 public:
  // Over TLS it is `localhost`, with the certificate of lib/testing.
  explicit TestHub(kj::AsyncIoContext& io, bool secure = false);
  ~TestHub() noexcept(false);

  // `token+http://127.0.0.1:PORT/v1/abc`
  std::string uri() const;
  std::string hub() const;

  std::vector<std::string> entries;  // what it answers, classic's way
  std::string raw;                   // what it answers instead, if not empty
  unsigned status = 200;
  bool hangs = false;                 // never answers
  std::vector<std::string> requests;  // `POST /v1/clusters/abc?ttl=60 10.0.0.1:1`

 private:
  kj::Promise<void> request(kj::HttpMethod method, kj::StringPtr url,
                            const kj::HttpHeaders& headers, kj::AsyncInputStream& body,
                            Response& response) override;
  kj::Promise<void> accept();
  void taskFailed(kj::Exception&&) override {}  // whom a client does not trust, he leaves
  kj::Promise<void> reply(Response& response, std::string text);

  kj::HttpHeaderTable table;
  kj::Maybe<kj::Own<kj::TlsContext>> tls;
  kj::HttpServer server;
  kj::Own<kj::ConnectionReceiver> receiver;
  unsigned port;
  kj::TaskSet serving{*this};
  kj::Promise<void> listening;
};

}  // namespace orch::discovery::token
