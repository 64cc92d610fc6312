#include "lib/nft-content.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <netinet/in.h>
#include <string.h>

#include <set>

#include "lib/ipv6.h"

namespace orch::network {

namespace {

constexpr int CONTENT_TRIES = 10;

std::string rawOf(const nlattr* attribute) {
  return std::string(static_cast<const char*>(mnl_attr_get_payload(attribute)),
                     mnl_attr_get_payload_len(attribute));
}
uint32_t numberOf(const nlattr* attribute) { return ntohl(valueOf<uint32_t>(attribute)); }

std::string wordOf(int32_t verdict) {
  if (verdict == NFT_GOTO) return "goto ";
  if (verdict == NFT_JUMP) return "jump ";
  return verdict == NF_DROP ? "drop" : verdict == NF_ACCEPT ? "accept" : std::to_string(verdict);
}

// Of NFTA_SET_ELEM_KEY and _DATA, and of an expression's constant: the bytes, or the chain.
std::string dataOf(const nlattr* data) {
  std::string value;
  for (auto* part : NetlinkAttributes(data)) {
    if (mnl_attr_get_type(part) == NFTA_DATA_VALUE) value = rawOf(part);
    if (mnl_attr_get_type(part) != NFTA_DATA_VERDICT) continue;
    for (auto* inner : NetlinkAttributes(part)) {
      auto type = mnl_attr_get_type(inner);
      if (type == NFTA_VERDICT_CHAIN) value += textOf(inner);
      if (type == NFTA_VERDICT_CODE) value += wordOf(static_cast<int32_t>(numberOf(inner)));
    }
  }
  return value;
}

// Of an expression what tells it from others of its name, if that is told by the kernel as it was
// told to it.
std::string detailOf(const std::string& name, const nlattr* data) {
  std::string detail;
  for (auto* part : NetlinkAttributes(data)) {
    auto type = mnl_attr_get_type(part);
    if (name == "lookup" && type == NFTA_LOOKUP_SET) detail += textOf(part);
    if (name == "cmp" && type == NFTA_CMP_DATA) detail += dataOf(part);
    if (name == "immediate" && type == NFTA_IMMEDIATE_DATA) detail += dataOf(part);
    bool number = (name == "numgen" && type == NFTA_NG_MODULUS) ||
                  (name == "hash" && type == NFTA_HASH_MODULUS) ||
                  (name == "meta" && type == NFTA_META_KEY) ||
                  (name == "ct" && type == NFTA_CT_KEY);
    if (number) detail += std::to_string(numberOf(part));
  }
  return detail;
}

std::string ruleOf(const nlattr* expressions) {
  std::string rule;
  for (auto* element : NetlinkAttributes(expressions)) {
    std::string name;
    const nlattr* data = nullptr;
    for (auto* part : NetlinkAttributes(element)) {
      if (mnl_attr_get_type(part) == NFTA_EXPR_NAME) name = textOf(part);
      if (mnl_attr_get_type(part) == NFTA_EXPR_DATA) data = part;
    }
    rule += name + "(" + (data == nullptr ? "" : detailOf(name, data)) + ")";
  }
  return rule;
}

std::string hookOf(const nlattr* hook) {
  uint32_t point = 0;
  int32_t priority = 0;
  for (auto* part : NetlinkAttributes(hook)) {
    if (mnl_attr_get_type(part) == NFTA_HOOK_HOOKNUM) point = numberOf(part);
    if (mnl_attr_get_type(part) == NFTA_HOOK_PRIORITY) priority = int32_t(numberOf(part));
  }
  return "hook " + std::to_string(point) + " priority " + std::to_string(priority);
}

void readSet(const nlmsghdr* message, NftContent& content) {
  std::string name;
  NftContent::Set set;
  for (auto* part : NetlinkAttributes(message, sizeof(nfgenmsg))) {
    auto type = mnl_attr_get_type(part);
    if (type == NFTA_SET_NAME) name = textOf(part);
    if (type == NFTA_SET_KEY_TYPE) set.keyType = numberOf(part);
    if (type == NFTA_SET_DATA_TYPE) set.dataType = numberOf(part);
    if (type == NFTA_SET_FLAGS)
      set.timed = (numberOf(part) & (NFT_SET_EVAL | NFT_SET_TIMEOUT)) != 0;
  }
  content.sets[name] = std::move(set);
}

void readElements(const nlmsghdr* message, NftContent& content) {
  std::string name;
  std::map<std::string, std::string> values;
  for (auto* part : NetlinkAttributes(message, sizeof(nfgenmsg))) {
    auto type = mnl_attr_get_type(part);
    if (type == NFTA_SET_ELEM_LIST_SET) name = textOf(part);
    if (type != NFTA_SET_ELEM_LIST_ELEMENTS) continue;
    for (auto* element : NetlinkAttributes(part)) {
      std::string key, value;
      for (auto* inner : NetlinkAttributes(element)) {
        if (mnl_attr_get_type(inner) == NFTA_SET_ELEM_KEY) key = dataOf(inner);
        if (mnl_attr_get_type(inner) == NFTA_SET_ELEM_DATA) value = dataOf(inner);
      }
      values[key] = value;
    }
  }
  content.sets[name].values.merge(values);
}

void readChain(const nlmsghdr* message, NftContent& content) {
  std::string name, hook;
  for (auto* part : NetlinkAttributes(message, sizeof(nfgenmsg))) {
    if (mnl_attr_get_type(part) == NFTA_CHAIN_NAME) name = textOf(part);
    if (mnl_attr_get_type(part) == NFTA_CHAIN_HOOK) hook = hookOf(part);
  }
  content.chains[name].hook = hook;
}

void readRule(const nlmsghdr* message, NftContent& content) {
  std::string chain, rule;
  for (auto* part : NetlinkAttributes(message, sizeof(nfgenmsg))) {
    if (mnl_attr_get_type(part) == NFTA_RULE_CHAIN) chain = textOf(part);
    if (mnl_attr_get_type(part) == NFTA_RULE_EXPRESSIONS) rule = ruleOf(part);
  }
  content.chains[chain].rules.push_back(rule);
}

// All of these have the table's name in their first attribute: NFTA_CHAIN_TABLE and so on.
bool isOf(const nlmsghdr* message, kj::StringPtr table) {
  for (auto* part : NetlinkAttributes(message, sizeof(nfgenmsg))) {
    if (mnl_attr_get_type(part) == NFTA_TABLE_NAME) return table == textOf(part).c_str();
  }
  return false;
}

// In the words of nft(8): `tcp . 8080`.
std::string shown(const std::string& bytes, uint32_t type) {
  std::vector<uint32_t> parts;
  for (; type != 0; type >>= NFT_TYPE_BITS)
    parts.insert(parts.begin(), type & ((1 << NFT_TYPE_BITS) - 1));
  std::string text;
  size_t at = 0;
  for (auto number : parts) {
    auto kind = static_cast<NftType>(number);
    if (at + sizeOf(kind) > bytes.size()) break;
    Ipv6 part = {};  // as long as any
    memcpy(part.data(), bytes.data() + at, sizeOf(kind));
    if (at > 0) text += " . ";
    at += sizeOf(kind);
    uint32_t value;
    memcpy(&value, part.data(), sizeof(value));
    switch (kind) {
      case NftType::ADDRESS6:
        text += ipv6Text(part).cStr();
        break;
      case NftType::ADDRESS:
        text += ipv4Text(ntohl(value)).cStr();
        break;
      case NftType::PORT:
        text += std::to_string(part[0] << 8 | part[1]);
        break;
      case NftType::PROTOCOL:
        text += part[0] == IPPROTO_UDP ? "udp" : "tcp";
        break;
      default:
        text += std::to_string(value);
    }
  }
  return text;
}

kj::StringPtr nameOf(NftFamily family) {
  switch (family) {
    case NftFamily::IP:
      return "ip";
    case NftFamily::IP6:
      return "ip6";
    case NftFamily::NETDEV:
      return "netdev";
    default:
      return "bridge";
  }
}

kj::String valueText(const NftContent::Set& set, const std::string& value) {
  if (set.dataType == NFT_DATA_VERDICT) return kj::str(value.c_str());
  if (value.empty()) return kj::str("present");
  return kj::str(shown(value, set.dataType).c_str());
}

void compareSet(kj::StringPtr about, const std::string& name, const NftContent::Set& expected,
                const NftContent::Set& found, Findings& findings) {
  if (expected.timed) return;
  std::set<std::string> keys;
  for (auto& [key, value] : expected.values) keys.insert(key);
  for (auto& [key, value] : found.values) keys.insert(key);
  for (auto& key : keys) {
    auto textIn = [&](auto& set) {
      auto known = set.values.find(key);
      return known == set.values.end() ? kj::str() : valueText(expected, known->second);
    };
    findings.compare(
        kj::str(about, ": element ", shown(key, expected.keyType).c_str(), " of ", name.c_str()),
        textIn(expected), textIn(found));
  }
}

kj::String chainText(const NftContent::Chain* chain, const NftContent::Chain* other) {
  if (chain == nullptr) return kj::str();
  auto text = kj::str(chain->rules.size(), chain->rules.size() == 1 ? " rule" : " rules");
  if (other == nullptr) return text;
  if (chain->hook != other->hook) {
    return kj::str(text, ", ", chain->hook.empty() ? "no hook" : chain->hook.c_str());
  }
  return text;
}

template <typename Map>
auto* findIn(Map& map, const std::string& name) {
  auto known = map.find(name);
  return known == map.end() ? nullptr : &known->second;
}

template <typename Map>
std::set<std::string> namesIn(const Map& a, const Map& b) {
  std::set<std::string> names;
  for (auto& entry : a) names.insert(entry.first);
  for (auto& entry : b) names.insert(entry.first);
  return names;
}

NetlinkMessage question(uint16_t type, kj::StringPtr table, NftFamily family, kj::StringPtr set) {
  NetlinkMessage message(NFNL_SUBSYS_NFTABLES << 8 | type, NLM_F_DUMP,
                         kj::str("cannot read the nftables table '", table, "'"));
  auto& head = message.header<nfgenmsg>();
  head.nfgen_family = uint8_t(family);
  head.version = NFNETLINK_V0;
  message.putText(NFTA_TABLE_NAME, table);
  if (set.size() > 0) message.putText(NFTA_SET_ELEM_LIST_SET, set);
  return message;
}

}  // namespace

void NftContent::read(const nlmsghdr* message, kj::StringPtr table) {
  if (message->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES || !isOf(message, table)) return;
  switch (message->nlmsg_type & 0xff) {
    case NFT_MSG_NEWSET:
      return readSet(message, *this);
    case NFT_MSG_NEWSETELEM:
      return readElements(message, *this);
    case NFT_MSG_NEWCHAIN:
      return readChain(message, *this);
    case NFT_MSG_NEWRULE:
      return readRule(message, *this);
    default:
      return;
  }
}

NftContent contentOf(const NftBatch& batch) {
  NftContent content;
  batch.each([&](const nlmsghdr* message) { content.read(message, batch.tableName()); });
  return content;
}

NftContent nftContent(NetlinkSocket& socket, kj::StringPtr table, NftFamily family) {
  for (int tries = 0;; ++tries) {
    NftContent content;
    bool whole = true;
    auto ask = [&](uint16_t type, kj::StringPtr set = ""_kj) {
      auto message = question(type, table, family, set);
      auto read = [&](const nlmsghdr* answer) { content.read(answer, table); };
      whole = socket.dump(message, read) && whole;
    };
    if (!nftTableExists(table, family)) return content;
    for (auto type : {NFT_MSG_GETSET, NFT_MSG_GETCHAIN, NFT_MSG_GETRULE}) ask(type);
    std::vector<std::string> names;
    for (auto& [name, set] : content.sets) {
      if (!set.timed) names.push_back(name);
    }
    for (auto& name : names) ask(NFT_MSG_GETSETELEM, name.c_str());
    if (whole || tries == CONTENT_TRIES) return content;
  }
}

void compareContent(kj::StringPtr about, const NftContent& expected, const NftContent& found,
                    Findings& findings) {
  const NftContent::Set none;
  for (auto& name : namesIn(expected.sets, found.sets)) {
    auto* wanted = findIn(expected.sets, name);
    auto* there = findIn(found.sets, name);
    auto word = [](auto* set) { return set == nullptr ? ""_kj : "present"_kj; };
    findings.compare(kj::str(about, ": set ", name.c_str()), word(wanted), word(there));
    if (wanted != nullptr) compareSet(about, name, *wanted, there ? *there : none, findings);
  }
  for (auto& name : namesIn(expected.chains, found.chains)) {
    auto* wanted = findIn(expected.chains, name);
    auto* there = findIn(found.chains, name);
    auto should = chainText(wanted, there);
    auto is = chainText(there, wanted);
    bool other = wanted != nullptr && there != nullptr && wanted->rules != there->rules;
    if (other && should == is) is = kj::str("others");
    findings.compare(kj::str(about, ": chain ", name.c_str()), should, is);
  }
}

void checkTable(const NftBatch& batch, Findings& findings, void (*alike)(NftContent&)) {
  NetlinkSocket socket(NETLINK_NETFILTER);
  auto family = batch.ofFamily();
  auto about = kj::str("table ", nameOf(family), " ", batch.tableName());
  auto expected = contentOf(batch);
  auto found = nftContent(socket, batch.tableName(), family);
  if (alike != nullptr) {
    alike(expected);
    alike(found);
  }
  compareContent(about, expected, found, findings);
}

}  // namespace orch::network
