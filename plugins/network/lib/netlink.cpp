#include "lib/netlink.h"

#include <errno.h>
#include <kj/debug.h>
#include <libmnl/libmnl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "orch/fail.h"

namespace orch::network {

namespace {
// The kernel fills at most 32 KiB per datagram of a dump (netlink(7), NLMSG_GOODSIZE).
constexpr size_t BUFFER_BYTES = 64 << 10;
// So that the acknowledgements fit into the default receive buffer (212,992 bytes).
constexpr size_t MAX_IN_ONE_GO = 64;
}  // namespace

NetlinkMessage::NetlinkMessage(uint16_t type, uint16_t flags, kj::String what)
    : purpose(kj::mv(what)) {
  auto* head = reinterpret_cast<nlmsghdr*>(grow(sizeof(nlmsghdr)));
  head->nlmsg_type = type;
  head->nlmsg_flags = flags | NLM_F_REQUEST;
}

uint8_t* NetlinkMessage::grow(size_t size) {
  size_t at = bytes.size();
  bytes.resize(at + NLMSG_ALIGN(size));
  return bytes.data() + at;
}

NetlinkMessage& NetlinkMessage::put(uint16_t type, const void* data, size_t size) {
  auto* attribute = reinterpret_cast<nlattr*>(grow(NLA_HDRLEN + size));
  attribute->nla_type = type;
  attribute->nla_len = NLA_HDRLEN + size;
  if (size > 0) memcpy(attribute + 1, data, size);
  return *this;
}

size_t NetlinkMessage::nest(uint16_t type) {
  size_t at = bytes.size();
  put(type, nullptr, 0);
  return at;
}

void NetlinkMessage::endNest(size_t open) {
  reinterpret_cast<nlattr*>(bytes.data() + open)->nla_len = bytes.size() - open;
}

nlmsghdr* NetlinkMessage::finish(uint32_t sequence) {
  auto* head = reinterpret_cast<nlmsghdr*>(bytes.data());
  head->nlmsg_len = bytes.size();
  head->nlmsg_seq = sequence;
  return head;
}

std::string textOf(const nlattr* attribute) {
  auto* text = static_cast<const char*>(mnl_attr_get_payload(attribute));
  return std::string(text, strnlen(text, mnl_attr_get_payload_len(attribute)));
}

NetlinkSocket::NetlinkSocket(kj::AutoCloseFd connected)
    : socket(kj::mv(connected)), buffer(BUFFER_BYTES) {}

NetlinkSocket::NetlinkSocket(int protocol, uint32_t groups) : buffer(BUFFER_BYTES) {
  int fd;
  KJ_SYSCALL(fd = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol));
  socket = kj::AutoCloseFd(fd);
  sockaddr_nl address = {};
  address.nl_family = AF_NETLINK;
  address.nl_groups = groups;
  KJ_SYSCALL(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)));
  sockaddr_nl kernel = {};
  kernel.nl_family = AF_NETLINK;
  KJ_SYSCALL(connect(fd, reinterpret_cast<sockaddr*>(&kernel), sizeof(kernel)));
  int on = 1;  // best effort: only the texts get better
  (void)setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
  (void)setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
}

void NetlinkSocket::send(const std::vector<uint8_t>& bytes) {
  KJ_SYSCALL(::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL));
}

NetlinkMessages NetlinkSocket::receive() {
  ssize_t n;
  KJ_SYSCALL(n = recv(socket, buffer.data(), buffer.size(), MSG_TRUNC));
  KJ_ASSERT(size_t(n) <= buffer.size(), "a netlink answer is larger than the buffer", n);
  KJ_ASSERT(n > 0, "a netlink answer is empty");
  return NetlinkMessages(buffer.data(), n);
}

