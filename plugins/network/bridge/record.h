// What one task has on this network, as it is kept in a file so that the next orchd knows it. Text,
// one `key value` per line, readable by whoever looks for an error.
#pragma once

#include <kj/exception.h>

#include <optional>
#include <string>
#include <vector>

#include "lib/ipv4.h"
#include "lib/netns.h"
#include "orch/schema/network.capnp.h"

namespace orch::network::bridge {

// A schema::PortSpec as a plain value that may go to other threads.
struct TaskPort {
  uint16_t target = 0;
  uint16_t published = 0;
  uint8_t protocol = 0;  // IPPROTO_TCP or IPPROTO_UDP
  bool host = false;     // mode=host, else ingress

  static TaskPort of(schema::PortSpec::Reader spec);
  void write(schema::PortSpec::Builder spec) const;
  bool operator==(const TaskPort&) const = default;
};
// `8080/tcp`.
kj::String portText(uint16_t port, uint8_t protocol);

struct TaskRecord {
  std::string taskId;
  std::string serviceId;
  Ipv4 address = 0;
  bool active = false;
  std::vector<TaskPort> ports;
  bool operator==(const TaskRecord&) const = default;
};

std::string encodeRecord(const TaskRecord& record);
// Empty if the text is not a complete record.
std::optional<TaskRecord> decodeRecord(const std::string& taskId, const std::string& text);

// These block; for worker threads. A record is replaced as a whole or not at all; it need not
// survive the machine, since what it describes does not either.
void writeRecord(const std::string& folder, const TaskRecord& record, const Step& step = nullptr);
void removeRecord(const std::string& folder, const std::string& taskId);  // gone is success
struct ReadRecords {
  std::vector<TaskRecord> records;
  std::vector<std::string> damaged;  // their tasks' ids
};
// Makes the folder if it is not there.
ReadRecords readRecords(const std::string& folder);

}  // namespace orch::network::bridge
