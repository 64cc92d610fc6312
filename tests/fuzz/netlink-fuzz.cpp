// What is answered over netlink is read as far as it is whole, whatever it says: rtnetlink,
// nfnetlink and generic netlink. An input is the number of a request, and datagrams with their
// lengths.
//
// Given a folder that is empty, it begins with seeds of its own there: the requests that the
// plugins make have the form of answers.
#include <kj/debug.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "lib/conntrack.h"
#include "lib/generic-netlink.h"
#include "lib/nft-batch.h"
#include "lib/rtnetlink.h"

using namespace orch::network;

namespace {

using Bytes = std::vector<uint8_t>;
constexpr uint32_t SEQUENCES = 4;  // an answer belongs to one of the first requests of a socket

// Both ends of a wire; what is written to `kernel` is answered.
struct Wire {
  Wire() {
    int ends[2];
    KJ_SYSCALL(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends));
    ours = kj::AutoCloseFd(ends[0]);
    kernel = kj::AutoCloseFd(ends[1]);
  }
  kj::AutoCloseFd ours;
  kj::AutoCloseFd kernel;
};

const std::vector<std::function<void(NetlinkSocket)>> REQUESTS = {
    [](NetlinkSocket socket) { Rtnetlink(kj::mv(socket)).links(); },
    [](NetlinkSocket socket) { Rtnetlink(kj::mv(socket)).addresses(); },
    [](NetlinkSocket socket) { Rtnetlink(kj::mv(socket)).routes(); },
    [](NetlinkSocket socket) { Rtnetlink(kj::mv(socket)).permanentNeighbours(); },
    [](NetlinkSocket socket) { Rtnetlink(kj::mv(socket)).remoteMacs(); },
    [](NetlinkSocket socket) { Rtnetlink(kj::mv(socket)).link("eth0"); },
    [](NetlinkSocket socket) { Rtnetlink(kj::mv(socket)).run(linkUp(1), linkUp(2)); },
    [](NetlinkSocket socket) {
      forgetFlows(socket, {{1, 0, false}});
    },
    [](NetlinkSocket socket) {
      forgetUnled(socket, {{17, 53}}, {1});
    },
    [](NetlinkSocket socket) { anyOpen(socket, {1}); },
    [](NetlinkSocket socket) { nftChains(socket, "table"); },
    [](NetlinkSocket socket) { genericFamily(socket, "IPVS"); },
    [](NetlinkSocket socket) { NftBatch("table").addTable().commit(socket); },
};