NetlinkSocket::Refusal NetlinkSocket::refusalOf(const nlmsghdr* answer) const {
  auto body = headerOf<nlmsgerr>(answer);
  Refusal refusal;
  if (body.error == 0) return refusal;
  refusal.error = body.error == INT_MIN ? EPROTO : -body.error;
  refusal.reason = kj::str(strerror(refusal.error));
  if ((answer->nlmsg_flags & NLM_F_ACK_TLVS) == 0) return refusal;
  size_t skip = sizeof(nlmsgerr);
  if ((answer->nlmsg_flags & NLM_F_CAPPED) == 0) {
    skip += body.msg.nlmsg_len - kj::min(size_t(body.msg.nlmsg_len), sizeof(nlmsghdr));
  }
  for (auto* attribute : NetlinkAttributes(answer, skip)) {
    if (mnl_attr_get_type(attribute) == NLMSGERR_ATTR_MSG) {
      refusal.reason = kj::str(refusal.reason, " (", textOf(attribute).c_str(), ")");
    }
  }
  return refusal;
}

std::vector<NetlinkSocket::Refusal> NetlinkSocket::acknowledgements(uint32_t first, size_t count) {
  acknowledged += count;
  std::vector<Refusal> refusals(count);
  for (size_t seen = 0; seen < count;) {
    for (auto* answer : receive()) {
      uint32_t index = answer->nlmsg_seq - first;
      if (answer->nlmsg_type != NLMSG_ERROR || index >= count) continue;
      refusals[index] = refusalOf(answer);
      ++seen;
    }
  }
  return refusals;
}

int NetlinkSocket::attempt(NetlinkMessage& message) {
  auto* head = message.finish(++sequence);
  head->nlmsg_flags |= NLM_F_ACK;
  send(message.bytes);
  return acknowledgements(sequence, 1)[0].error;
}

void NetlinkSocket::run(kj::ArrayPtr<NetlinkMessage> messages, int tolerated) {
  kj::Maybe<kj::String> failure;
  while (messages.size() > 0) {
    size_t count = kj::min(messages.size(), MAX_IN_ONE_GO);
    uint32_t first = sequence + 1;
    std::vector<uint8_t> bytes;
    for (auto& message : messages.slice(0, count)) {
      message.finish(++sequence)->nlmsg_flags |= NLM_F_ACK;
      bytes.insert(bytes.end(), message.bytes.begin(), message.bytes.end());
    }
    send(bytes);
    auto refusals = acknowledgements(first, count);
    for (size_t i = 0; i < count; ++i) {
      int error = refusals[i].error;
      if (error == 0 || error == tolerated || failure != nullptr) continue;
      failure = kj::str(messages[i].what(), ": ", refusals[i].reason);
    }
    messages = messages.slice(count, messages.size());
  }
  KJ_IF_MAYBE (text, failure) fail(kj::mv(*text));
}

bool NetlinkSocket::waitForEvent(int timeoutMs) {
  pollfd wait = {socket, POLLIN, 0};
  int ready;
  KJ_SYSCALL(ready = poll(&wait, 1, timeoutMs));
  if (ready == 0) return false;
  // An overflow (ENOBUFS) is an event as well: something happened.
  (void)recv(socket, buffer.data(), buffer.size(), MSG_DONTWAIT);
  return true;
}

bool NetlinkSocket::dump(NetlinkMessage& message, kj::FunctionParam<void(const nlmsghdr*)> row) {
  message.finish(++sequence)->nlmsg_flags |= NLM_F_DUMP;
  send(message.bytes);
  bool whole = true;
  for (;;) {
    for (auto* answer : receive()) {
      if (answer->nlmsg_seq != sequence) continue;
      if ((answer->nlmsg_flags & NLM_F_DUMP_INTR) != 0) whole = false;
      if (answer->nlmsg_type == NLMSG_DONE) return whole;
      if (answer->nlmsg_type == NLMSG_ERROR) {
        fail(kj::str(message.what(), ": ", refusalOf(answer).reason));
      }
      row(answer);
    }
  }
}

bool NetlinkSocket::find(NetlinkMessage& message, kj::FunctionParam<void(const nlmsghdr*)> row) {
  message.finish(++sequence);
  send(message.bytes);
  for (;;) {
    for (auto* answer : receive()) {
      if (answer->nlmsg_seq != sequence) continue;
      if (answer->nlmsg_type != NLMSG_ERROR) {
        row(answer);
        return true;
      }
      auto refusal = refusalOf(answer);
      if (refusal.error == ENODEV || refusal.error == ENOENT) return false;
      fail(kj::str(message.what(), ": ", refusal.reason));
    }
  }
}

}  // namespace orch::network
