// What answers in one task's namespace: two sockets and the rules that lead port 53 of 127.0.0.11
// to them. Blocking: for worker threads.
#pragma once

#include <kj/io.h>
#include <kj/string.h>
#include <sys/types.h>

namespace orch::network::dns {

// The only table that is touched in a task's namespace; nothing of it is left when a task is
// released.
constexpr const char* TABLE = "orch_dns";

struct NamespaceId {
  dev_t device = 0;
  ino_t inode = 0;
  bool operator==(const NamespaceId&) const = default;
};

// Open sockets keep a namespace alive: they are closed before it can go.
struct TaskEnd {
  kj::AutoCloseFd inside;  // the namespace
  kj::AutoCloseFd udp;
  kj::AutoCloseFd tcp;  // listening
  uint16_t udpPort = 0;
  uint16_t tcpPort = 0;
};

kj::AutoCloseFd openNamespace(kj::StringPtr path);
NamespaceId idOf(const kj::AutoCloseFd& inside);
// Rules of an earlier run are replaced. On failure nothing is left.
TaskEnd openTaskEnd(kj::AutoCloseFd inside);
// Whether the rules lead there; reads only.
bool leadsTo(int inside, uint16_t udpPort, uint16_t tcpPort);
// Has them lead there, whatever is there.
void leadTo(int inside, uint16_t udpPort, uint16_t tcpPort);
// Takes the rules away; gone already is success.
void removeRules(int inside);

}  // namespace orch::network::dns
