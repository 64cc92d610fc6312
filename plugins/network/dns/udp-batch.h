// Datagrams of one socket, several per system call. Plain memory that all sockets of a thread
// share: what is received is answered before the next batch.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <vector>

#include "message.h"

namespace orch::network::dns {

class UdpBatch final {
 public:
  static constexpr size_t SIZE = 32;
  // Of a query, which is some 50; longer ones are dropped.
  static constexpr size_t MOST_QUERY_BYTES = 2048;

  UdpBatch();
  KJ_DISALLOW_COPY(UdpBatch);

  // How many there were; 0: nothing now.
  size_t receive(int fd);
  // Empty if it was cut.
  Message query(size_t i) const;
  const sockaddr_in& from(size_t i) const { return peers[i]; }
  // Where to put what goes back; left empty, nothing does.
  Bytes& answer(size_t i) { return answers[i]; }
  // What the socket does not take now is lost, as datagrams are.
  void send(int fd, size_t received);

 private:
  std::array<std::array<uint8_t, MOST_QUERY_BYTES>, SIZE> queries;
  std::array<Bytes, SIZE> answers;
  std::array<sockaddr_in, SIZE> peers;
  std::array<iovec, SIZE> places;
  std::array<mmsghdr, SIZE> incoming;
  std::array<mmsghdr, SIZE> outgoing;
};

}  // namespace orch::network::dns
