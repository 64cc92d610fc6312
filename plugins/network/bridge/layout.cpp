#include "layout.h"

#include "lib/names.h"
#include "lib/rtnetlink.h"
#include "orch/fail.h"

namespace orch::network::bridge {

namespace {

constexpr uint8_t WIDEST_PREFIX = 8;
constexpr uint8_t NARROWEST_PREFIX = 29;
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
  return layout;
}

}  // namespace orch::network::bridge
