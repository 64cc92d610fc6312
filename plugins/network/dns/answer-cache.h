// Answers of servers, for the next who asks the same. At most 1,000, the oldest go first; none
// longer than its records say, nor than 30 s.
#pragma once

#include <kj/time.h>

#include <deque>
#include <string>
#include <unordered_map>

#include "message.h"

namespace orch::network::dns {

class AnswerCache final {
 public:
  static constexpr size_t MOST = 1000;
  static constexpr uint32_t LONGEST_SECONDS = 30;
  // Queries and answers that are larger are not kept: 1,000 of them are below 5 MiB.
  static constexpr size_t MOST_QUERY_BYTES = 512;
  static constexpr size_t MOST_ANSWER_BYTES = 4096;

  // `scope` keeps those apart who ask other servers. Empty: none that is still good. It has the
  // query's id and TTLs of now.
  Bytes find(const std::string& scope, Message query, kj::TimePoint now);
  void put(const std::string& scope, Message query, Message answer, kj::TimePoint now);
  void clear();
  size_t size() const { return entries.size(); }

 private:
  struct Entry {
    Bytes answer;
    kj::TimePoint since;
    uint32_t seconds;
  };
  std::unordered_map<std::string, Entry> entries;
  std::deque<std::string> order;  // of `entries`, the oldest first
};

}  // namespace orch::network::dns
