#include "lib/nft-batch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <limits.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include <algorithm>
#include <set>
#include <utility>

#include "orch/fail.h"

namespace orch::network {

namespace {
// Larger than any single message here: the longest is a rule of ten expressions, below 1 KiB.
constexpr size_t MAX_MESSAGE_BYTES = 8192;
// Of the batch's first and last message, so that the steps count from 1.
constexpr uint32_t FRAME_SEQUENCE = 0;
constexpr int SO_SNDBUFFORCE_MARGIN = 1 << 16;

uint32_t typeOf(std::initializer_list<NftType> parts) {
  uint32_t type = 0;
  for (auto part : parts) type = type << NFT_TYPE_BITS | static_cast<uint32_t>(part);
  return type;
}

uint32_t sizeOf(std::initializer_list<NftType> parts) {
  uint32_t size = 0;
  for (auto part : parts) size += network::sizeOf(part);
  return size;
}

template <typename T, void (*FREE)(const T*)>
struct Deleter {
  void operator()(T* object) const { FREE(object); }
};
using Table = std::unique_ptr<nftnl_table, Deleter<nftnl_table, nftnl_table_free>>;
using Chain = std::unique_ptr<nftnl_chain, Deleter<nftnl_chain, nftnl_chain_free>>;
using Set = std::unique_ptr<nftnl_set, Deleter<nftnl_set, nftnl_set_free>>;

nftnl_set_elem* newElement(const NftBytes& key) {
  auto* element = nftnl_set_elem_alloc();
  KJ_ASSERT(element != nullptr);
  nftnl_set_elem_set(element, NFTNL_SET_ELEM_KEY, key.data(), key.size());
  return element;
}
}  // namespace

NftBytes& NftBytes::put(const void* data, size_t size) {
  size_t at = bytes.size();
  bytes.resize(at + (size + NFT_PART_BYTES - 1) / NFT_PART_BYTES * NFT_PART_BYTES);
  memcpy(bytes.data() + at, data, size);
  return *this;
}
NftBytes& NftBytes::port(uint16_t hostOrder) {
  uint16_t value = htons(hostOrder);
  return put(&value, sizeof(value));
}
NftBytes& NftBytes::address(Ipv4 hostOrder) {
  uint32_t value = htonl(hostOrder);
  return put(&value, sizeof(value));
}

// A message under construction on the stack.
struct NftBatch::Message {
  Message(NftFamily family, uint16_t type, uint16_t flags, uint32_t sequence)
      : head(nftnl_nlmsg_build_hdr(buffer, type, uint16_t(family), flags, sequence)) {}
  alignas(nlmsghdr) char buffer[MAX_MESSAGE_BYTES] = {};
  nlmsghdr* head;
};

NftBatch::NftBatch(kj::StringPtr table, NftFamily family) : table(table.cStr()), family(family) {
  mark(true);
}

void NftBatch::mark(bool begin) {
  alignas(nlmsghdr) char buffer[64] = {};
  auto* head =
      begin ? nftnl_batch_begin(buffer, FRAME_SEQUENCE) : nftnl_batch_end(buffer, FRAME_SEQUENCE);
  auto* from = reinterpret_cast<uint8_t*>(head);
  bytes.insert(bytes.end(), from, from + NLMSG_ALIGN(head->nlmsg_len));
}

void NftBatch::append(const Message& message, kj::String what) {
  KJ_ASSERT(message.head->nlmsg_len <= MAX_MESSAGE_BYTES);
  auto* from = reinterpret_cast<const uint8_t*>(message.head);
  bytes.insert(bytes.end(), from, from + NLMSG_ALIGN(message.head->nlmsg_len));
  steps.push_back(kj::mv(what));
}

NftBatch& NftBatch::addTable() {
  Table t(nftnl_table_alloc());
  nftnl_table_set_str(t.get(), NFTNL_TABLE_NAME, table.c_str());
  Message message(family, NFT_MSG_NEWTABLE, NLM_F_CREATE, steps.size() + 1);
  nftnl_table_nlmsg_build_payload(message.head, t.get());
  append(message, kj::str("add the table"));
  return *this;
}

NftBatch& NftBatch::deleteTable() {
  Table t(nftnl_table_alloc());
  nftnl_table_set_str(t.get(), NFTNL_TABLE_NAME, table.c_str());
  Message message(family, NFT_MSG_DELTABLE, 0, steps.size() + 1);
  nftnl_table_nlmsg_build_payload(message.head, t.get());
  append(message, kj::str("delete the table"));
  return *this;
}

NftBatch& NftBatch::set(kj::StringPtr name, std::initializer_list<NftType> key, uint32_t flags,
                        uint32_t valueType, uint32_t valueSize, uint32_t most) {
  Set s(nftnl_set_alloc());
  nftnl_set_set_str(s.get(), NFTNL_SET_TABLE, table.c_str());
  nftnl_set_set_str(s.get(), NFTNL_SET_NAME, name.cStr());
  nftnl_set_set_u32(s.get(), NFTNL_SET_ID, ++nextSetId);
  nftnl_set_set_u32(s.get(), NFTNL_SET_FAMILY, uint32_t(family));
  nftnl_set_set_u32(s.get(), NFTNL_SET_KEY_TYPE, typeOf(key));
  nftnl_set_set_u32(s.get(), NFTNL_SET_KEY_LEN, sizeOf(key));
  nftnl_set_set_u32(s.get(), NFTNL_SET_FLAGS, flags);
  if ((flags & NFT_SET_MAP) != 0) {
    nftnl_set_set_u32(s.get(), NFTNL_SET_DATA_TYPE, valueType);
    nftnl_set_set_u32(s.get(), NFTNL_SET_DATA_LEN, valueSize);
  }
  if (most != 0) nftnl_set_set_u32(s.get(), NFTNL_SET_DESC_SIZE, most);
  Message message(family, NFT_MSG_NEWSET, NLM_F_CREATE, steps.size() + 1);
  nftnl_set_nlmsg_build_payload(message.head, s.get());
  append(message, kj::str("add the set '", name, "'"));
  return *this;
}

NftBatch& NftBatch::addSet(kj::StringPtr name, std::initializer_list<NftType> key) {
  return set(name, key, 0, 0, 0);
}
NftBatch& NftBatch::addTimedSet(kj::StringPtr name, std::initializer_list<NftType> key,
                                uint32_t most) {
  return set(name, key, NFT_SET_TIMEOUT | NFT_SET_EVAL, 0, 0, most);
}
NftBatch& NftBatch::addMap(kj::StringPtr name, std::initializer_list<NftType> key,
                           std::initializer_list<NftType> value) {
  return set(name, key, NFT_SET_MAP, typeOf(value), sizeOf(value));
}
NftBatch& NftBatch::addTimedMap(kj::StringPtr name, std::initializer_list<NftType> key,
                                std::initializer_list<NftType> value, uint32_t most) {
  return set(name, key, NFT_SET_MAP | NFT_SET_TIMEOUT | NFT_SET_EVAL, typeOf(value), sizeOf(value),
             most);
}
NftBatch& NftBatch::addVerdictMap(kj::StringPtr name, std::initializer_list<NftType> key) {
  return set(name, key, NFT_SET_MAP, NFT_DATA_VERDICT, sizeof(nft_verdicts));
}

NftBatch& NftBatch::elements(uint16_t type, kj::StringPtr name, nftnl_set_elem* owned) {
  Set s(nftnl_set_alloc());
  if (owned != nullptr) nftnl_set_elem_add(s.get(), owned);
  nftnl_set_set_str(s.get(), NFTNL_SET_TABLE, table.c_str());
  nftnl_set_set_str(s.get(), NFTNL_SET_NAME, name.cStr());
  bool add = type == NFT_MSG_NEWSETELEM;
  Message message(family, type, add ? NLM_F_CREATE : 0, steps.size() + 1);
  nftnl_set_elems_nlmsg_build_payload(message.head, s.get());
  auto what = add ? "add an element to '" : owned ? "delete an element of '" : "empty the set '";
  append(message, kj::str(what, name, "'"));
  return *this;
}

NftBatch& NftBatch::addElement(kj::StringPtr name, const NftBytes& key) {
  return elements(NFT_MSG_NEWSETELEM, name, newElement(key));
}
NftBatch& NftBatch::addElement(kj::StringPtr name, const NftBytes& key, const NftBytes& value) {
  auto* e = newElement(key);
  nftnl_set_elem_set(e, NFTNL_SET_ELEM_DATA, value.data(), value.size());
  return elements(NFT_MSG_NEWSETELEM, name, e);
}
NftBatch& NftBatch::addElement(kj::StringPtr name, const NftBytes& key, kj::StringPtr chain) {
  auto* e = newElement(key);
  nftnl_set_elem_set_u32(e, NFTNL_SET_ELEM_VERDICT, NFT_GOTO);
  nftnl_set_elem_set_str(e, NFTNL_SET_ELEM_CHAIN, chain.cStr());
  return elements(NFT_MSG_NEWSETELEM, name, e);
}
NftBatch& NftBatch::deleteElement(kj::StringPtr name, const NftBytes& key) {
  return elements(NFT_MSG_DELSETELEM, name, newElement(key));
}

NftBatch& NftBatch::deleteElements(kj::StringPtr name) {
  return elements(NFT_MSG_DELSETELEM, name, nullptr);
}

NftBatch& NftBatch::chain(uint16_t type, kj::StringPtr name, const NftHook* hook,
                          kj::StringPtr device) {
  Chain c(nftnl_chain_alloc());
  nftnl_chain_set_str(c.get(), NFTNL_CHAIN_TABLE, table.c_str());
  nftnl_chain_set_str(c.get(), NFTNL_CHAIN_NAME, name.cStr());
  if (hook != nullptr) {
    nftnl_chain_set_str(c.get(), NFTNL_CHAIN_TYPE, hook->type);
    nftnl_chain_set_u32(c.get(), NFTNL_CHAIN_HOOKNUM, static_cast<uint32_t>(hook->point));
    nftnl_chain_set_s32(c.get(), NFTNL_CHAIN_PRIO, hook->priority);
    nftnl_chain_set_u32(c.get(), NFTNL_CHAIN_POLICY, NF_ACCEPT);
    if (device.size() > 0) nftnl_chain_set_str(c.get(), NFTNL_CHAIN_DEV, device.cStr());
  }
  bool add = type == NFT_MSG_NEWCHAIN;
  Message message(family, type, add ? NLM_F_CREATE : 0, steps.size() + 1);
  nftnl_chain_nlmsg_build_payload(message.head, c.get());
  append(message, kj::str(add ? "add" : "delete", " the chain '", name, "'"));
  return *this;
}

NftBatch& NftBatch::addChain(kj::StringPtr name) { return chain(NFT_MSG_NEWCHAIN, name, nullptr); }
NftBatch& NftBatch::addChain(kj::StringPtr name, const NftHook& hook) {
  return chain(NFT_MSG_NEWCHAIN, name, &hook);
}
NftBatch& NftBatch::addEgressChain(kj::StringPtr name, kj::StringPtr device) {
  NftHook hook{"filter", static_cast<NftPoint>(NF_NETDEV_EGRESS), 0};
  return chain(NFT_MSG_NEWCHAIN, name, &hook, device);
}
NftBatch& NftBatch::deleteChain(kj::StringPtr name) {
  return chain(NFT_MSG_DELCHAIN, name, nullptr);
}

NftBatch& NftBatch::addRule(kj::StringPtr chainName, NftRule& rule) {
  nftnl_rule_set_str(rule.raw(), NFTNL_RULE_TABLE, table.c_str());
  nftnl_rule_set_str(rule.raw(), NFTNL_RULE_CHAIN, chainName.cStr());
  Message message(family, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, steps.size() + 1);
  nftnl_rule_nlmsg_build_payload(message.head, rule.raw());
  append(message, kj::str("add a rule to the chain '", chainName, "'"));
  return *this;
}

NftBatch& NftBatch::deleteRules(kj::StringPtr chainName) {
  NftRule all;
  nftnl_rule_set_str(all.raw(), NFTNL_RULE_TABLE, table.c_str());
  nftnl_rule_set_str(all.raw(), NFTNL_RULE_CHAIN, chainName.cStr());
  Message message(family, NFT_MSG_DELRULE, 0, steps.size() + 1);
  nftnl_rule_nlmsg_build_payload(message.head, all.raw());
  append(message, kj::str("delete the rules of the chain '", chainName, "'"));
  return *this;
}

void NftBatch::commit() {
  NetlinkSocket socket(NETLINK_NETFILTER);
  commit(socket);
}

void NftBatch::commit(NetlinkSocket& socket) {
  if (steps.empty()) return;
  mark(false);
  // A batch is one datagram; the kernel refuses one that is larger than the send buffer.
  int room = bytes.size() + SO_SNDBUFFORCE_MARGIN;
  KJ_SYSCALL(setsockopt(socket.fd(), SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)));
  KJ_SYSCALL(send(socket.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL));
  // The kernel has done it all when send returns, and answers refusals only.
  kj::Maybe<kj::String> failure;
  for (;;) {
    alignas(nlmsghdr) char answers[16384];
    ssize_t size = recv(socket.fd(), answers, sizeof(answers), MSG_DONTWAIT);
    if (size == 0 || (size < 0 && errno == EAGAIN)) break;
    KJ_ASSERT(size >= 0, "cannot read nftables' answer", strerror(errno));
    for (auto* answer : NetlinkMessages(answers, size)) {
      if (failure == nullptr) failure = refusalOf(answer);
    }
  }
  KJ_IF_MAYBE (text, failure) fail(kj::mv(*text));
}

