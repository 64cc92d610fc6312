#include "serve/unanswered.h"

#include "state/usage.h"

namespace orch::control::manager {

namespace {
// `8080/tcp: why`
std::pair<std::string, std::string> split(capnp::Text::Reader told) {
  auto all = text(told);
  auto colon = all.find(": ");
  if (colon == std::string::npos) return {all, "it does not say why"};
  return {all.substr(0, colon), all.substr(colon + 2)};
}
}  // namespace

std::vector<std::string> unansweredOn(schema::Node::Reader node) {
  std::vector<std::string> all;
  for (auto told : node.getDescription().getUnanswered()) {
    auto [port, why] = split(told);
    all.push_back("port " + port + " of services on other nodes is not answered here: " + why);
  }
  return all;
}

std::vector<std::string> unansweredOf(const View& view, schema::ServiceSpec::Reader spec) {
  std::set<std::string> ports;
  for (auto port : spec.getEndpoint().getPorts()) {
    bool udp = port.getProtocol() == schema::PortSpec::Protocol::UDP;
    ports.insert(std::to_string(port.getPublished()) + (udp ? "/udp" : "/tcp"));
  }
  std::vector<std::string> all;
  if (ports.empty()) return all;
  for (auto node : view.nodes()) {
    if (isDown(node)) continue;
    for (auto told : node.getDescription().getUnanswered()) {
      auto [port, why] = split(told);
      if (ports.count(port) == 0) continue;
      all.push_back("port " + port + " is not answered on " +
                    text(node.getDescription().getHostname()) + ": " + why);
    }
  }
  return all;
}

}  // namespace orch::control::manager
