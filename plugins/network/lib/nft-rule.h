// One nftables rule as the kernel has it: expressions that load into 32-bit registers, compare and
// act. Owns a libnftnl rule; move it into a batch.
#pragma once

#include <kj/string.h>

#include <cstdint>
#include <initializer_list>
#include <memory>

#include "lib/ipv6.h"

struct nftnl_rule;
struct nftnl_expr;

namespace orch::network {

// The 16 registers of 32 bits; a value longer than that takes several that follow each other.
using Register = uint32_t;
constexpr Register R0 = 8;  // NFT_REG32_00
constexpr Register R1 = 9;
constexpr Register R2 = 10;
constexpr Register R3 = 11;

class NftRule final {
 public:
  // `ipv6`: of its packets; an address takes four registers then. What has an Ipv4 in its signature
  // is not for such a rule.
  explicit NftRule(bool ipv6 = false);

  // Conditions: the rule ends here for a packet that does not meet them.
  NftRule& from(kj::StringPtr device) { return device_(true, true, device); }
  NftRule& notFrom(kj::StringPtr device) { return device_(true, false, device); }
  NftRule& to(kj::StringPtr device) { return device_(false, true, device); }
  NftRule& notTo(kj::StringPtr device) { return device_(false, false, device); }
  NftRule& sourceIn(const Ipv4Subnet& subnet) { return addressIn(sourceOffset(), subnet); }
  NftRule& destinationIn(const Ipv4Subnet& subnet) {
    return addressIn(destinationOffset(), subnet);
  }
  // Of IPv6: the destination begins with these bytes.
  NftRule& destination6Begins(const uint8_t* bytes, size_t count);
  // Its destination (source) is an address of this namespace.
  NftRule& destinationIsLocal();
  NftRule& protocolIs(uint8_t protocol);
  NftRule& destinationIs(const Ipv6& address);
  NftRule& sourceIn6(const Ipv6Subnet& subnet);
  // Where others pass, too.
  NftRule& isIpv4();
  NftRule& isIpv6();
  // Of TCP and UDP.
  NftRule& destinationPortIs(uint16_t port);
  // Of TCP and UDP.
  NftRule& sourcePortIs(uint16_t port);
  // ICMP's news of a datagram, of UDP and without IP options, that did not reach this port.
  NftRule& isRefusalOf(uint16_t destinationPort);
  // The connection's first packet (one of the others).
  NftRule& isNew(bool expected = true);
  // Its destination was (was not) rewritten.
  NftRule& isDnat(bool expected);
  // Goes the way of the connection's answers, or that of its first packet.
  NftRule& isReply(bool expected);
  // Its connection has no mark.
  NftRule& isUnmarked();
  // Its connection was set apart by setZone.
  NftRule& isInZone();

  // Loads.
  NftRule& loadProtocol(Register into);         // 1 byte
  NftRule& loadDestinationPort(Register into);  // 2 bytes, network order; of TCP and UDP
  NftRule& loadSourcePort(Register into);       // the same
  NftRule& loadSource(Register into);           // addresses
  NftRule& loadDestination(Register into);
  // Of an IPv6 address the last 4 bytes.
  NftRule& loadDestinationEnd(Register into);
  NftRule& loadAddress(Ipv4 value, Register into);
  NftRule& loadAddress(const Ipv6& value, Register into);
  NftRule& loadPort(uint16_t value, Register into);
  // The port that the client meant, 2 bytes: before a rule rewrote it.
  NftRule& loadFirstDestinationPort(Register into);
  // 4 bytes as they were set: `connection` for that of all its packets.
  NftRule& loadMark(Register into);
  NftRule& loadConnectionMark(Register into);
  // `size` bytes of the Ethernet header.
  NftRule& loadFrame(uint32_t offset, uint32_t size, Register into);
  // Counts 0, 1 ... modulus - 1, 0, one step per packet that gets here.
  NftRule& loadNextOf(uint32_t modulus, Register into);
  // A number below `modulus` that hangs on the address in `from` alone: the same in each rule, on
  // each host.
  NftRule& loadHashOf(Register from, uint32_t modulus, Register into);