kj::Maybe<kj::String> NftBatch::refusalOf(const nlmsghdr* answer) const {
  if (answer->nlmsg_type != NLMSG_ERROR) return nullptr;
  int error = headerOf<nlmsgerr>(answer).error;
  if (error == 0) return nullptr;
  uint32_t step = answer->nlmsg_seq - 1;
  auto what = step < steps.size() ? kj::str(steps[step]) : kj::str("commit");
  return kj::str("cannot change the nftables table '", table.c_str(), "': ", what, ": ",
                 strerror(error == INT_MIN ? EPROTO : -error));
}

namespace {
NetlinkMessage newQuestion(uint16_t type, uint16_t flags, kj::StringPtr table, NftFamily family) {
  NetlinkMessage message(NFNL_SUBSYS_NFTABLES << 8 | type, flags,
                         kj::str("cannot look up the nftables table '", table, "'"));
  auto& head = message.header<nfgenmsg>();
  head.nfgen_family = uint8_t(family);
  head.version = NFNETLINK_V0;
  return message;
}
}  // namespace

bool nftTableExists(kj::StringPtr table, NftFamily family) {
  NetlinkSocket socket(NETLINK_NETFILTER);
  auto message = newQuestion(NFT_MSG_GETTABLE, 0, table, family);
  message.putText(NFTA_TABLE_NAME, table);
  return socket.find(message, [](const nlmsghdr*) {});
}

