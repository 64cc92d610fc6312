#include "publication.h"

#include <netinet/in.h>

#include "lib/record-files.h"
#include "record-text.h"

namespace orch::network::ingress {

namespace {
constexpr const char* HEADER = "orch-published-ports 1";

// `port host tcp 8080 80`, `port ingress tcp 8080 80`, `port local tcp 8080 80`.
std::optional<TaskPort> portOf(const Words& words) {
  if (words.size() != 5) return std::nullopt;
  bool host = words[1] == "host";
  bool local = words[1] == "local";
  auto protocol = protocolOf(words[2]);
  auto published = decodeNumber(words[3], 1, 65535);
  auto target = decodeNumber(words[4], 1, 65535);
  bool known = host || local || words[1] == "ingress";
  if (!known || !protocol || !published || !target) return std::nullopt;
  return TaskPort{static_cast<uint16_t>(*target), static_cast<uint16_t>(*published), *protocol,
                  host, local};
}
}  // namespace

TaskPort TaskPort::of(schema::PortSpec::Reader spec) {
  TaskPort port;
  port.target = spec.getTarget();
  port.published = spec.getPublished();
  port.protocol = protocolOf(spec.getProtocol());
  port.host = spec.getMode() == schema::PortSpec::PublishMode::HOST;
  port.preferLocal = !port.host && spec.getPreferLocal();
  return port;
}

void TaskPort::write(schema::PortSpec::Builder spec) const {
  spec.setTarget(target);
  spec.setPublished(published);
  spec.setProtocol(protocol == IPPROTO_UDP ? schema::PortSpec::Protocol::UDP
                                           : schema::PortSpec::Protocol::TCP);
  spec.setMode(host ? schema::PortSpec::PublishMode::HOST : schema::PortSpec::PublishMode::INGRESS);
  spec.setPreferLocal(preferLocal);
}

uint8_t protocolOf(schema::PortSpec::Protocol protocol) {
  return protocol == schema::PortSpec::Protocol::UDP ? IPPROTO_UDP : IPPROTO_TCP;
}

kj::String portText(uint16_t port, uint8_t protocol) {
  return kj::str(port, "/", protocolText(protocol));
}

const char* protocolText(uint8_t protocol) { return protocol == IPPROTO_UDP ? "udp" : "tcp"; }

std::optional<uint8_t> protocolOf(const std::string& text) {
  if (text == "tcp") return IPPROTO_TCP;
  if (text == "udp") return IPPROTO_UDP;
  return std::nullopt;
}

std::string encodePublication(const Publication& publication) {
  std::vector<std::string> lines;
  lines.push_back(kj::str("address ", ipv4Text(publication.address)).cStr());
  if (publication.address6) {
    lines.push_back(kj::str("address6 ", ipv6Text(*publication.address6)).cStr());
  }
  lines.push_back(kj::str("active ", publication.active ? 1 : 0).cStr());
  for (auto& port : publication.ports) {
    auto mode = port.host ? "host " : port.preferLocal ? "local " : "ingress ";
    lines.push_back(
        kj::str("port ", mode, protocolText(port.protocol), " ", port.published, " ", port.target)
            .cStr());
  }
  return encodeLines(HEADER, lines);
}

std::optional<Publication> decodePublication(const std::string& taskId, const std::string& text) {
  auto lines = decodeLines(HEADER, text);
  if (!lines) return std::nullopt;
  Publication publication;
  publication.taskId = taskId;
  for (auto& words : *lines) {
    if (words[0] == "port") {
      auto port = portOf(words);
      if (!port) return std::nullopt;
      publication.ports.push_back(*port);
    } else if (words[0] == "address" && words.size() == 2) {
      publication.address = parseIpv4(words[1].c_str()).value_or(0);
    } else if (words[0] == "address6" && words.size() == 2) {
      publication.address6 = parseIpv6(words[1].c_str());
    } else if (words[0] == "active" && words.size() == 2) {
      publication.active = words[1] == "1";
    } else {
      return std::nullopt;
    }
  }
  if (publication.address == 0) return std::nullopt;
  return publication;
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