  // Ends unless the registers from `key` on are in the set.
  NftRule& in(kj::StringPtr set, Register key);
  // The same for a map; its value goes to the registers from `into` on.
  NftRule& lookUp(kj::StringPtr map, Register key, Register into);
  // The same for a map of verdicts, which is obeyed.
  NftRule& obey(kj::StringPtr map, Register key);
  // Puts the registers from `key` on into a timed set, anew or again; ends if it is full.
  NftRule& remember(kj::StringPtr set, Register key, uint64_t timeoutMs);
  // The same for a timed map. A key that is there keeps its value.
  NftRule& remember(kj::StringPtr map, Register key, Register value, uint64_t timeoutMs);
  // Takes the key out of a timed map, if it is there. Of a register with some value, too, which
  // does not matter: the kernel wants to be given one.
  NftRule& forget(kj::StringPtr map, Register key, Register value);

  // Actions.
  NftRule& dnatTo(Register address, Register port);
  NftRule& dnatTo(Register address);  // the port stays
  NftRule& snatTo(Ipv4 address);
  NftRule& snatTo(const Ipv6& address);
  NftRule& masquerade();
  // These go on with the next condition or action. The addresses are those of this one packet.
  NftRule& setMark(Register value);
  NftRule& setSource(Register address) { return setAddress(sourceOffset(), address); }
  NftRule& setDestination(Register address) { return setAddress(destinationOffset(), address); }
  // The ports of this one packet, which is of this protocol: TCP or UDP, with a checksum.
  NftRule& setSourcePort(uint8_t protocol, uint16_t port);
  NftRule& setDestinationPort(uint8_t protocol, uint16_t port);
  // The port that isRefusalOf looks at.
  NftRule& setRefusedPort(uint16_t port);
  NftRule& setConstantMark(uint32_t value);
  NftRule& setConnectionMark(Register value);
  // Connections of equal addresses and ports are told apart by it, in the direction of the first
  // packet. 2 bytes; only before the kernel has looked the connection up (priority RAW).
  NftRule& setZone(Register value);
  // Of 4 bytes, in the Ethernet header; where a packet leaves a device.
  NftRule& writeFrame(uint32_t offset, Register value);
  // Of a SYN: no larger segments than the route has room for.
  NftRule& clampSegments();
  // Only before the kernel has looked the connection up: of this packet it will not.
  NftRule& doNotTrack();
  NftRule& accept();  // ends the chain
  NftRule& drop();
  NftRule& rejectWithReset();        // TCP only
  NftRule& rejectPortUnreachable();  // ICMP, of either kind

  nftnl_rule* raw() { return rule.get(); }

 private:
  // In the header of IPv4, or of IPv6.
  uint32_t sourceOffset() const { return ipv6 ? 8 : 12; }
  uint32_t destinationOffset() const { return ipv6 ? 24 : 16; }
  uint32_t addressSize() const { return ipv6 ? sizeof(Ipv6) : sizeof(Ipv4); }

  NftRule& device_(bool input, bool equal, kj::StringPtr name);
  NftRule& addressIn(uint32_t offset, const Ipv4Subnet& subnet);
  NftRule& setAddress(uint32_t offset, Register address);
  NftRule& byteIs(uint32_t offset, uint8_t wanted);  // of what follows the IPv4 header
  NftRule& portIs(uint32_t offset, uint16_t port);
  NftRule& setPort(uint32_t offset, uint32_t checksumOffset, uint16_t port);
  NftRule& load(uint32_t base, uint32_t offset, uint32_t size, Register into);
  NftRule& loadValue(const void* value, uint32_t size, Register into);
  NftRule& mask(Register value, uint32_t bits) { return mask(value, &bits, sizeof(bits)); }
  NftRule& mask(Register value, const void* bits, uint32_t size);
  NftRule& compare(Register value, bool equal, const void* to, uint32_t size);
  struct Attribute {
    uint16_t name;
    uint32_t value;
  };
  NftRule& loadConnection(uint32_t key, Register into);
  nftnl_expr* dynamic(kj::StringPtr set, uint32_t operation, Register key);
  nftnl_expr* add(const char* kind, std::initializer_list<Attribute> attributes);

  struct Free {
    void operator()(nftnl_rule* rule) const;
  };
  NftRule& protocolOfFrameIs(uint16_t protocol);
  NftRule& nat(uint32_t type, Register address);
  bool ipv6;
  std::unique_ptr<nftnl_rule, Free> rule;
};

}  // namespace orch::network
