#include "record.h"

#include <errno.h>
#include <kj/debug.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "lib/names.h"
#include "orch/durable-file.h"

namespace orch::network::bridge {

namespace {
constexpr const char* HEADER = "orch-network-task 1";
constexpr const char* TRAILER = "end";

bool readPort(std::istringstream& line, TaskPort& port) {
  std::string mode;
  std::string protocol;
  if (!(line >> mode >> protocol >> port.published >> port.target)) return false;
  if ((mode != "host" && mode != "ingress") || (protocol != "tcp" && protocol != "udp")) {
    return false;
  }
  port.host = mode == "host";
  port.protocol = protocol == "tcp" ? IPPROTO_TCP : IPPROTO_UDP;
  return port.published != 0 && port.target != 0;
}
}  // namespace

TaskPort TaskPort::of(schema::PortSpec::Reader spec) {
  TaskPort port;
  port.target = spec.getTarget();
  port.published = spec.getPublished();
  port.protocol = spec.getProtocol() == schema::PortSpec::Protocol::UDP ? IPPROTO_UDP : IPPROTO_TCP;
  port.host = spec.getMode() == schema::PortSpec::PublishMode::HOST;
  return port;
}

void TaskPort::write(schema::PortSpec::Builder spec) const {
  spec.setTarget(target);
  spec.setPublished(published);
  spec.setProtocol(protocol == IPPROTO_UDP ? schema::PortSpec::Protocol::UDP
                                           : schema::PortSpec::Protocol::TCP);
  spec.setMode(host ? schema::PortSpec::PublishMode::HOST : schema::PortSpec::PublishMode::INGRESS);
}

kj::String portText(uint16_t port, uint8_t protocol) {
  return kj::str(port, protocol == IPPROTO_UDP ? "/udp" : "/tcp");
}

std::string encodeRecord(const TaskRecord& record) {
  std::ostringstream text;
  text << HEADER << "\naddress " << ipv4Text(record.address).cStr() << "\n";
  if (!record.serviceId.empty()) text << "service " << record.serviceId << "\n";
  text << "active " << (record.active ? 1 : 0) << "\n";
  for (auto& port : record.ports) {
    text << "port " << (port.host ? "host " : "ingress ")
         << (port.protocol == IPPROTO_UDP ? "udp " : "tcp ") << port.published << " " << port.target
         << "\n";
  }
  text << TRAILER << "\n";
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
    TaskPort port;
    words >> key;
    if (key == "port") {
      if (!readPort(words, port)) return std::nullopt;
      record.ports.push_back(port);
      continue;
    }
    words >> value;
    if (key == "address") {
      record.address = parseIpv4(value.c_str()).value_or(0);
    } else if (key == "service") {
      record.serviceId = value;
    } else if (key == "active") {
      record.active = value == "1";
    } else {
      return std::nullopt;
    }
  }
  return std::nullopt;  // cut short
}

void writeRecord(const std::string& folder, const TaskRecord& record, const Step& step) {
  auto text = encodeRecord(record);
  auto path = folder + "/" + record.taskId;
  if (step) step();
  replaceFile(path, kj::StringPtr(text.c_str(), text.size()).asBytes(), Outlives::PROCESS);
  if (step) step();
}

void removeRecord(const std::string& folder, const std::string& taskId) {
  auto path = folder + "/" + taskId;
  if (unlink(path.c_str()) == 0) return;
  int error = errno;
  KJ_ASSERT(error == ENOENT, "cannot remove a record", path.c_str(), strerror(error));
}

ReadRecords readRecords(const std::string& folder) {
  std::filesystem::create_directories(folder);
  ReadRecords read;
  for (auto& entry : std::filesystem::directory_iterator(folder)) {
    auto name = entry.path().filename().string();
    if (!isId(name.c_str())) {
      std::filesystem::remove(entry.path());
      continue;
    }
    std::ifstream file(entry.path());
    std::ostringstream text;
    text << file.rdbuf();
    auto record = decodeRecord(name, text.str());
    if (record) {
      read.records.push_back(std::move(*record));
    } else {
      read.damaged.push_back(name);
    }
  }
  return read;
}

}  // namespace orch::network::bridge
