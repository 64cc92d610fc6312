// Queries as clients write them, answers as they read them, and what a node is told, written short.
#pragma once

#include <string>
#include <vector>

#include "message.h"
#include "orch/schema/network.capnp.h"

namespace orch::network::dns {

constexpr uint16_t A = TYPE_A, PTR = TYPE_PTR, ANY = TYPE_ANY, MX = 15, AAAA = 28;

// `edns`: the size that the client takes; 0: it knows no EDNS.
Bytes queryOf(const std::string& name, uint16_t type = A, uint16_t edns = 0, uint16_t id = 7);

struct Answer {
  uint16_t id = 0;
  int code = -1;  // -1: there is none, or it cannot be read
  bool truncated = false;
  bool edns = false;
  size_t bytes = 0;
  uint32_t ttl = 0;                // of its last record
  std::vector<std::string> found;  // addresses, or names
  // Of a name that is there and has nothing of the type.
  bool isEmpty() const { return code == 0 && found.empty() && !truncated; }
};
Answer read(const Bytes& message);
// What a server answers to `query`: these addresses, for so many seconds.
Bytes answerOf(Message query, const std::vector<std::string>& addresses, uint32_t ttl = 60);

struct ToldNetwork {
  std::string id, name, subnet;
  std::string subnet6 = "";
};
struct ToldPeer {
  std::string network, taskId, serviceId, name, address;
  bool serving = true;
};
struct ToldService {
  std::string network, serviceId, name, address;
  std::vector<std::string> aliases;
};
struct ToldMember {
  std::string network, id;
};
struct Told {
  bool complete = false;
  std::vector<ToldNetwork> networks;
  std::vector<ToldPeer> peers;
  std::vector<ToldService> services;
  std::vector<std::string> goneNetworks;
  std::vector<ToldMember> gonePeers, goneServices;
};
void write(const Told& told, schema::NetworkChange::Builder change);

// The network `n1`, called mynet, 10.0.1.0/24: service web (10.0.1.2) with two serving tasks and
// one that starts, service db of three tasks without a virtual address.
Told mynet();

}  // namespace orch::network::dns