void answer(Wire& wire, const uint8_t* data, size_t size) {
  while (size > 2) {
    size_t length = kj::min(size - 2, size_t(data[0] | data[1] << 8));
    Bytes datagram(data + 2, data + 2 + length);
    data += 2 + length;
    size -= 2 + length;
    // The number of the request is the one thing that no mutation would find.
    for (size_t at = 0; datagram.size() - at >= sizeof(nlmsghdr);) {
      nlmsghdr head;
      memcpy(&head, datagram.data() + at, sizeof(head));
      head.nlmsg_seq = 1 + head.nlmsg_seq % SEQUENCES;
      memcpy(datagram.data() + at, &head, sizeof(head));
      if (head.nlmsg_len < sizeof(head) || head.nlmsg_len > datagram.size() - at) break;
      at = kj::min(at + NLMSG_ALIGN(head.nlmsg_len), datagram.size());
    }
    if (send(wire.kernel, datagram.data(), datagram.size(), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) break;
  }
  shutdown(wire.kernel, SHUT_WR);
}

// ---- seeds --------------------------------------------------------------------------------------

template <typename T>
void append(Bytes& bytes, const T& value) {
  auto* from = reinterpret_cast<const uint8_t*>(&value);
  bytes.insert(bytes.end(), from, from + sizeof(value));
}

void appendDatagram(Bytes& input, const Bytes& datagram) {
  input.push_back(datagram.size() & 0xff);
  input.push_back(datagram.size() >> 8);
  input.insert(input.end(), datagram.begin(), datagram.end());
}

// As one datagram, with a sequence that `answer` makes that of the first request.
Bytes requestOf(const std::function<void(NetlinkSocket)>& ask) {
  Wire wire;
  shutdown(wire.kernel, SHUT_WR);
  auto asked = kj::runCatchingExceptions([&] { ask(NetlinkSocket(kj::mv(wire.ours))); });
  Bytes bytes(65536);
  auto size = recv(wire.kernel, bytes.data(), bytes.size(), MSG_DONTWAIT);
  bytes.resize(size < 0 ? 0 : size);
  for (size_t at = 0; bytes.size() - at >= sizeof(nlmsghdr);) {
    nlmsghdr head;
    memcpy(&head, bytes.data() + at, sizeof(head));
    head.nlmsg_seq = 0;
    head.nlmsg_flags = NLM_F_MULTI;
    memcpy(bytes.data() + at, &head, sizeof(head));
    if (head.nlmsg_len < sizeof(head)) break;
    at = kj::min(at + NLMSG_ALIGN(head.nlmsg_len), bytes.size());
  }
  return bytes;
}

Bytes end(int error) {
  Bytes bytes;
  nlmsghdr head = {};
  head.nlmsg_len = sizeof(nlmsghdr) + sizeof(nlmsgerr);
  head.nlmsg_type = error == 0 ? NLMSG_DONE : NLMSG_ERROR;
  head.nlmsg_flags = NLM_F_CAPPED | NLM_F_ACK_TLVS;
  nlmsgerr body = {};
  body.error = -error;
  std::string text = "a reason";
  nlattr attribute = {static_cast<uint16_t>(NLA_HDRLEN + text.size() + 1), NLMSGERR_ATTR_MSG};
  head.nlmsg_len += NLA_ALIGN(attribute.nla_len);
  append(bytes, head);
  append(bytes, body);
  append(bytes, attribute);
  bytes.insert(bytes.end(), text.begin(), text.end());
  bytes.resize(head.nlmsg_len);
  return bytes;
}

void plant(const std::filesystem::path& folder) {
  VxlanSpec vxlan;
  vxlan.name = "vxlan0";
  vxlan.facts = {4096, 1, 4789};
  vxlan.mac = macOf(1);
  std::vector<NetlinkMessage> changes;
  changes.push_back(newBridge("br0", macOf(1), 1500));
  changes.push_back(newVxlan(vxlan));
  changes.push_back(setAlias(1, "ours"));
  changes.push_back(setHairpin(1));
  changes.push_back(newAddress(1, 1, 24));
  changes.push_back(newDefaultRoute(1, 1));
  changes.push_back(newThrowRoute(1000, {1 << 8, 24}));
  changes.push_back(newNeighbour(1, 1, macOf(1)));
  changes.push_back(newRemoteMac({1, macOf(1), 1}));
  std::vector<Bytes> answers;
  answers.push_back(
      requestOf([&](NetlinkSocket socket) { Rtnetlink(kj::mv(socket)).runAll(changes); }));
  for (auto& ask : REQUESTS) answers.push_back(requestOf(ask));
  for (size_t request = 0; request < REQUESTS.size(); ++request) {
    for (size_t i = 0; i < answers.size(); ++i) {
      for (int error : {0, ENOENT}) {
        Bytes input{static_cast<uint8_t>(request)};
        appendDatagram(input, answers[i]);
        appendDatagram(input, end(error));
        auto name = std::to_string(request) + "-" + std::to_string(i) + "-" + std::to_string(error);
        std::ofstream file(folder / name, std::ios::binary);
        file.write(reinterpret_cast<const char*>(input.data()), input.size());
      }
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* count, char*** arguments) {
  for (int i = 1; i < *count; ++i) {
    std::filesystem::path folder((*arguments)[i]);
    if (!std::filesystem::is_directory(folder)) continue;
    if (std::filesystem::is_empty(folder)) plant(folder);
    break;
  }
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  Wire wire;
  answer(wire, data + 1, size - 1);
  auto& request = REQUESTS[data[0] % REQUESTS.size()];
  auto refused = kj::runCatchingExceptions([&] { request(NetlinkSocket(kj::mv(wire.ours))); });
  return 0;
}
