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

// So long an address rests that somebody gave back: clients may know it by its old owner's name
// (names are good for 5 s), and other hosts where that was.
inline constexpr int64_t ADDRESS_REST_NS = 10'000'000'000;
// What is stored of it may be so much older than it is: else each removal would write it.
inline constexpr int64_t RELEASE_GRAIN_NS = 1'000'000'000;

// Whether published ports of the whole cluster lead to it.
bool isServing(const TaskReader& task);

// `10.0.1.5` of `10.0.1.5/24`.
std::string addressOf(schema::Leg::Reader leg);
// The same of IPv6; empty: it has none.
std::string address6Of(schema::Leg::Reader leg);

// `ip` of a node's `ip:port`; empty unless it is IPv4, which VXLAN needs here.
std::optional<Ipv4> hostOf(schema::Node::Reader node);

class NetworkIndex final {
 public:
  // What is given back from now on was so then; 0: nobody knows when.
  int64_t nowNs = 0;
  void count(schema::Network::Reader network, int sign);
  // Its virtual addresses.
  void count(schema::Service::Reader service, int sign);
  // Its legs, until it has ended; its published ports, while it runs.
  void count(const TaskReader& task, int sign);

  // It is gone for good.
  void forget(const std::string& network);
  // The whole state was loaded: what an earlier manager saw given back rests on.
  void loaded(schema::Network::Reader network, int64_t atNs);

  struct Newest {
    int64_t atNs = 0;
    Ipv4 address = 0;
  };
  std::map<std::string, std::map<std::string, int64_t>, std::less<>> byName;  // name, id
  using Held = std::map<Ipv4, int64_t>;           // how many have it: one, or none any more
  std::map<std::string, Held, std::less<>> held;  // by id
  // The task's that was made last, by network: what is given next comes after it, so that an
  // address rests for as long as the range allows.
  std::map<std::string, Newest, std::less<>> newest;
  // When an address was given back that nobody has now, by network. Those that have rested are
  // dropped some time.
  struct Released {
    std::map<Ipv4, int64_t> atNs;
    size_t pruneAt = 64;  // when it is so large
    int64_t allAtNs = 0;  // any that nobody has may have been, by then
  };
  std::map<std::string, Released, std::less<>> released;
  // Tasks that take new connections by published ports of the whole cluster: how many, by node and
  // portKey.
  std::map<std::string, std::map<uint32_t, int64_t>, std::less<>> serving;
  // Tasks with a leg that have not ended, by network and node.
  std::map<std::string, std::map<std::string, std::set<std::string>>, std::less<>> members;

 private:
  void countPorts(const TaskReader& task, int sign);
  void countAddress(std::string_view network, std::string_view address, int sign);
  void release(std::string_view network, Ipv4 address, int64_t atNs);
};

}  // namespace orch::control::manager
