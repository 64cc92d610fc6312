#include "lib/nft-rule.h"

#include <arpa/inet.h>
#include <kj/debug.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <linux/if_ether.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>

namespace orch::network {

namespace {
// NF_CT_STATE_BIT(IP_CT_NEW) of the kernel: 1 << (IP_CT_NEW + 1).
constexpr uint32_t STATE_NEW = 1u << (IP_CT_NEW + 1);

// Of each hash: left out, the kernel draws one for each rule, and a rule that is written anew sends
// the same address elsewhere.
constexpr uint32_t HASH_SEED = 1;

// In the header of TCP and of UDP.
constexpr uint32_t SOURCE_PORT_OFFSET = 0;
constexpr uint32_t DESTINATION_PORT_OFFSET = 2;
uint32_t checksumOffsetOf(uint8_t protocol) { return protocol == IPPROTO_TCP ? 16 : 6; }

// ICMP's "destination unreachable", RFC 792: 8 bytes, then the datagram's IPv4 header and the first
// 8 bytes of what follows that.
constexpr uint8_t UNREACHABLE = 3;
constexpr uint32_t ICMP_CHECKSUM_OFFSET = 2;
constexpr uint32_t REFUSED_OFFSET = 8;
constexpr uint8_t VERSION_AND_LENGTH = 0x45;  // without options
constexpr uint32_t REFUSED_PROTOCOL_OFFSET = REFUSED_OFFSET + 9;
constexpr uint32_t REFUSED_PORT_OFFSET = REFUSED_OFFSET + 20 + DESTINATION_PORT_OFFSET;
}  // namespace

void NftRule::Free::operator()(nftnl_rule* rule) const { nftnl_rule_free(rule); }

NftRule::NftRule(bool ipv6) : ipv6(ipv6), rule(nftnl_rule_alloc()) { KJ_ASSERT(rule != nullptr); }

nftnl_expr* NftRule::add(const char* kind, std::initializer_list<Attribute> attributes) {
  auto* expression = nftnl_expr_alloc(kind);
  KJ_ASSERT(expression != nullptr, "libnftnl does not know this expression", kind);
  for (auto& one : attributes) nftnl_expr_set_u32(expression, one.name, one.value);
  nftnl_rule_add_expr(rule.get(), expression);
  return expression;
}

NftRule& NftRule::load(uint32_t base, uint32_t offset, uint32_t size, Register into) {
  add("payload", {{NFTNL_EXPR_PAYLOAD_BASE, base},
                  {NFTNL_EXPR_PAYLOAD_OFFSET, offset},
                  {NFTNL_EXPR_PAYLOAD_LEN, size},
                  {NFTNL_EXPR_PAYLOAD_DREG, into}});
  return *this;
}

NftRule& NftRule::mask(Register value, const void* bits, uint32_t size) {
  constexpr Ipv6 NONE = {};  // as long as any
  auto* e = add("bitwise", {{NFTNL_EXPR_BITWISE_SREG, value},
                            {NFTNL_EXPR_BITWISE_DREG, value},
                            {NFTNL_EXPR_BITWISE_OP, NFT_BITWISE_BOOL},
                            {NFTNL_EXPR_BITWISE_LEN, size}});
  nftnl_expr_set(e, NFTNL_EXPR_BITWISE_MASK, bits, size);
  nftnl_expr_set(e, NFTNL_EXPR_BITWISE_XOR, NONE.data(), size);
  return *this;
}

NftRule& NftRule::compare(Register value, bool equal, const void* to, uint32_t size) {
  auto* e = add(
      "cmp", {{NFTNL_EXPR_CMP_SREG, value}, {NFTNL_EXPR_CMP_OP, equal ? NFT_CMP_EQ : NFT_CMP_NEQ}});
  nftnl_expr_set(e, NFTNL_EXPR_CMP_DATA, to, size);
  return *this;
}

NftRule& NftRule::device_(bool input, bool equal, kj::StringPtr name) {
  char padded[IFNAMSIZ] = {};
  KJ_REQUIRE(name.size() < sizeof(padded), "a network device's name is too long", name);
  memcpy(padded, name.cStr(), name.size());
  add("meta", {{NFTNL_EXPR_META_KEY, input ? NFT_META_IIFNAME : NFT_META_OIFNAME},
               {NFTNL_EXPR_META_DREG, R0}});
  return compare(R0, equal, padded, sizeof(padded));
}

NftRule& NftRule::loadSource(Register into) {
  return load(NFT_PAYLOAD_NETWORK_HEADER, sourceOffset(), addressSize(), into);
}
NftRule& NftRule::loadDestination(Register into) {
  return load(NFT_PAYLOAD_NETWORK_HEADER, destinationOffset(), addressSize(), into);
}

NftRule& NftRule::addressIn(uint32_t offset, const Ipv4Subnet& subnet) {
  load(NFT_PAYLOAD_NETWORK_HEADER, offset, sizeof(Ipv4), R0);
  if (subnet.prefix < 32) mask(R0, htonl(subnet.mask()));
  uint32_t network = htonl(subnet.network);
  return compare(R0, true, &network, sizeof(network));
}

NftRule& NftRule::destination6Begins(const uint8_t* bytes, size_t count) {
  constexpr uint32_t DESTINATION6_OFFSET = 24;
  load(NFT_PAYLOAD_NETWORK_HEADER, DESTINATION6_OFFSET, count, R0);
  return compare(R0, true, bytes, count);
}

NftRule& NftRule::destinationIsLocal() {
  add("fib", {{NFTNL_EXPR_FIB_FLAGS, NFTA_FIB_F_DADDR},
              {NFTNL_EXPR_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE},
              {NFTNL_EXPR_FIB_DREG, R0}});
  uint32_t local = RTN_LOCAL;
  return compare(R0, true, &local, sizeof(local));
}

NftRule& NftRule::loadProtocol(Register into) {
  add("meta", {{NFTNL_EXPR_META_KEY, NFT_META_L4PROTO}, {NFTNL_EXPR_META_DREG, into}});
  return *this;
}

NftRule& NftRule::destinationIs(const Ipv6& address) {
  return loadDestination(R0).compare(R0, true, address.data(), address.size());
}

NftRule& NftRule::sourceIn6(const Ipv6Subnet& subnet) {
  auto bits = subnet.mask();
  loadSource(R0).mask(R0, bits.data(), bits.size());
  return compare(R0, true, subnet.network.data(), subnet.network.size());
}

NftRule& NftRule::loadDestinationEnd(Register into) {
  uint32_t end = destinationOffset() + sizeof(Ipv6) - sizeof(Ipv4);
  return load(NFT_PAYLOAD_NETWORK_HEADER, end, sizeof(Ipv4), into);
}

NftRule& NftRule::protocolOfFrameIs(uint16_t protocol) {
  add("meta", {{NFTNL_EXPR_META_KEY, NFT_META_PROTOCOL}, {NFTNL_EXPR_META_DREG, R0}});
  uint16_t wanted = htons(protocol);
  return compare(R0, true, &wanted, sizeof(wanted));
}
NftRule& NftRule::isIpv4() { return protocolOfFrameIs(ETH_P_IP); }
NftRule& NftRule::isIpv6() { return protocolOfFrameIs(ETH_P_IPV6); }

NftRule& NftRule::protocolIs(uint8_t protocol) {
  loadProtocol(R0);
  return compare(R0, true, &protocol, sizeof(protocol));
}

NftRule& NftRule::portIs(uint32_t offset, uint16_t port) {
  load(NFT_PAYLOAD_TRANSPORT_HEADER, offset, sizeof(port), R0);
  uint16_t wanted = htons(port);
  return compare(R0, true, &wanted, sizeof(wanted));
}

NftRule& NftRule::byteIs(uint32_t offset, uint8_t wanted) {
  load(NFT_PAYLOAD_TRANSPORT_HEADER, offset, sizeof(wanted), R0);
  return compare(R0, true, &wanted, sizeof(wanted));
}

NftRule& NftRule::destinationPortIs(uint16_t port) { return portIs(DESTINATION_PORT_OFFSET, port); }
NftRule& NftRule::sourcePortIs(uint16_t port) { return portIs(SOURCE_PORT_OFFSET, port); }

NftRule& NftRule::isRefusalOf(uint16_t destinationPort) {
  protocolIs(IPPROTO_ICMP).byteIs(0, UNREACHABLE).byteIs(REFUSED_OFFSET, VERSION_AND_LENGTH);
  return byteIs(REFUSED_PROTOCOL_OFFSET, IPPROTO_UDP).portIs(REFUSED_PORT_OFFSET, destinationPort);
}

NftRule& NftRule::loadConnection(uint32_t key, Register into) {
  add("ct", {{NFTNL_EXPR_CT_KEY, key}, {NFTNL_EXPR_CT_DREG, into}});
  return *this;
}

NftRule& NftRule::isNew(bool expected) {
  loadConnection(NFT_CT_STATE, R0);
  mask(R0, STATE_NEW);
  uint32_t none = 0;
  return compare(R0, !expected, &none, sizeof(none));
}

NftRule& NftRule::isUnmarked() {
  uint32_t none = 0;
  return loadConnectionMark(R0).compare(R0, true, &none, sizeof(none));
}

NftRule& NftRule::isDnat(bool expected) {
  loadConnection(NFT_CT_STATUS, R0);
  mask(R0, IPS_DST_NAT);
  uint32_t none = 0;
  return compare(R0, !expected, &none, sizeof(none));
}

NftRule& NftRule::isReply(bool expected) {
  loadConnection(NFT_CT_DIRECTION, R0);
  uint8_t reply = IP_CT_DIR_REPLY;
  return compare(R0, expected, &reply, sizeof(reply));
}

NftRule& NftRule::isInZone() {
  auto* e = add("ct", {{NFTNL_EXPR_CT_KEY, NFT_CT_ZONE}, {NFTNL_EXPR_CT_DREG, R0}});
  nftnl_expr_set_u8(e, NFTNL_EXPR_CT_DIR, IP_CT_DIR_ORIGINAL);
  uint16_t none = 0;
  return compare(R0, false, &none, sizeof(none));
}

NftRule& NftRule::loadFirstDestinationPort(Register into) {
  auto* e = add("ct", {{NFTNL_EXPR_CT_KEY, NFT_CT_PROTO_DST}, {NFTNL_EXPR_CT_DREG, into}});
  nftnl_expr_set_u8(e, NFTNL_EXPR_CT_DIR, IP_CT_DIR_ORIGINAL);
  return *this;
}

NftRule& NftRule::loadMark(Register into) {
  add("meta", {{NFTNL_EXPR_META_KEY, NFT_META_MARK}, {NFTNL_EXPR_META_DREG, into}});
  return *this;
}

NftRule& NftRule::loadConnectionMark(Register into) { return loadConnection(NFT_CT_MARK, into); }

NftRule& NftRule::loadFrame(uint32_t offset, uint32_t size, Register into) {
  return load(NFT_PAYLOAD_LL_HEADER, offset, size, into);
}

NftRule& NftRule::loadDestinationPort(Register into) {
  return load(NFT_PAYLOAD_TRANSPORT_HEADER, DESTINATION_PORT_OFFSET, sizeof(uint16_t), into);
}

NftRule& NftRule::loadSourcePort(Register into) {
  return load(NFT_PAYLOAD_TRANSPORT_HEADER, SOURCE_PORT_OFFSET, sizeof(uint16_t), into);
}

NftRule& NftRule::loadValue(const void* value, uint32_t size, Register into) {
  auto* e = add("immediate", {{NFTNL_EXPR_IMM_DREG, into}});
  nftnl_expr_set(e, NFTNL_EXPR_IMM_DATA, value, size);
  return *this;
}

NftRule& NftRule::loadAddress(Ipv4 value, Register into) {
  uint32_t address = htonl(value);
  return loadValue(&address, sizeof(address), into);
}

NftRule& NftRule::loadAddress(const Ipv6& value, Register into) {
  return loadValue(value.data(), value.size(), into);
}

NftRule& NftRule::loadPort(uint16_t value, Register into) {
  uint16_t port = htons(value);
  return loadValue(&port, sizeof(port), into);
}

NftRule& NftRule::loadNextOf(uint32_t modulus, Register into) {
  add("numgen", {{NFTNL_EXPR_NG_DREG, into},
                 {NFTNL_EXPR_NG_MODULUS, modulus},
                 {NFTNL_EXPR_NG_TYPE, NFT_NG_INCREMENTAL}});
  return *this;
}

NftRule& NftRule::loadHashOf(Register from, uint32_t modulus, Register into) {
  add("hash", {{NFTNL_EXPR_HASH_SREG, from},
               {NFTNL_EXPR_HASH_DREG, into},
               {NFTNL_EXPR_HASH_LEN, addressSize()},
               {NFTNL_EXPR_HASH_MODULUS, modulus},
               {NFTNL_EXPR_HASH_SEED, HASH_SEED},
               {NFTNL_EXPR_HASH_TYPE, NFT_HASH_JENKINS}});
  return *this;
}

NftRule& NftRule::in(kj::StringPtr set, Register key) {
  auto* e = add("lookup", {{NFTNL_EXPR_LOOKUP_SREG, key}});
  nftnl_expr_set_str(e, NFTNL_EXPR_LOOKUP_SET, set.cStr());
  return *this;
}

NftRule& NftRule::lookUp(kj::StringPtr map, Register key, Register into) {
  auto* e = add("lookup", {{NFTNL_EXPR_LOOKUP_SREG, key}, {NFTNL_EXPR_LOOKUP_DREG, into}});
  nftnl_expr_set_str(e, NFTNL_EXPR_LOOKUP_SET, map.cStr());
  return *this;
}

NftRule& NftRule::obey(kj::StringPtr map, Register key) {
  return lookUp(map, key, NFT_REG_VERDICT);
}

nftnl_expr* NftRule::dynamic(kj::StringPtr set, uint32_t operation, Register key) {
  auto* e = add("dynset", {{NFTNL_EXPR_DYNSET_SREG_KEY, key}, {NFTNL_EXPR_DYNSET_OP, operation}});
  nftnl_expr_set_str(e, NFTNL_EXPR_DYNSET_SET_NAME, set.cStr());
  return e;
}

NftRule& NftRule::remember(kj::StringPtr set, Register key, uint64_t timeoutMs) {
  auto* e = dynamic(set, NFT_DYNSET_OP_UPDATE, key);
  nftnl_expr_set_u64(e, NFTNL_EXPR_DYNSET_TIMEOUT, timeoutMs);
  return *this;
}

NftRule& NftRule::remember(kj::StringPtr map, Register key, Register value, uint64_t timeoutMs) {
  auto* e = dynamic(map, NFT_DYNSET_OP_UPDATE, key);
  nftnl_expr_set_u32(e, NFTNL_EXPR_DYNSET_SREG_DATA, value);
  nftnl_expr_set_u64(e, NFTNL_EXPR_DYNSET_TIMEOUT, timeoutMs);
  return *this;
}

NftRule& NftRule::forget(kj::StringPtr map, Register key, Register value) {
  auto* e = dynamic(map, NFT_DYNSET_OP_DELETE, key);
  nftnl_expr_set_u32(e, NFTNL_EXPR_DYNSET_SREG_DATA, value);
  return *this;
}

NftRule& NftRule::setMark(Register value) {
  add("meta", {{NFTNL_EXPR_META_KEY, NFT_META_MARK}, {NFTNL_EXPR_META_SREG, value}});
  return *this;
}

// The checksums of TCP and UDP cover the addresses as well. A header of IPv6 has none itself.
NftRule& NftRule::setAddress(uint32_t offset, Register address) {
  constexpr uint32_t CHECKSUM_OFFSET = 10;  // in an IPv4 header
  auto* e = add("payload", {{NFTNL_EXPR_PAYLOAD_BASE, NFT_PAYLOAD_NETWORK_HEADER},
                            {NFTNL_EXPR_PAYLOAD_OFFSET, offset},
                            {NFTNL_EXPR_PAYLOAD_LEN, addressSize()},
                            {NFTNL_EXPR_PAYLOAD_SREG, address},
                            {NFTNL_EXPR_PAYLOAD_FLAGS, NFT_PAYLOAD_L4CSUM_PSEUDOHDR}});
  auto type = ipv6 ? NFT_PAYLOAD_CSUM_NONE : NFT_PAYLOAD_CSUM_INET;
  nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_CSUM_TYPE, type);
  nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_CSUM_OFFSET, ipv6 ? 0 : CHECKSUM_OFFSET);
  return *this;
}

