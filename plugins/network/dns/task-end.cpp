#include "task-end.h"

#include <fcntl.h>
#include <kj/debug.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "lib/netns.h"
#include "lib/nft-batch.h"
#include "lib/nft-content.h"
#include "message.h"

namespace orch::network::dns {

namespace {
constexpr Ipv4 ADDRESS = 0x7f00000b;  // 127.0.0.11, where docker's containers look too
constexpr uint16_t DNS_PORT = 53;
constexpr int BACKLOG = 64;
// Between our sockets and all rules that the task may have: these see port 53, both ways.
constexpr int32_t FIRST = INT32_MIN;
constexpr int32_t LAST = INT32_MAX;

kj::AutoCloseFd bound(int type) {
  int fd;
  KJ_SYSCALL(fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  kj::AutoCloseFd result(fd);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(ADDRESS);
  KJ_SYSCALL(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)));
  if (type == SOCK_STREAM) {
    KJ_SYSCALL(listen(fd, BACKLOG));
  }
  return result;
}

uint16_t portOf(int fd) {
  sockaddr_in address = {};
  socklen_t size = sizeof(address);
  KJ_SYSCALL(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size));
  return ntohs(address.sin_port);
}

// Packet by packet: nat would have all connections of the task tracked, for these few.
void addRedirect(NftBatch& batch, uint8_t protocol, uint16_t port) {
  NftRule there;
  there.destinationIn({ADDRESS, 32}).protocolIs(protocol).destinationPortIs(DNS_PORT);
  there.setDestinationPort(protocol, port);
  batch.addRule("input", there);
  NftRule back;
  back.sourceIn({ADDRESS, 32}).protocolIs(protocol).sourcePortIs(port);
  back.setSourcePort(protocol, DNS_PORT);
  batch.addRule("output", back);
}
void buildRedirects(NftBatch& batch, uint16_t udpPort, uint16_t tcpPort) {
  batch.addTable();
  batch.addChain("input", {"filter", NftPoint::INPUT, LAST});
  batch.addChain("output", {"filter", NftPoint::OUTPUT, FIRST});
  addRedirect(batch, IPPROTO_UDP, udpPort);
  addRedirect(batch, IPPROTO_TCP, tcpPort);
  // Nobody is there: the asker is to know the question that is refused. TCP's reset is an answer
  // like others.
  NftRule refused;
  refused.sourceIn({ADDRESS, 32}).isRefusalOf(udpPort).setRefusedPort(DNS_PORT);
  batch.addRule("output", refused);
}

// In the calling thread's network namespace. To delete takes milliseconds, which the start of a
// task should not.
void redirect(uint16_t udpPort, uint16_t tcpPort) {
  NftBatch batch(TABLE);
  if (nftTableExists(TABLE)) batch.deleteTable();
  buildRedirects(batch, udpPort, tcpPort);
  batch.commit();
}
}  // namespace

kj::AutoCloseFd openNamespace(kj::StringPtr path) {
  int fd;
  KJ_SYSCALL(fd = open(path.cStr(), O_RDONLY | O_CLOEXEC), path);
  return kj::AutoCloseFd(fd);
}

NamespaceId idOf(const kj::AutoCloseFd& inside) {
  struct stat about;
  KJ_SYSCALL(fstat(inside, &about));
  return {about.st_dev, about.st_ino};
}

TaskEnd openTaskEnd(kj::AutoCloseFd inside) {
  TaskEnd end;
  inNamespace(inside.get(), [&] {
    end.udp = bound(SOCK_DGRAM);
    end.tcp = bound(SOCK_STREAM);
    end.udpPort = portOf(end.udp);
    end.tcpPort = portOf(end.tcp);
    redirect(end.udpPort, end.tcpPort);
  });
  end.inside = kj::mv(inside);
  return end;
}

bool leadsTo(int inside, uint16_t udpPort, uint16_t tcpPort) {
  Findings findings;
  inNamespace(inside, [&] {
    NftBatch batch(TABLE);
    buildRedirects(batch, udpPort, tcpPort);
    checkTable(batch, findings);
  });
  return findings.empty();
}

void leadTo(int inside, uint16_t udpPort, uint16_t tcpPort) {
  inNamespace(inside, [&] { redirect(udpPort, tcpPort); });
}

void removeRules(int inside) {
  inNamespace(inside, [&] {
    NftBatch batch(TABLE);
    batch.addTable().deleteTable().commit();
  });
}

}  // namespace orch::network::dns
