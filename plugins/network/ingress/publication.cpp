#include "publication.h"

#include <netinet/in.h>

#include <sstream>

#include "lib/record-files.h"

namespace orch::network::ingress {

namespace {
constexpr const char* HEADER = "orch-published-ports 1";
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
  port.protocol = protocolOf(spec.getProtocol());
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

uint8_t protocolOf(schema::PortSpec::Protocol protocol) {
  return protocol == schema::PortSpec::Protocol::UDP ? IPPROTO_UDP : IPPROTO_TCP;
}

kj::String portText(uint16_t port, uint8_t protocol) {
  return kj::str(port, protocol == IPPROTO_UDP ? "/udp" : "/tcp");
}

std::string encodePublication(const Publication& publication) {
  std::ostringstream text;
  text << HEADER << "\naddress " << ipv4Text(publication.address).cStr() << "\nactive "
       << (publication.active ? 1 : 0) << "\n";
  for (auto& port : publication.ports) {
    text << "port " << (port.host ? "host " : "ingress ")
         << (port.protocol == IPPROTO_UDP ? "udp " : "tcp ") << port.published << " " << port.target
         << "\n";
  }
  text << TRAILER << "\n";
  return text.str();
}

std::optional<Publication> decodePublication(const std::string& taskId, const std::string& text) {
  std::istringstream lines(text);
  std::string line;
  if (!std::getline(lines, line) || line != HEADER) return std::nullopt;
  Publication publication;
  publication.taskId = taskId;
  while (std::getline(lines, line)) {
    if (line == TRAILER) {
      if (publication.address == 0) return std::nullopt;
      return publication;
    }
    std::istringstream words(line);
    std::string key;
    std::string value;
    words >> key;
    if (key == "port") {
      TaskPort port;
      if (!readPort(words, port)) return std::nullopt;
      publication.ports.push_back(port);
      continue;
    }
    words >> value;
    if (key == "address") {
      publication.address = parseIpv4(value.c_str()).value_or(0);
    } else if (key == "active") {
      publication.active = value == "1";
    } else {
      return std::nullopt;
    }
  }
  return std::nullopt;  // cut short
}

ReadPublications readPublications(const std::string& folder) {
  ReadPublications read;
  for (auto& [name, text] : readRecordFiles(folder)) {
    auto publication = decodePublication(name, text);
    if (publication) {
      read.whole.push_back(std::move(*publication));
    } else {
      read.damaged.push_back(name);
    }
  }
  return read;
}

}  // namespace orch::network::ingress
