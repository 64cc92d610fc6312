// What one task publishes, as it is kept in a file so that the next orchd knows it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lib/ipv6.h"
#include "orch/schema/network.capnp.h"

namespace orch::network::ingress {

// A schema::PortSpec as a plain value that may go to other threads.
struct TaskPort {
  uint16_t target = 0;
  uint16_t published = 0;
  uint8_t protocol = 0;  // IPPROTO_TCP or IPPROTO_UDP
  bool host = false;     // mode=host, else ingress
  // Of ingress: while this node has tasks, no other gets a connection that comes here.
  bool preferLocal = false;

  static TaskPort of(schema::PortSpec::Reader spec);
  void write(schema::PortSpec::Builder spec) const;
  bool operator==(const TaskPort&) const = default;
};
uint8_t protocolOf(schema::PortSpec::Protocol protocol);
// `tcp` or `udp`, and back.
const char* protocolText(uint8_t protocol);
std::optional<uint8_t> protocolOf(const std::string& text);
// `8080/tcp`.
kj::String portText(uint16_t port, uint8_t protocol);

// Of a task on this node; the second only if it has that.
struct TaskAddress {
  Ipv4 ipv4 = 0;
  std::optional<Ipv6> ipv6;
};

struct Publication {
  std::string taskId;
  Ipv4 address = 0;  // of the task, on this node
  bool active = false;
  std::vector<TaskPort> ports;
  std::optional<Ipv6> address6;
  bool operator==(const Publication&) const = default;
};

std::string encodePublication(const Publication& publication);
// Empty if the text is not a complete record.
std::optional<Publication> decodePublication(const std::string& taskId, const std::string& text);

struct ReadPublications {
  std::vector<Publication> whole;
  std::vector<std::string> damaged;  // their tasks' ids
};
// Blocks; for worker threads.
ReadPublications readPublications(const std::string& folder);

}  // namespace orch::network::ingress
