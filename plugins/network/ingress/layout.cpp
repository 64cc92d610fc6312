#include "layout.h"

#include "lib/kernel-switch.h"
#include "lib/names.h"
#include "lib/rtnetlink.h"
#include "orch/fail.h"

namespace orch::network::ingress {

Layout layoutOf(Config::Reader settings, const NodeFacts& node) {
  Layout layout;
  layout.folder = kj::str(node.runDir, "/", node.instance).cStr();
  layout.table = nameOf("table", settings.getTable(), LONGEST_TABLE_NAME);
  layout.device = nameOf("device", settings.getDevice(), MAX_LINK_NAME);
  layout.dataPort = settings.getDataPort();
  layout.ipv6 = hasIpv6();
  if (settings.getAddress().size() == 0) return layout;
  layout.address = parseIpv4(settings.getAddress());
  if (!layout.address || *layout.address == 0) {
    fail(kj::str("'address' cannot be '", settings.getAddress(),
                 "': it must be an IPv4 address of this host, as in 192.168.0.10"));
  }
  return layout;
}

}  // namespace orch::network::ingress
