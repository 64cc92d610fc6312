// What to say to a query. Pure: no clock, no socket.
#pragma once

#include <string>
#include <vector>

#include "message.h"
#include "tables.h"

namespace orch::network::dns {

class Responder final {
 public:
  // `tables` outlives it.
  Responder(Tables& tables, uint32_t ttlSeconds) : tables(tables), writer(ttlSeconds) {}

  enum class Verdict {
    DROP,     // it deserves no answer
    ANSWER,   // which is in `answer`
    FORWARD,  // it is none of ours
  };
  // For a task of these networks. Over TCP an answer is never truncated; should it not fit into a
  // message of DNS (4,000 addresses), it has what fits.
  Verdict respond(Message query, const std::vector<std::string>& networks, bool tcp, Bytes& answer);

 private:
  void respondWith(const Query& query, const Zone& zone, size_t limit, Bytes& answer);
  Verdict respondReverse(const Query& query, const std::vector<std::string>& networks,
                         Bytes& answer);

  Tables& tables;
  MessageWriter writer;
  std::vector<Ipv4> addresses;  // of the query at hand; kept for its memory
};

}  // namespace orch::network::dns
