#include "udp-batch.h"

namespace orch::network::dns {

UdpBatch::UdpBatch() : peers{}, places{}, incoming{}, outgoing{} {}

size_t UdpBatch::receive(int fd) {
  for (size_t i = 0; i < SIZE; ++i) {
    places[i] = {queries[i].data(), queries[i].size()};
    incoming[i] = {};
    auto& header = incoming[i].msg_hdr;
    header.msg_name = &peers[i];
    header.msg_namelen = sizeof(peers[i]);
    header.msg_iov = &places[i];
    header.msg_iovlen = 1;
    answers[i].clear();
  }
  int count = recvmmsg(fd, incoming.data(), SIZE, MSG_DONTWAIT, nullptr);
  return count > 0 ? static_cast<size_t>(count) : 0;
}

Message UdpBatch::query(size_t i) const {
  if ((incoming[i].msg_hdr.msg_flags & MSG_TRUNC) != 0) return {};
  return Message(queries[i].data(), incoming[i].msg_len);
}

void UdpBatch::send(int fd, size_t received) {
  unsigned count = 0;
  for (size_t i = 0; i < received; ++i) {
    if (answers[i].empty()) continue;
    places[i] = {answers[i].data(), answers[i].size()};
    outgoing[count] = {};
    auto& header = outgoing[count++].msg_hdr;
    header.msg_name = &peers[i];
    header.msg_namelen = sizeof(peers[i]);
    header.msg_iov = &places[i];
    header.msg_iovlen = 1;
  }
  for (unsigned sent = 0; sent < count;) {
    int now = sendmmsg(fd, outgoing.data() + sent, count - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    sent += now > 0 ? static_cast<unsigned>(now) : 1;  // that one cannot be sent
  }
}

}  // namespace orch::network::dns
