// What clients ask and are answered, as plain values: they pass between the thread that reads them
// and the loop.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace orch::api::http {

struct Request {
  uint64_t id = 0;       // of this one among all of the server
  bool changes = false;  // POST; else GET or HEAD
  std::string path;      // decoded
  std::map<std::string, std::string> query;
  std::string host;           // without the port
  std::string authorization;  // the header
  std::string accept;
  std::string lastEventId;
  std::string idempotencyKey;

  // Of the query; empty if it is not there.
  std::string parameter(const std::string& key) const;
};

struct Answer {
  unsigned status = 200;
  std::string type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
  bool more = false;  // parts follow
};

// `{"error":"…"}`: one line that says what is wrong and what to do.
Answer refusal(unsigned status, const std::string& why);

// Percent-decoded; false if it cannot be, or holds a NUL.
bool decode(std::string_view text, bool plusIsSpace, std::string& into);
// `target` of a request line into path and query; false if it cannot be read.
bool readTarget(std::string_view target, Request& request);
// The host of a Host header, in small letters, without the port and an IPv6 address's brackets.
std::string hostOf(std::string_view header);

}  // namespace orch::api::http
