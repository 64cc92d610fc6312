#include "service-entry.h"

#include <algorithm>
#include <charconv>
#include <set>
#include <utility>

#include "metadata.h"

namespace orch::integration::registrator {

namespace {

using Protocol = schema::PortSpec::Protocol;
using Said = std::vector<std::pair<std::string, std::string>>;

struct ContainerPort {
  uint16_t target = 0;
  Protocol protocol = Protocol::TCP;
  uint16_t published = 0;  // 0: it is not

  bool isAt(uint16_t port, Protocol of) const { return target == port && protocol == of; }
};

void sayLine(Said& said, kj::StringPtr line) {
  std::string_view text(line.begin(), line.size());
  auto equals = text.find('=');
  if (equals == std::string_view::npos) return;
  std::string key(text.substr(0, equals));
  // One that is set again is another: of its image, it is as the container has it.
  std::erase_if(said, [&](auto& pair) { return pair.first == key; });
  said.emplace_back(std::move(key), text.substr(equals + 1));
}

// Environment first, then labels, as a container has them: its own replace its image's.
Said saidBy(schema::ContainerSpec::Reader container, schema::ImageConfig::Reader image) {
  Said said;
  for (auto line : image.getEnv()) sayLine(said, line);
  for (auto line : container.getEnv()) sayLine(said, line);
  std::map<std::string, std::string> labels;
  for (auto label : image.getLabels()) labels[label.getKey().cStr()] = label.getValue().cStr();
  for (auto label : container.getLabels()) labels[label.getKey().cStr()] = label.getValue().cStr();
  for (auto& [key, value] : labels) said.emplace_back(key, value);
  return said;
}

std::string labelOf(schema::ContainerSpec::Reader container, schema::ImageConfig::Reader image,
                    const std::string& key) {
  std::string value;
  for (auto label : image.getLabels()) {
    if (label.getKey() == key.c_str()) value = label.getValue().cStr();
  }
  for (auto label : container.getLabels()) {
    if (label.getKey() == key.c_str()) value = label.getValue().cStr();
  }
  return value;
}

bool onHostNetwork(schema::Task::Reader task) {
  auto networks = task.getSpec().getNetworks();
  return networks.size() == 1 && networks[0].getName() == "host";
}

uint16_t publishedOf(schema::Task::Reader task, schema::PortSpec::Reader port) {
  if (onHostNetwork(task)) return port.getTarget();
  for (auto chosen : task.getStatus().getHostPorts()) {
    bool same = chosen.getTarget() == port.getTarget() &&
                chosen.getProtocol() == port.getProtocol() &&
                port.getMode() == schema::PortSpec::PublishMode::HOST;
    if (same) return chosen.getPublished();
  }
  return port.getPublished();
}

void addPort(std::vector<ContainerPort>& ports, ContainerPort port) {
  bool known = std::any_of(ports.begin(), ports.end(), [&](const ContainerPort& other) {
    return other.isAt(port.target, port.protocol);
  });
  if (!known) ports.push_back(port);
}

// `80/tcp`, `53/udp`, `80`.
void addExposed(std::vector<ContainerPort>& ports, std::string_view text) {
  ContainerPort port;
  auto slash = text.find('/');
  auto number = text.substr(0, slash);
  auto read = std::from_chars(number.data(), number.data() + number.size(), port.target);
  if (read.ec != std::errc() || read.ptr != number.data() + number.size()) return;
  if (slash != std::string_view::npos && text.substr(slash + 1) == "udp")
    port.protocol = Protocol::UDP;
  if (port.target > 0) addPort(ports, port);
}

std::vector<ContainerPort> portsOf(schema::Task::Reader task, schema::ImageConfig::Reader image,
                                   bool internal) {
  std::vector<ContainerPort> ports;
  for (auto port : task.getPorts()) {
    ContainerPort one{port.getTarget(), port.getProtocol(), publishedOf(task, port)};
    if (internal || one.published > 0) addPort(ports, one);
  }
  if (!internal) return ports;
  for (auto exposed : image.getExposedPorts()) addExposed(ports, {exposed.begin(), exposed.size()});
  return ports;
}

std::string withoutPrefixLength(kj::StringPtr address) {
  std::string text = address.cStr();
  return text.substr(0, text.rfind('/'));
}

// In a network that spans hosts, if the task is in one: others reach that.
std::string internalAddress(schema::Task::Reader task) {
  if (task.getLegs().size() > 0) return withoutPrefixLength(task.getLegs()[0].getAddress());
  auto addresses = task.getStatus().getAddresses();
  return addresses.size() > 0 ? withoutPrefixLength(addresses[0]) : std::string();
}

// `app` of `registry:5000/team/app:1@sha256:…`
std::string baseOf(kj::StringPtr image) {
  std::string text = image.cStr();
  text.erase(std::min(text.find('@'), text.size()));
  text.erase(0, text.rfind('/') + 1);
  return text.substr(0, text.find(':'));
}

// docker calls an end by a signal 128 and the signal's number.
constexpr int SIGNALED = 128;

bool hasFailed(schema::Task::Reader task) {
  auto status = task.getStatus();
  if (status.getState() != schema::TaskState::FAILED || status.getRunningAtNs() == 0) return false;
  int code = status.getContainer().getExitCode();
  return code != 0 && (code & SIGNALED) == 0;
}

}  // namespace

std::string containerName(schema::Task::Reader task) {
  auto slot = task.getSlot() > 0 ? kj::str(task.getSlot()) : kj::str(task.getNodeId());
  return kj::str(task.getServiceName(), ".", slot, ".", task.getMeta().getId()).cStr();
}

std::vector<ServiceEntry> entriesOf(schema::TaskEntry::Reader fed,
                                    schema::ImageConfig::Reader image, const EntryRules& rules) {
  std::vector<ServiceEntry> entries;
  auto task = fed.getTask();
  auto container = task.getSpec().getContainer();
  bool there = fed.getServing() || (rules.keepFailed && hasFailed(task));
  if (!there) return entries;
  auto address = rules.internal && !onHostNetwork(task) ? internalAddress(task) : rules.address;
  if (!rules.addressLabel.empty()) {
    auto given = labelOf(container, image, rules.addressLabel);
    if (!given.empty()) address = withoutPrefixLength(given.c_str());
  }
  if (address.empty()) return entries;
  auto said = saidBy(container, image);
  auto ports = portsOf(task, image, rules.internal);
  for (auto& port : ports) {
    auto metadata = metadataOf(said, port.target);
    if (!metadata.get("ignore").empty()) continue;
    std::string name(metadata.get("name"));
    if (name.empty() && rules.explicitOnly) continue;
    if (name.empty()) name = baseOf(container.getImage());
    auto number = std::to_string(port.target);
    if (ports.size() > 1 && metadata.ofPort.count("name") == 0) name += "-" + number;
    ServiceEntry entry;
    entry.id = rules.hostname + ":" + containerName(task) + ":" + number;
    entry.name = std::move(name);
    entry.address = address;
    entry.port = rules.internal ? port.target : port.published;
    entry.tags = tagsOf(metadata.get("tags"));
    entry.tags.insert(entry.tags.end(), rules.tags.begin(), rules.tags.end());
    if (port.protocol == Protocol::UDP) {
      entry.tags.push_back("udp");
      entry.id += ":udp";
    }
    if (!metadata.get("id").empty()) entry.id = metadata.get("id");
    entry.attributes = metadata.values;
    for (auto* own : {"id", "tags", "name"}) entry.attributes.erase(own);
    entry.privatePort = port.target;
    entry.taskId = task.getMeta().getId().cStr();
    entries.push_back(std::move(entry));
  }
  return entries;
}

}  // namespace orch::integration::registrator
