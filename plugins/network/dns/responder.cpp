#include "responder.h"

#include <algorithm>

namespace orch::network::dns {

namespace {
constexpr std::string_view REVERSE = ".in-addr.arpa";

// `4.3.2.1.in-addr.arpa` (RFC 1035, 3.5).
std::optional<Ipv4> reverseOf(std::string_view name) {
  if (!name.ends_with(REVERSE)) return std::nullopt;
  name.remove_suffix(REVERSE.size());
  auto backwards = parseIpv4(std::string(name).c_str());
  if (!backwards) return std::nullopt;
  return __builtin_bswap32(*backwards);
}
}  // namespace

Responder::Verdict Responder::respond(Message message, const std::vector<std::string>& networks,
                                      bool tcp, Bytes& answer) {
  Query query(message);
  if (query.drop) return Verdict::DROP;
  if (query.refused != Rcode::NOERROR || !query.knowsEdns) {
    writer.empty(query, query.refused, answer);
    return Verdict::ANSWER;
  }
  if (!query.internet || query.name.empty()) return Verdict::FORWARD;
  addresses.clear();
  if (!tables.find(networks, query.name, addresses)) return respondReverse(query, networks, answer);
  if (query.type == TYPE_A || query.type == TYPE_ANY) {
    writer.addresses(query, addresses, tcp ? MOST_BYTES : query.limit, answer);
  } else {
    // Never NXDOMAIN: musl gives the whole name up if its AAAA does not exist.
    writer.empty(query, Rcode::NOERROR, answer);
  }
  return Verdict::ANSWER;
}

Responder::Verdict Responder::respondReverse(const Query& query,
                                             const std::vector<std::string>& networks,
                                             Bytes& answer) {
  auto address = reverseOf(query.name);
  if (!address) return Verdict::FORWARD;
  auto found = tables.nameOf(networks, *address);
  if (!found.inside) return Verdict::FORWARD;
  if (found.name.empty()) {
    writer.empty(query, Rcode::NXDOMAIN, answer);
  } else if (query.type == TYPE_PTR || query.type == TYPE_ANY) {
    writer.owner(query, found.name, answer);
  } else {
    writer.empty(query, Rcode::NOERROR, answer);
  }
  return Verdict::ANSWER;
}

}  // namespace orch::network::dns
