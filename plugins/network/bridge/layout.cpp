#include "layout.h"

#include "lib/names.h"
#include "lib/rtnetlink.h"
#include "orch/fail.h"

namespace orch::network::bridge {

namespace {

constexpr uint8_t WIDEST_PREFIX = 8;
constexpr uint8_t NARROWEST_PREFIX = 29;
constexpr size_t MAX_TABLE_NAME = 64;

bool isName(kj::StringPtr text, size_t longest) {
  if (text.size() == 0 || text.size() > longest) return false;
  for (char c : text) {
    bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '_' || c == '-' || c == '.';
    if (!ok) return false;
  }
  return text[0] != '.' && text[0] != '-';
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

  auto bridge = settings.getBridge();
  if (!isName(bridge, MAX_LINK_NAME)) {
    fail(kj::str("'bridge' cannot be '", bridge,
                 "': it must be 1 to 15 characters of a-z, A-Z, 0-9, '_', '-' and '.'"));
  }
  layout.bridge = bridge.cStr();
  auto table = settings.getTable();
  if (!isName(table, MAX_TABLE_NAME)) {
    fail(kj::str("'table' cannot be '", table,
                 "': it must be 1 to 64 characters of a-z, A-Z, 0-9, '_', '-' and '.'"));
  }
  layout.table = table.cStr();
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
