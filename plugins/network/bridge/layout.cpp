#include "layout.h"

#include "lib/kernel-switch.h"
#include "lib/names.h"
#include "lib/rtnetlink.h"
#include "orch/fail.h"

namespace orch::network::bridge {

namespace {

constexpr uint8_t WIDEST_PREFIX = 8;
constexpr uint8_t NARROWEST_PREFIX = 29;
constexpr uint32_t LEAST_MTU6 = 1280;  // RFC 8200: what every link of IPv6 has

std::optional<Ipv6Twins> twinsOf(const Layout& layout, kj::StringPtr subnet6) {
  if (subnet6.size() == 0) return std::nullopt;
  auto range = parseSubnet6(subnet6);
  if (!range || range->prefix > mostPrefixFor(layout.subnet)) {
    fail(kj::str("'subnet6' cannot be '", subnet6,
                 "': it must be the first address of a network and a prefix of at most ",
                 mostPrefixFor(layout.subnet), ", as in fd6f:7263:6800::/64, or empty"));
  }
  if (!hasIpv6() || layout.mtu < LEAST_MTU6) return std::nullopt;
  return Ipv6Twins{layout.subnet, *range};
}
}  // namespace

std::string Layout::deviceOf(const std::string& taskId) const {
  return linkNameOf(DEVICE_PREFIX, bridge + "/" + taskId);
}

Layout layoutOf(Config::Reader settings, const NodeFacts& node) {
  Layout layout;
  auto instance = node.instance.asPtr();
  layout.network = "bridge";
  KJ_IF_MAYBE (hash, instance.findFirst('#')) layout.network = instance.slice(*hash + 1).cStr();
  layout.folder = kj::str(node.runDir, "/", instance).cStr();

  layout.bridge = nameOf("bridge", settings.getBridge(), MAX_LINK_NAME);
  layout.table = nameOf("table", settings.getTable(), LONGEST_TABLE_NAME);
  auto subnet = parseSubnet(settings.getSubnet());
  if (!subnet || subnet->prefix < WIDEST_PREFIX || subnet->prefix > NARROWEST_PREFIX) {
    fail(kj::str("'subnet' cannot be '", settings.getSubnet(),
                 "': it must be the first address of a network and a prefix of 8 to 29, as in "
                 "172.30.0.0/16"));
  }
  layout.subnet = *subnet;
  layout.gateway = subnet->network + 1;
  layout.mtu = settings.getMtu();
  layout.twins = twinsOf(layout, settings.getSubnet6());
  return layout;
}

}  // namespace orch::network::bridge