NftRule& NftRule::setPort(uint32_t offset, uint32_t checksumOffset, uint16_t port) {
  loadPort(port, R0);
  add("payload", {{NFTNL_EXPR_PAYLOAD_BASE, NFT_PAYLOAD_TRANSPORT_HEADER},
                  {NFTNL_EXPR_PAYLOAD_OFFSET, offset},
                  {NFTNL_EXPR_PAYLOAD_LEN, sizeof(port)},
                  {NFTNL_EXPR_PAYLOAD_SREG, R0},
                  {NFTNL_EXPR_PAYLOAD_CSUM_TYPE, NFT_PAYLOAD_CSUM_INET},
                  {NFTNL_EXPR_PAYLOAD_CSUM_OFFSET, checksumOffset}});
  return *this;
}

NftRule& NftRule::setSourcePort(uint8_t protocol, uint16_t port) {
  return setPort(SOURCE_PORT_OFFSET, checksumOffsetOf(protocol), port);
}

NftRule& NftRule::setDestinationPort(uint8_t protocol, uint16_t port) {
  return setPort(DESTINATION_PORT_OFFSET, checksumOffsetOf(protocol), port);
}

NftRule& NftRule::setRefusedPort(uint16_t port) {
  return setPort(REFUSED_PORT_OFFSET, ICMP_CHECKSUM_OFFSET, port);
}

