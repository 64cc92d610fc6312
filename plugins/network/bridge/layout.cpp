#include "layout.h"

#include "lib/rtnetlink.h"
#include "orch/fail.h"

namespace orch::network::bridge {

namespace {

constexpr uint8_t WIDEST_PREFIX = 8;
constexpr uint8_t NARROWEST_PREFIX = 29;
constexpr size_t MAX_TABLE_NAME = 64;
constexpr size_t HASH_CHARACTERS = 13;  // of base 36: 64 bits

bool isName(kj::StringPtr text, size_t longest) {
  if (text.size() == 0 || text.size() > longest) return false;
  for (char c : text) {
    bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '_' || c == '-' || c == '.';
    if (!ok) return false;
  }
  return text[0] != '.' && text[0] != '-';
}

// FNV-1a, 64 bits: the same in every run.
uint64_t hashOf(const std::string& text) {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (unsigned char c : text) hash = (hash ^ c) * 0x100000001b3ull;
  return hash;
}

}  // namespace

std::string Layout::deviceOf(const std::string& taskId) const {
  uint64_t hash = hashOf(bridge + "/" + taskId);
  std::string name = DEVICE_PREFIX;
  for (size_t i = 0; i < HASH_CHARACTERS; ++i, hash /= 36) {
    name += "0123456789abcdefghijklmnopqrstuvwxyz"[hash % 36];
  }
  return name;
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
