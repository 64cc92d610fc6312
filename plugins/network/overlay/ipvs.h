// IPVS, the kernel's own balancer of connections, by generic netlink: of it only services by
// firewall mark, whose destinations get each packet's own port, by rewriting its destination
// ("masquerading"; the source stays). Blocking, for one thread at a time.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "address-kind.h"
#include "lib/ipv4.h"
#include "lib/netlink.h"

namespace orch::network::overlay {

struct IpvsDestination {
  uint32_t weight = 0;       // 0: no new connections
  uint32_t connections = 0;  // when the kernel was asked
};
struct IpvsScheduling {
  std::string scheduler;  // as of ipvsadm(8): rr, wrr, lc ...; sh goes on past who has no weight
  uint32_t persistenceS = 0;  // 0: none
  bool operator==(const IpvsScheduling&) const = default;
};
struct IpvsService {
  IpvsScheduling scheduling;
  std::map<Ipv4, IpvsDestination> destinations;
};
// By mark.
using IpvsTable = std::map<uint32_t, IpvsService>;

class Ipvs final {
 public:
  // Whether the running kernel has it: built in or loaded.
  static bool isThere();

  // In the calling thread's network namespace, whichever thread uses it afterwards. Of services and
  // destinations of one kind of addresses alone.
  explicit Ipvs(const AddressKind& kind = {});
  KJ_DISALLOW_COPY(Ipvs);

  IpvsTable table();
  // Whether the kernel has it, or a module of it to load; taken for granted of rr and wrr.
  bool hasScheduler(const std::string& scheduler);
  // All services, with their connections.
  void removeServices();
  // After which a connection without a packet is forgotten.
  void setTcpIdleTime(uint32_t seconds);

  // Requests for `run`.
  NetlinkMessage newService(uint32_t mark, const IpvsScheduling& scheduling) const;
  NetlinkMessage setService(uint32_t mark, const IpvsScheduling& scheduling) const;
  // With all its destinations and connections.
  NetlinkMessage deleteService(uint32_t mark) const;
  NetlinkMessage newDestination(uint32_t mark, Ipv4 address, uint32_t weight) const;
  NetlinkMessage setDestination(uint32_t mark, Ipv4 address, uint32_t weight) const;
  NetlinkMessage deleteDestination(uint32_t mark, Ipv4 address) const;
  // All are tried, in order; fails with the first that failed.
  void run(std::vector<NetlinkMessage>& messages);

 private:
  NetlinkMessage request(uint8_t command, uint16_t flags, kj::String what) const;
  NetlinkMessage serviceRequest(uint8_t command, uint32_t mark, const IpvsScheduling& scheduling,
                                kj::StringPtr verb) const;
  NetlinkMessage destinationRequest(uint8_t command, uint32_t mark, Ipv4 address, uint32_t weight,
                                    kj::StringPtr verb) const;
  std::map<Ipv4, IpvsDestination> destinations(uint32_t mark);

  void putService(NetlinkMessage& message, uint32_t mark) const;

  AddressKind kind;
  NetlinkSocket socket;
  uint16_t family;
  std::map<std::string, bool> schedulers = {{"rr", true}, {"wrr", true}};  // whether it has them
};

}  // namespace orch::network::overlay