NftRule& NftRule::dnatTo(Register address, Register port) {
  add("nat", {{NFTNL_EXPR_NAT_TYPE, NFT_NAT_DNAT},
              {NFTNL_EXPR_NAT_FAMILY, ipv6 ? NFPROTO_IPV6 : NFPROTO_IPV4},
              {NFTNL_EXPR_NAT_REG_ADDR_MIN, address},
              {NFTNL_EXPR_NAT_REG_PROTO_MIN, port},
              {NFTNL_EXPR_NAT_FLAGS, NF_NAT_RANGE_PROTO_SPECIFIED}});
  return *this;
}

NftRule& NftRule::nat(uint32_t type, Register address) {
  add("nat", {{NFTNL_EXPR_NAT_TYPE, type},
              {NFTNL_EXPR_NAT_FAMILY, ipv6 ? NFPROTO_IPV6 : NFPROTO_IPV4},
              {NFTNL_EXPR_NAT_REG_ADDR_MIN, address}});
  return *this;
}
NftRule& NftRule::dnatTo(Register address) { return nat(NFT_NAT_DNAT, address); }
NftRule& NftRule::snatTo(Ipv4 address) { return loadAddress(address, R0).nat(NFT_NAT_SNAT, R0); }
NftRule& NftRule::snatTo(const Ipv6& address) {
  return loadAddress(address, R0).nat(NFT_NAT_SNAT, R0);
}

