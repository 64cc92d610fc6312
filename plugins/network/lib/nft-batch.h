// Changes of one nftables table that the kernel makes all at once or not at all. Over libnftnl, in
// one sendmsg; about 12 microseconds for an element. Blocking, for worker threads.
#pragma once

#include <kj/function.h>

#include <initializer_list>
#include <string>
#include <vector>

#include "lib/ipv6.h"
#include "lib/netlink.h"
#include "lib/nft-rule.h"

struct nftnl_set_elem;

namespace orch::network {

// nft(8)'s numbers of the types that a key or a value is made of, so that `nft list` shows them as
// what they are. Each takes a multiple of 4 bytes.
enum class NftType : uint32_t { ADDRESS = 7, ADDRESS6 = 8, PROTOCOL = 12, PORT = 13, MARK = 19 };

// How nft(8) writes a type made of several, and how long a part of it is.
constexpr uint32_t NFT_TYPE_BITS = 6;
constexpr uint32_t NFT_PART_BYTES = 4;
constexpr uint32_t sizeOf(NftType part) {
  return part == NftType::ADDRESS6 ? sizeof(Ipv6) : NFT_PART_BYTES;
}

// A key or a value: its parts, each padded to 4 bytes.
class NftBytes final {
 public:
  NftBytes& protocol(uint8_t value) { return put(&value, sizeof(value)); }
  NftBytes& port(uint16_t hostOrder);
  NftBytes& address(Ipv4 hostOrder);
  NftBytes& address(const Ipv6& value) { return put(value.data(), value.size()); }
  NftBytes& mark(uint32_t value) { return put(&value, sizeof(value)); }
  const uint8_t* data() const { return bytes.data(); }
  uint32_t size() const { return bytes.size(); }

 private:
  NftBytes& put(const void* data, size_t size);
  std::vector<uint8_t> bytes;
};

// Where a packet passes; NF_INET_PRE_ROUTING and so on.
enum class NftPoint : uint32_t { PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING };

struct NftHook {
  const char* type;  // `filter`, `nat`, `route`
  NftPoint point;
  int32_t priority;  // lower is earlier
};

// Which packets a table sees: those of IPv4 or IPv6, those of one device, or the frames that pass a
// bridge, of whatever protocol.
enum class NftFamily : uint8_t { IP = 2, NETDEV = 5, BRIDGE = 7, IP6 = 10 };  // NFPROTO_IPV4 ...

// Things are named before they are used: sets and chains before rules. Adding
// what exists and is equal is success, except rules, which are appended; deleting what does not
// exist fails the whole batch.
class NftBatch final {
 public:
  explicit NftBatch(kj::StringPtr table, NftFamily family = NftFamily::IP);
  KJ_DISALLOW_COPY(NftBatch);

  NftBatch& addTable();
  // With all that is in it, from other batches too. After addTable it cannot fail.
  NftBatch& deleteTable();

  NftBatch& addSet(kj::StringPtr set, std::initializer_list<NftType> key);
  // Of at most so many elements, which packets put in (NftRule::remember) and which time out.
  NftBatch& addTimedSet(kj::StringPtr set, std::initializer_list<NftType> key, uint32_t most);
  NftBatch& addMap(kj::StringPtr map, std::initializer_list<NftType> key,
                   std::initializer_list<NftType> value);
  // As addTimedSet.
  NftBatch& addTimedMap(kj::StringPtr map, std::initializer_list<NftType> key,
                        std::initializer_list<NftType> value, uint32_t most);
  NftBatch& addVerdictMap(kj::StringPtr map, std::initializer_list<NftType> key);
  NftBatch& addElement(kj::StringPtr set, const NftBytes& key);
  NftBatch& addElement(kj::StringPtr map, const NftBytes& key, const NftBytes& value);
  // `goto chain`.
  NftBatch& addElement(kj::StringPtr map, const NftBytes& key, kj::StringPtr chain);
  NftBatch& deleteElement(kj::StringPtr set, const NftBytes& key);
  // All of the set's or map's.
  NftBatch& deleteElements(kj::StringPtr set);

  NftBatch& addChain(kj::StringPtr chain);
  NftBatch& addChain(kj::StringPtr chain, const NftHook& hook);
  // Of the family netdev: what leaves by a device. It goes with the device.
  NftBatch& addEgressChain(kj::StringPtr chain, kj::StringPtr device);
  // It must be empty of rules and nothing may lead to it.
  NftBatch& deleteChain(kj::StringPtr chain);
  NftBatch& addRule(kj::StringPtr chain, NftRule& rule);
  // All of the chain's.
  NftBatch& deleteRules(kj::StringPtr chain);

  bool empty() const { return steps.empty(); }
  kj::StringPtr tableName() const { return table.c_str(); }
  NftFamily ofFamily() const { return family; }
  // The messages that it comes to.
  void each(kj::FunctionParam<void(const nlmsghdr*)> read) const {
    for (auto* message : NetlinkMessages(bytes.data(), bytes.size())) read(message);
  }
  // In the namespace of the socket, which is one of NETLINK_NETFILTER. On failure nothing has
  // changed and the text names the step that was refused. Who commits often keeps the socket: to
  // close one waits for the clean-up of what was deleted, 15 ms and more.
  void commit(NetlinkSocket& socket);
  // Once, in the calling thread's network namespace.
  void commit();

 private:
  struct Message;
  NftBatch& set(kj::StringPtr name, std::initializer_list<NftType> key, uint32_t flags,
                uint32_t valueType, uint32_t valueSize, uint32_t most = 0);
  NftBatch& elements(uint16_t type, kj::StringPtr set, nftnl_set_elem* owned);  // null: all
  NftBatch& chain(uint16_t type, kj::StringPtr name, const NftHook* hook,
                  kj::StringPtr device = nullptr);
  void append(const Message& message, kj::String what);
  void mark(bool begin);
  kj::Maybe<kj::String> refusalOf(const nlmsghdr* answer) const;

  std::string table;
  NftFamily family;
  std::vector<uint8_t> bytes;
  std::vector<kj::String> steps;  // what each message does, by sequence number - 1
  uint32_t nextSetId = 0;
};

// Whether there is such a table in the calling thread's network namespace.
bool nftTableExists(kj::StringPtr table, NftFamily family = NftFamily::IP);
// The names of the table's chains, in the namespace of the socket; none if there is no such table.
std::vector<std::string> nftChains(NetlinkSocket& socket, kj::StringPtr table,
                                   NftFamily family = NftFamily::IP);
// Whether the table has these chains with a rule in each: somebody who flushes it, or all tables,
// leaves no rule.
bool nftIsWhole(NetlinkSocket& socket, kj::StringPtr table, const std::vector<std::string>& chains,
                NftFamily family = NftFamily::IP);

}  // namespace orch::network
