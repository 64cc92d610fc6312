// Names and addresses of the networks that this node was told of. Belongs to one thread; a change
// costs what it changes, however large a network is.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "lib/ipv6.h"
#include "orch/schema/network.capnp.h"

namespace orch::network::dns {

// What DNS compares names by: ASCII letters in lower case.
std::string lowerCase(std::string_view name);

// One network. Names are in lower case.
class Zone final {
 public:
  std::string name;
  std::optional<Ipv4Subnet> subnet;
  // Of a network with IPv6; whose an address is, is known by its twin.
  std::optional<Ipv6Subnet> subnet6;
  std::optional<Ipv6Twins> twins;

  void set(schema::NetworkPeer::Reader peer);
  void set(schema::NetworkService::Reader service);
  void removePeer(const std::string& taskId);
  void removeService(const std::string& serviceId);

  // Whether the name is known. Its addresses are appended, another one first each time.
  bool find(std::string_view name, std::vector<Ipv4>& addresses);
  // Null: nobody has it.
  const std::string* nameOf(Ipv4 address) const;

 private:
  struct Peer {
    std::string name;
    std::string serviceId;
    Ipv4 address = 0;  // 0: none of IPv4
    bool serving = false;
    bool operator==(const Peer&) const = default;
  };
  struct Service {
    bool named = false;  // it was told of; else there are only tasks of it
    std::vector<std::string> names;
    Ipv4 address = 0;           // 0: none, its tasks' stand for it
    std::vector<Ipv4> serving;  // of its tasks
  };
  // What a name stands for; several may share one: an alias of two services, the old and the new
  // task of a slot.
  struct Source {
    const Service* service;  // or
    const Peer* peer;
    bool tasks;  // of the service
    bool operator==(const Source&) const = default;
  };
  struct Entry {
    std::vector<Source> sources;
    uint32_t turn = 0;
  };
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };

  void link(std::string name, Source source);
  void unlink(const std::string& name, Source source);
  void setReverse(Ipv4 address, std::string name);
  void unsetReverse(Ipv4 address, const std::string& name);
  void dropIfUnused(const std::string& serviceId);

  // Sources point into these.
  std::unordered_map<std::string, Peer> peers;
  std::unordered_map<std::string, Service> services;
  std::unordered_map<std::string, Entry, Hash, std::equal_to<>> names;
  std::unordered_multimap<Ipv4, std::string> reverse;
};

class Tables final {
 public:
  // What was known already changes nothing.
  void apply(schema::NetworkChange::Reader change);

  // In the first of the networks, by their ids, that knows the name, plain or followed by `.` and
  // the network's own. `name` is in lower case. Null: none of them does.
  const Zone* find(const std::vector<std::string>& networks, std::string_view name,
                   std::vector<Ipv4>& addresses);

  struct Reverse {
    bool inside = false;  // one of the networks has the address: nobody else knows better
    std::string name;     // whose it is: `web.1.<id>.mynet`; empty: nobody's
  };
  Reverse nameOf(const std::vector<std::string>& networks, Ipv4 address) const;
  Reverse nameOf(const std::vector<std::string>& networks, const Ipv6& address) const;

 private:
  Zone& zone(const std::string& id) { return zones[id]; }
  std::unordered_map<std::string, Zone> zones;
};

}  // namespace orch::network::dns