NftRule& NftRule::setConstantMark(uint32_t value) {
  return loadValue(&value, sizeof(value), R0).setMark(R0);
}

NftRule& NftRule::setConnectionMark(Register value) {
  add("ct", {{NFTNL_EXPR_CT_KEY, NFT_CT_MARK}, {NFTNL_EXPR_CT_SREG, value}});
  return *this;
}

NftRule& NftRule::setZone(Register value) {
  auto* e = add("ct", {{NFTNL_EXPR_CT_KEY, NFT_CT_ZONE}, {NFTNL_EXPR_CT_SREG, value}});
  nftnl_expr_set_u8(e, NFTNL_EXPR_CT_DIR, IP_CT_DIR_ORIGINAL);
  return *this;
}

NftRule& NftRule::writeFrame(uint32_t offset, Register value) {
  add("payload", {{NFTNL_EXPR_PAYLOAD_BASE, NFT_PAYLOAD_LL_HEADER},
                  {NFTNL_EXPR_PAYLOAD_OFFSET, offset},
                  {NFTNL_EXPR_PAYLOAD_LEN, sizeof(uint32_t)},
                  {NFTNL_EXPR_PAYLOAD_SREG, value}});
  return *this;
}

NftRule& NftRule::clampSegments() {
  constexpr uint32_t FLAGS_OFFSET = 13;  // in the TCP header
  constexpr uint8_t SYN = 2;
  constexpr uint8_t MAXIMUM_SEGMENT_SIZE = 2;  // the option's number; RFC 9293, 3.2
  constexpr uint32_t VALUE_OFFSET = 2;
  protocolIs(IPPROTO_TCP).load(NFT_PAYLOAD_TRANSPORT_HEADER, FLAGS_OFFSET, sizeof(SYN), R0);
  mask(R0, SYN);
  uint32_t none = 0;
  compare(R0, false, &none, sizeof(none));
  add("rt", {{NFTNL_EXPR_RT_KEY, NFT_RT_TCPMSS}, {NFTNL_EXPR_RT_DREG, R0}});
  add("byteorder", {{NFTNL_EXPR_BYTEORDER_SREG, R0},
                    {NFTNL_EXPR_BYTEORDER_DREG, R0},
                    {NFTNL_EXPR_BYTEORDER_OP, NFT_BYTEORDER_HTON},
                    {NFTNL_EXPR_BYTEORDER_LEN, sizeof(uint16_t)},
                    {NFTNL_EXPR_BYTEORDER_SIZE, sizeof(uint16_t)}});
  auto* e = add("exthdr", {{NFTNL_EXPR_EXTHDR_SREG, R0},
                           {NFTNL_EXPR_EXTHDR_OFFSET, VALUE_OFFSET},
                           {NFTNL_EXPR_EXTHDR_LEN, sizeof(uint16_t)},
                           {NFTNL_EXPR_EXTHDR_OP, NFT_EXTHDR_OP_TCPOPT}});
  nftnl_expr_set_u8(e, NFTNL_EXPR_EXTHDR_TYPE, MAXIMUM_SEGMENT_SIZE);
  return *this;
}

