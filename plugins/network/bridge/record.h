// What one task has on this network, as it is kept in a file so that the next orchd knows it. Text,
// one `key value` per line, readable by whoever looks for an error.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lib/ipv4.h"
#include "lib/netns.h"

namespace orch::network::bridge {

struct TaskRecord {
  std::string taskId;
  Ipv4 address = 0;
  bool operator==(const TaskRecord&) const = default;
};

std::string encodeRecord(const TaskRecord& record);
// Empty if the text is not a complete record.
std::optional<TaskRecord> decodeRecord(const std::string& taskId, const std::string& text);

// These block; for worker threads. A record is replaced as a whole or not at all; it need not
// survive the machine, since what it describes does not either.
void writeRecord(const std::string& folder, const TaskRecord& record, const Step& step = nullptr);
struct ReadRecords {
  std::vector<TaskRecord> records;
  std::vector<std::string> damaged;  // their tasks' ids
};
// Makes the folder if it is not there.
ReadRecords readRecords(const std::string& folder);

}  // namespace orch::network::bridge
