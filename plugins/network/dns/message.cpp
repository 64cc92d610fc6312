#include "message.h"

#include <arpa/inet.h>
#include <kj/debug.h>
#include <ldns/ldns.h>

#include <algorithm>
#include <cctype>

#include "tables.h"

namespace orch::network::dns {

namespace {
// RFC 1035, 4.1.1: places of bits in the third and fourth byte.
constexpr uint8_t IS_ANSWER = 0x80, OPCODE = 0x78, TRUNCATED = 0x02, WANTS_RECURSION = 0x01;
constexpr uint8_t RECURSION_AVAILABLE = 0x80, RCODE = 0x0f;
constexpr size_t COUNTS = 4;          // where the number of questions stands
constexpr size_t TYPE_AND_CLASS = 4;  // bytes after a question's name
constexpr uint8_t LONGEST_LABEL = 63;
constexpr size_t RECORD_BYTES = 12;  // and its data; its name is a reference of 2
constexpr size_t OPT_RECORD_BYTES = 11;
// What we take; 1232 is what the DNS Flag Day 2020 agreed on.
constexpr uint16_t OUR_UDP_BYTES = 1232;
constexpr uint8_t BADVERS_HIGH_BITS = 1;  // RFC 6891: 16, of which the header holds the low four

uint16_t at(Message message, size_t offset) { return message[offset] << 8 | message[offset + 1]; }

// Lower case, labels joined by dots; empty if a label has a dot in it.
std::string nameOf(const ldns_rdf* owner) {
  std::string name;
  auto* data = ldns_rdf_data(owner);
  for (size_t i = 0; i < ldns_rdf_size(owner) && data[i] != 0; i += data[i] + 1u) {
    std::string_view label(reinterpret_cast<const char*>(data + i + 1), data[i]);
    if (label.find('.') != std::string_view::npos) return "";
    if (i > 0) name += '.';
    name += label;
  }
  return lowerCase(name);
}

ldns_pkt* parse(Message message) {
  ldns_pkt* parsed = nullptr;
  auto status = ldns_wire2pkt(&parsed, message.data(), message.size());
  return status == LDNS_STATUS_OK ? parsed : nullptr;
}
}  // namespace

void Query::Free::operator()(ldns_struct_pkt* packet) const { ldns_pkt_free(packet); }
void MessageWriter::Free::operator()(ldns_struct_buffer* buffer) const { ldns_buffer_free(buffer); }

Query::Query(Message message) : message(message) {
  drop = message.size() < HEADER_BYTES || (message[2] & IS_ANSWER) != 0;
  if (drop) return;
  if ((message[2] & OPCODE) != 0) {
    refused = Rcode::NOTIMP;
  } else if (questionEnd(message) == 0) {
    refused = Rcode::FORMERR;
  } else {
    packet.reset(parse(message));
    if (packet == nullptr) {
      refused = Rcode::FORMERR;
    } else {
      read();
    }
  }
}
Query::~Query() noexcept(false) {}

void Query::read() {
  auto* question = ldns_rr_list_rr(ldns_pkt_question(packet.get()), 0);
  name = nameOf(ldns_rr_owner(question));
  type = ldns_rr_get_type(question);
  internet = ldns_rr_get_class(question) == LDNS_RR_CLASS_IN;
  if (!ldns_pkt_edns(packet.get())) return;
  limit = std::clamp<size_t>(ldns_pkt_edns_udp_size(packet.get()), UDP_BYTES, MOST_UDP_BYTES);
  knowsEdns = ldns_pkt_edns_version(packet.get()) == 0;
}

MessageWriter::MessageWriter(uint32_t ttlSeconds)
    : ttl(ttlSeconds), buffer(ldns_buffer_new(MOST_BYTES)) {
  KJ_ASSERT(buffer != nullptr);
}
MessageWriter::~MessageWriter() noexcept(false) {}

MessageWriter::Packet MessageWriter::begin(const Query& query, Rcode code) const {
  auto* asked = query.packet.get();
  Packet packet(ldns_pkt_new());
  KJ_ASSERT(packet != nullptr);
  ldns_pkt_set_id(packet.get(), ldns_pkt_id(asked));
  ldns_pkt_set_qr(packet.get(), true);
  ldns_pkt_set_aa(packet.get(), true);
  ldns_pkt_set_rd(packet.get(), ldns_pkt_rd(asked));
  ldns_pkt_set_cd(packet.get(), ldns_pkt_cd(asked));
  ldns_pkt_set_ra(packet.get(), true);
  ldns_pkt_set_rcode(packet.get(), static_cast<uint8_t>(code));
  ldns_pkt_push_rr(packet.get(), LDNS_SECTION_QUESTION,
                   ldns_rr_clone(ldns_rr_list_rr(ldns_pkt_question(asked), 0)));
  if (ldns_pkt_edns(asked)) {
    ldns_pkt_set_edns_udp_size(packet.get(), OUR_UDP_BYTES);
    if (!query.knowsEdns) ldns_pkt_set_edns_extended_rcode(packet.get(), BADVERS_HIGH_BITS);
  }
  return packet;
}

ldns_struct_rr* MessageWriter::record(const Query& query, int type) const {
  auto* asked = ldns_rr_list_rr(ldns_pkt_question(query.packet.get()), 0);
  auto* made = ldns_rr_new();
  KJ_ASSERT(made != nullptr);
  ldns_rr_set_owner(made, ldns_rdf_clone(ldns_rr_owner(asked)));
  ldns_rr_set_type(made, static_cast<ldns_rr_type>(type));
  ldns_rr_set_class(made, LDNS_RR_CLASS_IN);
  ldns_rr_set_ttl(made, ttl);
  return made;
}

void MessageWriter::finish(const Packet& packet, Bytes& answer) {
  ldns_buffer_clear(buffer.get());
  auto status = ldns_pkt2buffer_wire(buffer.get(), packet.get());
  KJ_ASSERT(status == LDNS_STATUS_OK, ldns_get_errorstr_by_id(status));
  auto* from = ldns_buffer_begin(buffer.get());
  answer.assign(from, from + ldns_buffer_position(buffer.get()));
}

template <typename DataAt>
void MessageWriter::records(const Query& query, int type, size_t count, size_t limit,
                            DataAt&& dataAt, Bytes& answer) {
  auto packet = begin(query, Rcode::NOERROR);
  size_t used = questionEnd(query.message) + OPT_RECORD_BYTES;
  size_t each = RECORD_BYTES + sizeof(dataAt(0));
  size_t room = limit > used ? (limit - used) / each : 0;
  if (count > room) ldns_pkt_set_tc(packet.get(), true);
  auto form = type == LDNS_RR_TYPE_A ? LDNS_RDF_TYPE_A : LDNS_RDF_TYPE_AAAA;
  for (size_t i = 0; i < std::min(room, count); ++i) {
    auto data = dataAt(i);
    auto* made = record(query, type);
    ldns_rr_push_rdf(made, ldns_rdf_new_frm_data(form, sizeof(data), &data));
    ldns_pkt_push_rr(packet.get(), LDNS_SECTION_ANSWER, made);
  }
  finish(packet, answer);
}

void MessageWriter::addresses(const Query& query, const std::vector<Ipv4>& list, size_t limit,
                              Bytes& answer) {
  auto dataAt = [&](size_t i) { return htonl(list[i]); };
  records(query, LDNS_RR_TYPE_A, list.size(), limit, dataAt, answer);
}

void MessageWriter::addresses(const Query& query, const std::vector<Ipv4>& list,
                              const Ipv6Twins& twins, size_t limit, Bytes& answer) {
  auto dataAt = [&](size_t i) { return twins.of(list[i]); };
  records(query, LDNS_RR_TYPE_AAAA, list.size(), limit, dataAt, answer);
}

void MessageWriter::owner(const Query& query, const std::string& name, Bytes& answer) {
  auto packet = begin(query, Rcode::NOERROR);
  auto* target = ldns_dname_new_frm_str(name.c_str());
  if (target != nullptr) {
    auto* made = record(query, LDNS_RR_TYPE_PTR);
    ldns_rr_push_rdf(made, target);
    ldns_pkt_push_rr(packet.get(), LDNS_SECTION_ANSWER, made);
  }
  finish(packet, answer);
}

void MessageWriter::empty(const Query& query, Rcode code, Bytes& answer) {
  if (query.packet == nullptr) {
    answer = refusalOf(query.message, code);
    return;
  }
  finish(begin(query, code), answer);
}

uint16_t idOf(Message message) { return at(message, 0); }
void setId(Bytes& message, uint16_t id) {
  message[0] = id >> 8;
  message[1] = id & 0xff;
}
Rcode rcodeOf(Message message) { return static_cast<Rcode>(message[3] & RCODE); }
bool isTruncated(Message message) { return (message[2] & TRUNCATED) != 0; }

size_t questionEnd(Message message) {
  if (message.size() < HEADER_BYTES || at(message, COUNTS) != 1) return 0;
  size_t i = HEADER_BYTES;
  while (i < message.size() && message[i] != 0) {
    if (message[i] > LONGEST_LABEL) return 0;
    i += message[i] + 1u;
  }
  size_t end = i + 1 + TYPE_AND_CLASS;
  return end <= message.size() && i - HEADER_BYTES < LDNS_MAX_DOMAINLEN ? end : 0;
}

bool answers(Message message, Message query) {
  if (message.size() < HEADER_BYTES || (message[2] & IS_ANSWER) == 0) return false;
  if (idOf(message) != idOf(query)) return false;
  // Some servers refuse without repeating the question.
  if (at(message, COUNTS) == 0) return rcodeOf(message) != Rcode::NOERROR;
  size_t end = questionEnd(query);
  if (end == 0 || questionEnd(message) != end) return false;
  return std::equal(message.begin() + HEADER_BYTES, message.begin() + end,
                    query.begin() + HEADER_BYTES,
                    [](uint8_t a, uint8_t b) { return std::tolower(a) == std::tolower(b); });
}

Bytes refusalOf(Message query, Rcode code) {
  size_t end = questionEnd(query);
  Bytes answer(query.begin(), query.begin() + std::max(end, HEADER_BYTES));
  answer[2] = IS_ANSWER | (query[2] & (OPCODE | WANTS_RECURSION));
  answer[3] = RECURSION_AVAILABLE | static_cast<uint8_t>(code);
  std::fill(answer.begin() + COUNTS, answer.begin() + HEADER_BYTES, 0);
  if (end != 0) answer[COUNTS + 1] = 1;
  return answer;
}

uint32_t lifeOf(Message answer) {
  std::unique_ptr<ldns_pkt, decltype(&ldns_pkt_free)> packet(parse(answer), ldns_pkt_free);
  if (packet == nullptr) return 0;
  uint32_t life = UINT32_MAX;
  auto shorten = [&](ldns_rr_list* list) {
    for (size_t i = 0; i < ldns_rr_list_rr_count(list); ++i) {
      auto* one = ldns_rr_list_rr(list, i);
      life = std::min(life, ldns_rr_ttl(one));
      auto* minimum = ldns_rr_get_type(one) == LDNS_RR_TYPE_SOA ? ldns_rr_rdf(one, 6) : nullptr;
      if (minimum != nullptr) life = std::min(life, ldns_rdf2native_int32(minimum));
    }
  };
  shorten(ldns_pkt_answer(packet.get()));
  if (life == UINT32_MAX || rcodeOf(answer) == Rcode::NXDOMAIN) {
    shorten(ldns_pkt_authority(packet.get()));
  }
  shorten(ldns_pkt_additional(packet.get()));
  return life == UINT32_MAX ? 0 : life;
}

Bytes aged(Message answer, uint32_t seconds) {
  std::unique_ptr<ldns_pkt, decltype(&ldns_pkt_free)> packet(parse(answer), ldns_pkt_free);
  if (packet == nullptr) return {};
  for (auto* list : {ldns_pkt_answer(packet.get()), ldns_pkt_authority(packet.get()),
                     ldns_pkt_additional(packet.get())}) {
    for (size_t i = 0; i < ldns_rr_list_rr_count(list); ++i) {
      auto* one = ldns_rr_list_rr(list, i);
      ldns_rr_set_ttl(one, ldns_rr_ttl(one) - std::min(ldns_rr_ttl(one), seconds));
    }
  }
  uint8_t* wire = nullptr;
  size_t size = 0;
  if (ldns_pkt2wire(&wire, packet.get(), &size) != LDNS_STATUS_OK) return {};
  Bytes result(wire, wire + size);
  free(wire);
  return result;
}

}  // namespace orch::network::dns