NftRule& NftRule::masquerade() {
  add("masq", {});
  return *this;
}

NftRule& NftRule::doNotTrack() {
  add("notrack", {});
  return *this;
}

NftRule& NftRule::accept() {
  add("immediate", {{NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT}, {NFTNL_EXPR_IMM_VERDICT, NF_ACCEPT}});
  return *this;
}

NftRule& NftRule::drop() {
  add("immediate", {{NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT}, {NFTNL_EXPR_IMM_VERDICT, NF_DROP}});
  return *this;
}

NftRule& NftRule::rejectWithReset() {
  auto* e = add("reject", {{NFTNL_EXPR_REJECT_TYPE, NFT_REJECT_TCP_RST}});
  nftnl_expr_set_u8(e, NFTNL_EXPR_REJECT_CODE, 0);
  return *this;
}

NftRule& NftRule::rejectPortUnreachable() {
  auto* e = add("reject", {{NFTNL_EXPR_REJECT_TYPE, NFT_REJECT_ICMP_UNREACH}});
  // ICMP_PORT_UNREACH of RFC 792, and of RFC 4443.
  nftnl_expr_set_u8(e, NFTNL_EXPR_REJECT_CODE, ipv6 ? 4 : 3);
  return *this;
}

}  // namespace orch::network
