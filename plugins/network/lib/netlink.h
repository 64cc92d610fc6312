// A netlink socket and the requests that go over it. Blocking: for worker threads. A socket stays
// in the network namespace that its thread had when it was opened, wherever it is used later.
#pragma once

#include <kj/function.h>
#include <kj/io.h>
#include <kj/string.h>
#include <linux/netlink.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace orch::network {

inline size_t lengthOf(const nlattr& attribute) { return attribute.nla_len; }
inline size_t lengthOf(const nlmsghdr& message) { return message.nlmsg_len; }

// What stands one behind the other, each with a header that says how long it is: for a range-based
// for. One that does not fit into the whole ends it. mnl_nlmsg_ok is not asked: it takes a length
// of more than 2 GiB for a small one.
template <typename Header>
class NetlinkRange {
 public:
  NetlinkRange(const uint8_t* from, const uint8_t* to) : from(from), to(to) {}

  class Iterator {
   public:
    Iterator(const uint8_t* at, const uint8_t* end) : at(at), last(end) { check(); }
    const Header* operator*() const { return reinterpret_cast<const Header*>(at); }
    Iterator& operator++() {
      at += kj::min(size_t(NLMSG_ALIGN(lengthOf(***this))), size_t(last - at));
      check();
      return *this;
    }
    bool operator!=(const Iterator& other) const { return at != other.at; }

   private:
    void check() {
      size_t left = last - at;
      bool fits = left >= sizeof(Header) && lengthOf(***this) >= sizeof(Header) &&
                  lengthOf(***this) <= left;
      if (!fits) at = last;
    }
    const uint8_t* at;
    const uint8_t* last;
  };
  Iterator begin() const { return Iterator(from, to); }
  Iterator end() const { return Iterator(to, to); }

 private:
  const uint8_t* from;
  const uint8_t* to;
};

// The attributes of an answer.
class NetlinkAttributes final : public NetlinkRange<nlattr> {
 public:
  // Of a message, after a family's header of `skip` bytes.
  NetlinkAttributes(const nlmsghdr* message, size_t skip)
      : NetlinkRange(reinterpret_cast<const uint8_t*>(message) + beginOf(*message, skip),
                     reinterpret_cast<const uint8_t*>(message) + message->nlmsg_len) {}
  // Those nested in one.
  explicit NetlinkAttributes(const nlattr* outer)
      : NetlinkRange(reinterpret_cast<const uint8_t*>(outer) + NLA_HDRLEN,
                     reinterpret_cast<const uint8_t*>(outer) + outer->nla_len) {}

 private:
  static size_t beginOf(const nlmsghdr& message, size_t skip) {
    size_t most = message.nlmsg_len - NLMSG_HDRLEN;
    return NLMSG_HDRLEN + (skip < most ? kj::min(NLMSG_ALIGN(skip), most) : most);
  }
};

// The messages of a datagram.
class NetlinkMessages final : public NetlinkRange<nlmsghdr> {
 public:
  NetlinkMessages(const void* datagram, size_t size)
      : NetlinkRange(static_cast<const uint8_t*>(datagram),
                     static_cast<const uint8_t*>(datagram) + size) {}
};

// The header of its family that an answer begins with; zeros if it is too short for one.
template <typename T>
T headerOf(const nlmsghdr* answer) {
  T header = {};
  if (answer->nlmsg_len >= NLMSG_HDRLEN + sizeof(T)) {
    memcpy(&header, reinterpret_cast<const uint8_t*>(answer) + NLMSG_HDRLEN, sizeof(T));
  }
  return header;
}

// What is in an attribute, as it stands there; zero if it is too short for that.
template <typename T>
T valueOf(const nlattr* attribute) {
  T value = {};
  if (attribute->nla_len >= NLA_HDRLEN + sizeof(T)) {
    memcpy(&value, reinterpret_cast<const uint8_t*>(attribute) + NLA_HDRLEN, sizeof(T));
  }
  return value;
}
// Up to its first zero.
std::string textOf(const nlattr* attribute);

// One request under construction: the header, the family's own header, attributes.
class NetlinkMessage final {
 public:
  // `what` is the first half of an error's text: "cannot make the network device 'orch0'".
  NetlinkMessage(uint16_t type, uint16_t flags, kj::String what);

  // Appends zeroed space for a family's header (ifinfomsg, nfgenmsg ...) and returns it; valid
  // until the next call.
  template <typename T>
  T& header() {
    return *reinterpret_cast<T*>(grow(sizeof(T)));
  }
  NetlinkMessage& put(uint16_t type, const void* data, size_t size);
  NetlinkMessage& putU8(uint16_t type, uint8_t value) { return put(type, &value, 1); }
  NetlinkMessage& putU32(uint16_t type, uint32_t value) { return put(type, &value, 4); }
  NetlinkMessage& putText(uint16_t type, kj::StringPtr text) {
    return put(type, text.cStr(), text.size() + 1);
  }
  // Attributes put between the two are nested; `open` is what `nest` returned.
  size_t nest(uint16_t type);
  void endNest(size_t open);

  kj::StringPtr what() const { return purpose; }

 private:
  friend class NetlinkSocket;
  uint8_t* grow(size_t size);  // rounded up to 4 bytes, zeroed
  nlmsghdr* finish(uint32_t sequence);

  std::vector<uint8_t> bytes;
  kj::String purpose;
};

// Not thread-safe. Dropping it closes it.
class NetlinkSocket final {
 public:
  // Of the calling thread's network namespace. `protocol`: NETLINK_ROUTE, NETLINK_NETFILTER.
  // `groups`: the bits of the notifications that it gets (RTMGRP_LINK ...); it is for nothing else
  // then but `waitForEvent`.
  explicit NetlinkSocket(int protocol, uint32_t groups = 0);
  // One that is connected to whoever answers.
  explicit NetlinkSocket(kj::AutoCloseFd connected);

  // One request: 0, or the errno that the kernel answered.
  int attempt(NetlinkMessage& message);
  // Requests in order, in few system calls. All are sent even if one fails; then fails with the
  // text and reason of the first that did. `tolerated`: an errno that is success as well.
  void run(kj::ArrayPtr<NetlinkMessage> messages, int tolerated = 0);
  void run(NetlinkMessage& message) { run(kj::arrayPtr(&message, 1)); }
  // A request with NLM_F_DUMP: `row` is called for each answer, which is valid during the call.
  // False if something changed under way (NLM_F_DUMP_INTR): a row may be missing or there twice.
  bool dump(NetlinkMessage& message, kj::FunctionParam<void(const nlmsghdr*)> row);
  // A request for one object (not a dump): false if the kernel knows no such thing.
  bool find(NetlinkMessage& message, kj::FunctionParam<void(const nlmsghdr*)> row);

  // Waits for some notifications and drops them; false if none came.
  bool waitForEvent(int timeoutMs);

  int fd() const { return socket; }
  // Requests that were sent so far by `attempt` and `run`.
  uint64_t changes() const { return acknowledged; }

 private:
  struct Refusal {
    int error = 0;
    kj::String reason;  // the kernel's own words, or strerror
  };
  void send(const std::vector<uint8_t>& bytes);
  // Of one datagram, until the next.
  NetlinkMessages receive();
  Refusal refusalOf(const nlmsghdr* answer) const;
  // Acknowledgements of `count` requests from `first` on.
  std::vector<Refusal> acknowledgements(uint32_t first, size_t count);

  kj::AutoCloseFd socket;
  uint32_t sequence = 0;
  uint64_t acknowledged = 0;
  std::vector<uint8_t> buffer;
};

}  // namespace orch::network