std::vector<std::string> nftChains(NetlinkSocket& socket, kj::StringPtr table, NftFamily family) {
  std::vector<std::string> chains;
  auto addChain = [&](const nlmsghdr* answer) {
    std::string name;
    bool ours = false;
    for (auto* attribute : NetlinkAttributes(answer, sizeof(nfgenmsg))) {
      auto type = mnl_attr_get_type(attribute);
      if (type == NFTA_CHAIN_TABLE) ours = table == textOf(attribute).c_str();
      if (type == NFTA_CHAIN_NAME) name = textOf(attribute);
    }
    if (ours) chains.push_back(std::move(name));
  };
  for (;;) {
    auto message = newQuestion(NFT_MSG_GETCHAIN, NLM_F_DUMP, table, family);
    chains.clear();
    if (socket.dump(message, addChain)) return chains;
  }
}

bool nftIsWhole(NetlinkSocket& socket, kj::StringPtr table, const std::vector<std::string>& chains,
                NftFamily family) {
  std::set<std::string> ruled;
  auto addRule = [&](const nlmsghdr* answer) {
    std::string chain;
    bool ours = false;
    for (auto* attribute : NetlinkAttributes(answer, sizeof(nfgenmsg))) {
      auto type = mnl_attr_get_type(attribute);
      if (type == NFTA_RULE_TABLE) ours = table == textOf(attribute).c_str();
      if (type == NFTA_RULE_CHAIN) chain = textOf(attribute);
    }
    if (ours) ruled.insert(std::move(chain));
  };
  for (;;) {
    auto message = newQuestion(NFT_MSG_GETRULE, NLM_F_DUMP, table, family);
    message.putText(NFTA_RULE_TABLE, table);
    ruled.clear();
    if (socket.dump(message, addRule)) break;
  }
  return std::all_of(chains.begin(), chains.end(),
                     [&](auto& chain) { return ruled.count(chain) > 0; });
}

}  // namespace orch::network
