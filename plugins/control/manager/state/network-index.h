// Networks by name, who has which address in them, and which tasks are on them where. Counted up
// and down like usage.h's table: one of the state, one of the differences that a pass has made so
// far.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "lib/ipv4.h"
#include "state/task-reader.h"

namespace orch::control::manager {

using network::Ipv4;

// Whether published ports of the whole cluster lead to it.
bool isServing(const TaskReader& task);

// `10.0.1.5` of `10.0.1.5/24`.
std::string addressOf(schema::Leg::Reader leg);

// `ip` of a node's `ip:port`; empty unless it is IPv4, which VXLAN needs here.
std::optional<Ipv4> hostOf(schema::Node::Reader node);

class NetworkIndex final {
 public:
  void count(schema::Network::Reader network, int sign);
  // Its virtual addresses.
  void count(schema::Service::Reader service, int sign);
  // Its legs, until it has ended; its published ports, while it runs.
  void count(const TaskReader& task, int sign);

  struct Newest {
    int64_t atNs = 0;
    Ipv4 address = 0;
  };
  std::map<std::string, std::map<std::string, int64_t>, std::less<>> byName;  // name, id
  std::map<std::string, std::map<Ipv4, int64_t>, std::less<>> held;           // by id
  // The task's that was made last, by network: what is given next comes after it, so that an
  // address rests for as long as the range allows.
  std::map<std::string, Newest, std::less<>> newest;
  // Tasks that take new connections by published ports of the whole cluster: how many, by node and
  // portKey.
  std::map<std::string, std::map<uint32_t, int64_t>, std::less<>> serving;
  // Tasks with a leg that have not ended, by network and node.
  std::map<std::string, std::map<std::string, std::set<std::string>>, std::less<>> members;

 private:
  void countPorts(const TaskReader& task, int sign);
  void countAddress(std::string_view network, std::string_view address, int sign);
};

}  // namespace orch::control::manager
