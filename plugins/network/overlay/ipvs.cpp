#include "ipvs.h"

#include <arpa/inet.h>
#include <errno.h>
#include <kj/debug.h>
#include <libmnl/libmnl.h>
#include <linux/ip_vs.h>
#include <string.h>

#include "lib/generic-netlink.h"

namespace orch::network::overlay {

namespace {
constexpr size_t ADDRESS_BYTES = 16;  // of either family, zeroes behind an IPv4 one
constexpr uint32_t WHOLE_ADDRESS = 0xffffffff;
constexpr uint32_t WHOLE_ADDRESS6 = 128;  // of IPv6 it is a length

void putU16(NetlinkMessage& message, uint16_t type, uint16_t value) {
  message.put(type, &value, sizeof(value));
}

struct Row {
  uint32_t mark = 0;
  uint16_t addressFamily = 0;
  IpvsService service;
};
Row rowOf(const nlattr* service) {
  Row row;
  uint32_t flags = 0, timeout = 0;
  for (auto* attribute : NetlinkAttributes(service)) {
    uint16_t type = mnl_attr_get_type(attribute);
    if (type == IPVS_SVC_ATTR_AF) row.addressFamily = valueOf<uint16_t>(attribute);
    if (type == IPVS_SVC_ATTR_FWMARK) row.mark = valueOf<uint32_t>(attribute);
    if (type == IPVS_SVC_ATTR_SCHED_NAME) row.service.scheduling.scheduler = textOf(attribute);
    if (type == IPVS_SVC_ATTR_FLAGS) flags = valueOf<ip_vs_flags>(attribute).flags;
    if (type == IPVS_SVC_ATTR_TIMEOUT) timeout = valueOf<uint32_t>(attribute);
  }
  if (flags & IP_VS_SVC_F_PERSISTENT) row.service.scheduling.persistenceS = timeout;
  return row;
}

struct DestinationRow {
  Ipv4 address = 0;
  IpvsDestination destination;
};
DestinationRow destinationRowOf(const nlattr* destination, const AddressKind& kind) {
  DestinationRow row;
  for (auto* attribute : NetlinkAttributes(destination)) {
    switch (mnl_attr_get_type(attribute)) {
      case IPVS_DEST_ATTR_ADDR:
        row.address = kind.isIpv6() ? kind.twins()->ownerOf(valueOf<Ipv6>(attribute)).value_or(0)
                                    : ntohl(valueOf<uint32_t>(attribute));
        break;
      case IPVS_DEST_ATTR_WEIGHT:
        row.destination.weight = valueOf<uint32_t>(attribute);
        break;
      case IPVS_DEST_ATTR_ACTIVE_CONNS:
      case IPVS_DEST_ATTR_INACT_CONNS:
        row.destination.connections += valueOf<uint32_t>(attribute);
        break;
      default:
        break;
    }
  }
  return row;
}

template <typename Take>
void forEach(const nlmsghdr* answer, uint16_t wanted, Take&& take) {
  for (auto* attribute : genericAttributes(answer)) {
    if (mnl_attr_get_type(attribute) == wanted) take(attribute);
  }
}

uint16_t addressFamilyOf(const AddressKind& kind) { return kind.isIpv6() ? AF_INET6 : AF_INET; }
}  // namespace

bool Ipvs::isThere() {
  NetlinkSocket socket(NETLINK_GENERIC);
  return genericFamily(socket, IPVS_GENL_NAME).has_value();
}

Ipvs::Ipvs(const AddressKind& kind) : kind(kind), socket(NETLINK_GENERIC) {
  auto found = genericFamily(socket, IPVS_GENL_NAME);
  KJ_REQUIRE(found.has_value(), "this kernel has no IPVS; load ip_vs, or set another balancer");
  family = *found;
}

NetlinkMessage Ipvs::request(uint8_t command, uint16_t flags, kj::String what) const {
  return newGeneric(family, IPVS_GENL_VERSION, command, flags, kj::mv(what));
}

// IPVS wants to know the family of each service: a mark may have one of each.
void Ipvs::putService(NetlinkMessage& message, uint32_t mark) const {
  putU16(message, IPVS_SVC_ATTR_AF, addressFamilyOf(kind));
  message.putU32(IPVS_SVC_ATTR_FWMARK, mark);
}

NetlinkMessage Ipvs::serviceRequest(uint8_t command, uint32_t mark,
                                    const IpvsScheduling& scheduling, kj::StringPtr verb) const {
  auto message =
      request(command, 0, kj::str("cannot ", verb, " the IPVS service of the mark ", mark));
  auto open = message.nest(IPVS_CMD_ATTR_SERVICE | NLA_F_NESTED);
  putService(message, mark);
  if (!scheduling.scheduler.empty()) {
    message.putText(IPVS_SVC_ATTR_SCHED_NAME, scheduling.scheduler.c_str());
    ip_vs_flags flags = {0, ~0u};
    if (scheduling.persistenceS > 0) flags.flags |= IP_VS_SVC_F_PERSISTENT;
    // Whom the hash gives to a task that is about to go, is given to another one.
    if (scheduling.scheduler == "sh") flags.flags |= IP_VS_SVC_F_SCHED_SH_FALLBACK;
    message.put(IPVS_SVC_ATTR_FLAGS, &flags, sizeof(flags));
    message.putU32(IPVS_SVC_ATTR_TIMEOUT, scheduling.persistenceS);
    message.putU32(IPVS_SVC_ATTR_NETMASK, kind.isIpv6() ? WHOLE_ADDRESS6 : WHOLE_ADDRESS);
  }
  message.endNest(open);
  return message;
}

NetlinkMessage Ipvs::newService(uint32_t mark, const IpvsScheduling& scheduling) const {
  return serviceRequest(IPVS_CMD_NEW_SERVICE, mark, scheduling, "make");
}
NetlinkMessage Ipvs::setService(uint32_t mark, const IpvsScheduling& scheduling) const {
  return serviceRequest(IPVS_CMD_SET_SERVICE, mark, scheduling, "change");
}
NetlinkMessage Ipvs::deleteService(uint32_t mark) const {
  return serviceRequest(IPVS_CMD_DEL_SERVICE, mark, {}, "delete");
}

NetlinkMessage Ipvs::destinationRequest(uint8_t command, uint32_t mark, Ipv4 address,
                                        uint32_t weight, kj::StringPtr verb) const {
  auto message = request(command, 0,
                         kj::str("cannot ", verb, " the destination ", kind.text(address),
                                 " of the IPVS service of the mark ", mark));
  auto open = message.nest(IPVS_CMD_ATTR_SERVICE | NLA_F_NESTED);
  putService(message, mark);
  message.endNest(open);
  open = message.nest(IPVS_CMD_ATTR_DEST | NLA_F_NESTED);
  putU16(message, IPVS_DEST_ATTR_ADDR_FAMILY, addressFamilyOf(kind));
  uint8_t bytes[ADDRESS_BYTES] = {};
  auto key = kind.key(address);
  memcpy(bytes, key.data(), key.size());
  message.put(IPVS_DEST_ATTR_ADDR, bytes, sizeof(bytes));
  putU16(message, IPVS_DEST_ATTR_PORT, 0);  // that of the packet
  message.putU32(IPVS_DEST_ATTR_FWD_METHOD, IP_VS_CONN_F_MASQ);
  message.putU32(IPVS_DEST_ATTR_WEIGHT, weight);
  message.putU32(IPVS_DEST_ATTR_U_THRESH, 0);
  message.putU32(IPVS_DEST_ATTR_L_THRESH, 0);
  message.endNest(open);
  return message;
}

NetlinkMessage Ipvs::newDestination(uint32_t mark, Ipv4 address, uint32_t weight) const {
  return destinationRequest(IPVS_CMD_NEW_DEST, mark, address, weight, "add");
}
NetlinkMessage Ipvs::setDestination(uint32_t mark, Ipv4 address, uint32_t weight) const {
  return destinationRequest(IPVS_CMD_SET_DEST, mark, address, weight, "change");
}
NetlinkMessage Ipvs::deleteDestination(uint32_t mark, Ipv4 address) const {
  return destinationRequest(IPVS_CMD_DEL_DEST, mark, address, 0, "take away");
}

void Ipvs::run(std::vector<NetlinkMessage>& messages) {
  if (!messages.empty()) socket.run(kj::arrayPtr(messages.data(), messages.size()));
}

// There is no list of them: a service is made with it, and deleted.
bool Ipvs::hasScheduler(const std::string& scheduler) {
  constexpr uint32_t UNUSED_MARK = ~0u;  // no virtual address's
  auto known = schedulers.find(scheduler);
  if (known != schedulers.end()) return known->second;
  auto make = newService(UNUSED_MARK, {scheduler, 0});
  int error = socket.attempt(make);
  auto undo = deleteService(UNUSED_MARK);
  if (error == 0) socket.run(undo);
  return schedulers[scheduler] = error != ENOENT;
}

void Ipvs::removeServices() {
  std::vector<NetlinkMessage> messages;
  for (auto& entry : table()) messages.push_back(deleteService(entry.first));
  run(messages);
}

void Ipvs::setTcpIdleTime(uint32_t seconds) {
  auto message = request(IPVS_CMD_SET_CONFIG, 0, kj::str("cannot set IPVS's time-outs"));
  message.putU32(IPVS_CMD_ATTR_TIMEOUT_TCP, seconds);
  socket.run(message);
}

std::map<Ipv4, IpvsDestination> Ipvs::destinations(uint32_t mark) {
  std::map<Ipv4, IpvsDestination> found;
  for (;;) {
    auto message = request(IPVS_CMD_GET_DEST, NLM_F_DUMP,
                           kj::str("cannot list the IPVS service of the mark ", mark));
    auto open = message.nest(IPVS_CMD_ATTR_SERVICE | NLA_F_NESTED);
    putService(message, mark);
    message.endNest(open);
    found.clear();
    bool whole = socket.dump(message, [&](const nlmsghdr* answer) {
      forEach(answer, IPVS_CMD_ATTR_DEST, [&](const nlattr* attribute) {
        auto row = destinationRowOf(attribute, kind);
        found[row.address] = row.destination;
      });
    });
    if (whole) return found;
  }
}

IpvsTable Ipvs::table() {
  IpvsTable table;
  bool whole = false;
  while (!whole) {
    auto message =
        request(IPVS_CMD_GET_SERVICE, NLM_F_DUMP, kj::str("cannot list the services of IPVS"));
    table.clear();
    whole = socket.dump(message, [&](const nlmsghdr* answer) {
      forEach(answer, IPVS_CMD_ATTR_SERVICE, [&](const nlattr* attribute) {
        auto row = rowOf(attribute);
        bool ours = row.mark != 0 && row.addressFamily == addressFamilyOf(kind);
        if (ours) table[row.mark] = row.service;
      });
    });
  }
  for (auto& [mark, service] : table) service.destinations = destinations(mark);
  return table;
}

}  // namespace orch::network::overlay
