#include "parse.h"

#include "lib/names.h"
#include "orch/fail.h"

namespace orch::network::ingress {

std::vector<TaskPort> portsOf(capnp::List<schema::PortSpec>::Reader list) {
  std::vector<TaskPort> ports;
  for (auto spec : list) ports.push_back(TaskPort::of(spec));
  return ports;
}

Ipv4 addressOf(kj::StringPtr text) {
  auto address = parseIpv4(text);
  if (address && *address != 0) return *address;
  fail(kj::str("'", text, "' cannot be an address: it must be an IPv4 one, as 192.168.0.10"));
}

std::optional<Ipv6> address6Of(kj::StringPtr text) {
  if (text.size() == 0) return std::nullopt;
  if (auto address = parseIpv6(text)) return address;
  fail(kj::str("'", text, "' cannot be an address: it must be an IPv6 one, as fd00:1::10"));
}

MeshNews newsOf(schema::MeshChange::Reader change) {
  MeshNews news;
  news.complete = change.getComplete();
  if (change.getAddress().size() > 0) news.facts.own = addressOf(change.getAddress());
  for (auto text : change.getInside()) {
    auto subnet = parseSubnet(text);
    if (!subnet) fail(kj::str("'", text, "' cannot be a subnet"));
    news.facts.inside.push_back(*subnet);
  }
  for (auto node : change.getNodes()) {
    if (!isId(node.getNodeId())) fail(kj::str("'", node.getNodeId(), "' cannot be a node's id"));
    auto& known = news.nodes[node.getNodeId().cStr()];
    known.address = addressOf(node.getAddress());
    for (auto port : node.getPorts()) {
      if (port.getPublished() == 0) fail(kj::str("a node cannot answer on port 0"));
      if (port.getTasks() > 0) {
        known.tasks[{protocolOf(port.getProtocol()), port.getPublished()}] = port.getTasks();
      }
    }
  }
  for (auto id : change.getGone()) news.gone.push_back(id.cStr());
  return news;
}

}  // namespace orch::network::ingress
