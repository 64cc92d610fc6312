// One server that speaks HTTP: how it is reached, over TCP or TLS.
#pragma once

#include <kj/compat/http.h>
#include <kj/compat/tls.h>

#include <string>
#include <vector>

#include "orch/env.h"

namespace orch::http {

struct Endpoint {
  std::string url;  // `https://10.0.0.1:2379`
  std::string host;
  uint16_t port = 0;
  bool secure = false;

  // Fails, naming what is accepted.
  static Endpoint parse(std::string_view url);
};

// Files in PEM; empty: none, and the system's authorities.
struct TlsFiles {
  std::string ca;
  std::string certificate;
  std::string key;
};

// Texts of errors that begin so: nothing was sent.
inline constexpr kj::StringPtr NOT_CONNECTED = "cannot connect: "_kj;

// A client for one endpoint. Every new connection asks for the name's addresses again; the files of
// TLS are read again after `forget`, so that renewed certificates are used. On the loop's thread.
class EndpointClient final {
 public:
  static constexpr uint64_t MAX_ANSWER_BYTES = 256 << 20;

  // `env` outlives it.
  EndpointClient(Env& env, Endpoint endpoint, const TlsFiles& files);
  ~EndpointClient() noexcept(false);

  const Endpoint& endpoint() const { return place; }

  struct Answer {
    unsigned status = 0;
    std::string text;
    std::string header;  // what `wanted` has; empty: nothing
  };
  // Goes with every request from now on, in place of the value before; empty: no longer.
  void setHeader(std::string name, std::string value);
  // The header of answers that is of interest.
  void want(std::string name) { wanted = std::move(name); }
  // With a body of JSON, or none. Arguments stay until it is done.
  Task<Answer> ask(kj::HttpMethod method, const std::string& path, const std::string& body);
  // POST, for an answer without an end: fails unless the status is 200.
  Task<kj::Own<kj::AsyncInputStream>> stream(const std::string& path, const std::string& body);
  // What a failure of `ask` or `stream` was about, in words that say what to do.
  static kj::String reasonOf(const kj::Exception& failure);
  // After a failure: the next connection begins with everything anew.
  void forget();

 private:
  class Address;
  Task<kj::HttpClient::Response> send(kj::HttpMethod method, const std::string& path,
                                      const std::string& body);
  kj::HttpClient::Request open(kj::HttpMethod method, const std::string& path, uint64_t bodyBytes);

  Endpoint place;
  std::string hostHeader;
  std::string headerName, headerValue;
  std::string wanted;
  kj::HttpHeaderTable table;
  kj::Own<Address> address;
  kj::Own<kj::HttpClient> http;
};

}  // namespace orch::http
