#include "lib/generic-netlink.h"

#include <libmnl/libmnl.h>
#include <linux/genetlink.h>

namespace orch::network {

NetlinkMessage newGeneric(uint16_t family, uint8_t version, uint8_t command, uint16_t flags,
                          kj::String what) {
  NetlinkMessage message(family, flags, kj::mv(what));
  auto& head = message.header<genlmsghdr>();
  head.cmd = command;
  head.version = version;
  return message;
}

NetlinkAttributes genericAttributes(const nlmsghdr* answer) {
  return NetlinkAttributes(answer, sizeof(genlmsghdr));
}

std::optional<uint16_t> genericFamily(NetlinkSocket& socket, kj::StringPtr name) {
  constexpr uint8_t CONTROL_VERSION = 2;  // of the kernel's genl_ctrl
  auto message = newGeneric(GENL_ID_CTRL, CONTROL_VERSION, CTRL_CMD_GETFAMILY, 0,
                            kj::str("cannot look up the netlink family '", name, "'"));
  message.putText(CTRL_ATTR_FAMILY_NAME, name);
  std::optional<uint16_t> family;
  socket.find(message, [&](const nlmsghdr* answer) {
    for (auto* attribute : genericAttributes(answer)) {
      if (mnl_attr_get_type(attribute) == CTRL_ATTR_FAMILY_ID) {
        family = valueOf<uint16_t>(attribute);
      }
    }
  });
  return family;
}

}  // namespace orch::network
