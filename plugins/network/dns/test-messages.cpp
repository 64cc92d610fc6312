#include "test-messages.h"

#include <arpa/inet.h>
#include <kj/debug.h>
#include <ldns/ldns.h>

#include <sstream>

namespace orch::network::dns {

namespace {
void put16(Bytes& to, uint16_t value) {
  to.push_back(value >> 8);
  to.push_back(value & 0xff);
}
}  // namespace

Bytes queryOf(const std::string& name, uint16_t type, uint16_t edns, uint16_t id) {
  Bytes query;
  put16(query, id);
  put16(query, 0x0100);  // recursion desired
  for (uint16_t count : {1, 0, 0, edns > 0 ? 1 : 0}) put16(query, count);
  std::istringstream labels(name);
  for (std::string label; std::getline(labels, label, '.');) {
    query.push_back(label.size());
    query.insert(query.end(), label.begin(), label.end());
  }
  query.push_back(0);
  put16(query, type);
  put16(query, 1);
  if (edns > 0) {
    query.push_back(0);
    for (uint16_t field : {uint16_t(41), edns, uint16_t(0), uint16_t(0), uint16_t(0)})
      put16(query, field);
  }
  return query;
}

Answer read(const Bytes& message) {
  Answer answer;
  ldns_pkt* parsed = nullptr;
  if (ldns_wire2pkt(&parsed, message.data(), message.size()) != LDNS_STATUS_OK) return answer;
  std::unique_ptr<ldns_pkt, decltype(&ldns_pkt_free)> packet(parsed, ldns_pkt_free);
  if (!ldns_pkt_qr(parsed)) return answer;
  answer.id = ldns_pkt_id(parsed);
  answer.code = ldns_pkt_get_rcode(parsed) + 16 * ldns_pkt_edns_extended_rcode(parsed);
  answer.truncated = ldns_pkt_tc(parsed);
  answer.edns = ldns_pkt_edns(parsed);
  answer.bytes = message.size();
  auto* records = ldns_pkt_answer(parsed);
  for (size_t i = 0; i < ldns_rr_list_rr_count(records); ++i) {
    auto* record = ldns_rr_list_rr(records, i);
    answer.ttl = ldns_rr_ttl(record);
    std::unique_ptr<char, decltype(&free)> text(ldns_rdf2str(ldns_rr_rdf(record, 0)), free);
    answer.found.push_back(text.get());
  }
  return answer;
}

Bytes answerOf(Message query, const std::vector<std::string>& addresses, uint32_t ttl) {
  size_t end = questionEnd(query);
  KJ_REQUIRE(end > 0);
  Bytes answer(query.begin(), query.begin() + end);
  answer[2] |= 0x80;
  answer[3] |= 0x80;
  answer[7] = addresses.size();
  answer[11] = 0;
  for (auto& text : addresses) {
    for (uint16_t field : {0xc00c, 1, 1}) put16(answer, field);
    put16(answer, ttl >> 16);
    put16(answer, ttl & 0xffff);
    put16(answer, 4);
    in_addr address;
    KJ_REQUIRE(inet_pton(AF_INET, text.c_str(), &address) == 1);
    auto* bytes = reinterpret_cast<uint8_t*>(&address);
    answer.insert(answer.end(), bytes, bytes + sizeof(address));
  }
  return answer;
}

void write(const Told& told, schema::NetworkChange::Builder change) {
  change.setComplete(told.complete);
  auto networks = change.initNetworks(told.networks.size());
  for (size_t i = 0; i < told.networks.size(); ++i) {
    networks[i].initMeta().setId(told.networks[i].id.c_str());
    networks[i].setName(told.networks[i].name.c_str());
    networks[i].setSubnet(told.networks[i].subnet.c_str());
    networks[i].setSubnet6(told.networks[i].subnet6.c_str());
  }
  auto peers = change.initPeers(told.peers.size());
  for (size_t i = 0; i < told.peers.size(); ++i) {
    peers[i].setNetwork(told.peers[i].network.c_str());
    peers[i].setTaskId(told.peers[i].taskId.c_str());
    peers[i].setServiceId(told.peers[i].serviceId.c_str());
    peers[i].setName(told.peers[i].name.c_str());
    peers[i].setAddress(told.peers[i].address.c_str());
    peers[i].setServing(told.peers[i].serving);
  }
  auto services = change.initServices(told.services.size());
  for (size_t i = 0; i < told.services.size(); ++i) {
    auto& service = told.services[i];
    services[i].setNetwork(service.network.c_str());
    services[i].setServiceId(service.serviceId.c_str());
    services[i].setName(service.name.c_str());
    services[i].setAddress(service.address.c_str());
    auto aliases = services[i].initAliases(service.aliases.size());
    for (size_t j = 0; j < service.aliases.size(); ++j) aliases.set(j, service.aliases[j].c_str());
  }
  auto networksGone = change.initGoneNetworks(told.goneNetworks.size());
  for (size_t i = 0; i < told.goneNetworks.size(); ++i) {
    networksGone.set(i, told.goneNetworks[i].c_str());
  }
  auto writeMembers = [](auto& from, auto to) {
    for (size_t i = 0; i < from.size(); ++i) {
      to[i].setNetwork(from[i].network.c_str());
      to[i].setId(from[i].id.c_str());
    }
  };
  writeMembers(told.gonePeers, change.initGonePeers(told.gonePeers.size()));
  writeMembers(told.goneServices, change.initGoneServices(told.goneServices.size()));
}

Told mynet() {
  Told told;
  told.complete = true;
  told.networks = {{"n1", "mynet", "10.0.1.0/24"}};
  told.services = {{"n1", "s-web", "web", "10.0.1.2", {"www"}}, {"n1", "s-db", "db", "", {}}};
  told.peers = {{"n1", "t1", "s-web", "web.1", "10.0.1.11"},
                {"n1", "t2", "s-web", "web.2", "10.0.1.12"},
                {"n1", "t3", "s-web", "web.3", "10.0.1.13", false},
                {"n1", "d1", "s-db", "db.1", "10.0.1.21"},
                {"n1", "d2", "s-db", "db.2", "10.0.1.22"},
                {"n1", "d3", "s-db", "db.3", "10.0.1.23"}};
  return told;
}

}  // namespace orch::network::dns
