#include "display.h"

#include <capnp/schema.h>
#include <kj/vector.h>

#include "human.h"

namespace orch::cli {

kj::String portText(schema::PortSpec::Reader port) {
  auto protocol = port.getProtocol() == schema::PortSpec::Protocol::UDP ? "udp" : "tcp";
  auto outside = port.getPublished() == 0 ? kj::String() : kj::str("*:", port.getPublished(), "->");
  return kj::str(outside, port.getTarget(), "/", protocol);
}

namespace {

// Whether `next` comes right after `last` on both sides.
bool follows(schema::PortSpec::Reader last, schema::PortSpec::Reader next) {
  bool published = last.getPublished() != 0 && next.getPublished() != 0;
  return published && last.getProtocol() == next.getProtocol() &&
         last.getMode() == next.getMode() && last.getPublished() + 1 == next.getPublished() &&
         last.getTarget() + 1 == next.getTarget();
}

kj::String rangeText(schema::PortSpec::Reader first, schema::PortSpec::Reader last) {
  auto protocol = first.getProtocol() == schema::PortSpec::Protocol::UDP ? "udp" : "tcp";
  return kj::str("*:", first.getPublished(), "-", last.getPublished(), "->", first.getTarget(), "-",
                 last.getTarget(), "/", protocol);
}

}  // namespace

kj::String portsText(capnp::List<schema::PortSpec>::Reader ports) {
  kj::Vector<kj::String> texts;
  for (uint32_t first = 0; first < ports.size();) {
    uint32_t last = first;
    while (last + 1 < ports.size() && follows(ports[last], ports[last + 1])) ++last;
    texts.add(first == last ? portText(ports[first]) : rangeText(ports[first], ports[last]));
    first = last + 1;
  }
  return kj::strArray(texts, ", ");
}

kj::String nameOf(capnp::DynamicEnum value) { return kj::str(value); }

kj::String taskName(schema::Task::Reader task) {
  if (task.getSlot() == 0) return kj::str(task.getServiceName(), ".", task.getNodeId());
  return kj::str(task.getServiceName(), ".", task.getSlot());
}

kj::String imageText(schema::ContainerSpec::Reader container, bool whole) {
  auto digest = container.getImageDigest();
  if (digest.size() == 0) return kj::str(container.getImage());
  return kj::str(container.getImage(), "@", shortId(digest, whole));
}

}  // namespace orch::cli
