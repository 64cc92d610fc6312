#include "record.h"

#include <sstream>

#include "lib/record-files.h"

namespace orch::network::bridge {

namespace {
constexpr const char* HEADER = "orch-network-task 2";
constexpr const char* TRAILER = "end";
}  // namespace

std::string encodeRecord(const TaskRecord& record) {
  std::ostringstream text;
  text << HEADER << "\naddress " << ipv4Text(record.address).cStr() << "\n" << TRAILER << "\n";
  return text.str();
}

std::optional<TaskRecord> decodeRecord(const std::string& taskId, const std::string& text) {
  std::istringstream lines(text);
  std::string line;
  if (!std::getline(lines, line) || line != HEADER) return std::nullopt;
  TaskRecord record;
  record.taskId = taskId;
  while (std::getline(lines, line)) {
    if (line == TRAILER) {
      if (record.address == 0) return std::nullopt;
      return record;
    }
    std::istringstream words(line);
    std::string key;
    std::string value;
    words >> key >> value;
    if (key != "address") return std::nullopt;
    record.address = parseIpv4(value.c_str()).value_or(0);
  }
  return std::nullopt;  // cut short
}

void writeRecord(const std::string& folder, const TaskRecord& record, const Step& step) {
  writeRecordFile(folder, record.taskId, encodeRecord(record), step);
}

ReadRecords readRecords(const std::string& folder) {
  ReadRecords read;
  for (auto& [name, text] : readRecordFiles(folder)) {
    auto record = decodeRecord(name, text);
    if (record) {
      read.records.push_back(std::move(*record));
    } else {
      read.damaged.push_back(name);
    }
  }
  return read;
}

}  // namespace orch::network::bridge
