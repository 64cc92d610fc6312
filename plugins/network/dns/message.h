// DNS messages (RFC 1035, 6891), parsed and built by ldns. What comes from a stranger is refused or
// dropped, whatever its bytes.
#pragma once

#include <kj/common.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "lib/ipv6.h"

struct ldns_struct_pkt;
struct ldns_struct_rr;
struct ldns_struct_buffer;

namespace orch::network::dns {

using Bytes = std::vector<uint8_t>;
using Message = std::span<const uint8_t>;

constexpr size_t HEADER_BYTES = 12;
constexpr size_t MOST_BYTES = 65535;      // of a message over TCP
constexpr size_t UDP_BYTES = 512;         // of an answer to a client that states no size
constexpr size_t MOST_UDP_BYTES = 65507;  // that a datagram can have

// RFC 1035, 3.2.2 and 3.2.3.
constexpr uint16_t TYPE_A = 1, TYPE_PTR = 12, TYPE_ANY = 255;
constexpr uint16_t TYPE_AAAA = 28;  // RFC 3596
// RFC 1035, 4.1.1.
enum class Rcode : uint8_t {
  NOERROR = 0,
  FORMERR = 1,
  SERVFAIL = 2,
  NXDOMAIN = 3,
  NOTIMP = 4,
  REFUSED = 5
};

// A question as a client sent it.
class Query final {
 public:
  // What is no query at all (too short, an answer) is left alone: `drop`. What is one, but cannot
  // be understood, is answered with `refused`.
  explicit Query(Message message);
  ~Query() noexcept(false);
  KJ_DISALLOW_COPY(Query);

  bool drop = false;
  Rcode refused = Rcode::NOERROR;

  // The rest is for a query that is neither dropped nor refused. Lower case, without the last dot;
  // empty if it is the root's, or has a dot inside of a label.
  std::string name;
  uint16_t type = 0;
  bool internet = false;     // its class
  size_t limit = UDP_BYTES;  // that the client takes by UDP
  bool knowsEdns = true;     // false: it has a version of EDNS that is not known here

 private:
  friend class MessageWriter;
  void read();
  Message message;
  struct Free {
    void operator()(ldns_struct_pkt* packet) const;
  };
  std::unique_ptr<ldns_struct_pkt, Free> packet;
};

// Builds answers, in a buffer that it keeps. The results are copies.
class MessageWriter final {
 public:
  explicit MessageWriter(uint32_t ttlSeconds);
  ~MessageWriter() noexcept(false);
  KJ_DISALLOW_COPY(MessageWriter);

  // As many addresses as fit into `limit` bytes; if that is not all, marked as truncated.
  void addresses(const Query& query, const std::vector<Ipv4>& list, size_t limit, Bytes& answer);
  // The same of their twins.
  void addresses(const Query& query, const std::vector<Ipv4>& list, const Ipv6Twins& twins,
                 size_t limit, Bytes& answer);
  // The owner of an address; one that cannot be a name in DNS gives no record.
  void owner(const Query& query, const std::string& name, Bytes& answer);
  // Without records: an error, or (NOERROR) a name that has none of this type.
  void empty(const Query& query, Rcode code, Bytes& answer);

 private:
  using Packet = std::unique_ptr<ldns_struct_pkt, Query::Free>;
  // `dataAt(i)`: the data of that record, all of which are of `type` and of that size.
  template <typename DataAt>
  void records(const Query& query, int type, size_t count, size_t limit, DataAt&& dataAt,
               Bytes& answer);
  Packet begin(const Query& query, Rcode code) const;
  ldns_struct_rr* record(const Query& query, int type) const;
  void finish(const Packet& packet, Bytes& answer);

  const uint32_t ttl;
  struct Free {
    void operator()(ldns_struct_buffer* buffer) const;
  };
  std::unique_ptr<ldns_struct_buffer, Free> buffer;
};

// The wire's fields that are read without parsing.
uint16_t idOf(Message message);
void setId(Bytes& message, uint16_t id);
Rcode rcodeOf(Message message);
bool isTruncated(Message message);
// Bytes of header and question; 0 if it has not exactly one question, written plainly.
size_t questionEnd(Message message);
// Whether `message` can be the answer to `query`: same id, same question.
bool answers(Message message, Message query);
// `query` as an answer without records.
Bytes refusalOf(Message query, Rcode code);

// Seconds that a server's answer may be kept: the least of its records', or what RFC 2308 says for
// one without. 0: not at all.
uint32_t lifeOf(Message answer);
// The same answer so many seconds later. Empty if it cannot be.
Bytes aged(Message answer, uint32_t seconds);

}  // namespace orch::network::dns
