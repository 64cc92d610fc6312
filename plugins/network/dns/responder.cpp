#include "responder.h"

#include <algorithm>

namespace orch::network::dns {

namespace {
constexpr std::string_view REVERSE = ".in-addr.arpa";
constexpr std::string_view REVERSE6 = ".ip6.arpa";

// `4.3.2.1.in-addr.arpa` (RFC 1035, 3.5).
std::optional<Ipv4> reverseOf(std::string_view name) {
  if (!name.ends_with(REVERSE)) return std::nullopt;
  name.remove_suffix(REVERSE.size());
  auto backwards = parseIpv4(std::string(name).c_str());
  if (!backwards) return std::nullopt;
  return __builtin_bswap32(*backwards);
}

// 32 digits, the last one first, with dots between (RFC 3596, 2.5).
std::optional<Ipv6> reverse6Of(std::string_view name) {
  if (!name.ends_with(REVERSE6)) return std::nullopt;
  name.remove_suffix(REVERSE6.size());
  constexpr size_t DIGITS = 2 * sizeof(Ipv6);
  if (name.size() != 2 * DIGITS - 1) return std::nullopt;
  Ipv6 address = {};
  for (size_t i = 0; i < DIGITS; ++i) {
    char c = name[2 * i];
    bool decimal = c >= '0' && c <= '9';
    if (!decimal && !(c >= 'a' && c <= 'f')) return std::nullopt;
    if (i > 0 && name[2 * i - 1] != '.') return std::nullopt;
    uint8_t digit = decimal ? c - '0' : c - 'a' + 10;
    size_t place = DIGITS - 1 - i;
    address[place / 2] |= place % 2 == 0 ? digit << 4 : digit;
  }
  return address;
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
  auto* zone = tables.find(networks, query.name, addresses);
  if (zone == nullptr) return respondReverse(query, networks, answer);
  respondWith(query, *zone, tcp ? MOST_BYTES : query.limit, answer);
  return Verdict::ANSWER;
}

void Responder::respondWith(const Query& query, const Zone& zone, size_t limit, Bytes& answer) {
  if (query.type == TYPE_A || query.type == TYPE_ANY) {
    writer.addresses(query, addresses, limit, answer);
  } else if (query.type == TYPE_AAAA && zone.twins) {
    writer.addresses(query, addresses, *zone.twins, limit, answer);
  } else {
    // Never NXDOMAIN: musl gives the whole name up if its AAAA does not exist.
    writer.empty(query, Rcode::NOERROR, answer);
  }
}

Responder::Verdict Responder::respondReverse(const Query& query,
                                             const std::vector<std::string>& networks,
                                             Bytes& answer) {
  Tables::Reverse found;
  if (auto address = reverseOf(query.name)) {
    found = tables.nameOf(networks, *address);
  } else if (auto address6 = reverse6Of(query.name)) {
    found = tables.nameOf(networks, *address6);
  }
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
