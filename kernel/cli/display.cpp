#include "display.h"

#include <capnp/schema.h>
#include <kj/vector.h>

namespace orch::cli {

namespace {

template <typename E>
kj::String enumName(E value) {
  auto enumerants = capnp::Schema::from<E>().getEnumerants();
  auto index = static_cast<unsigned>(value);
  if (index >= enumerants.size()) return kj::str("unknown(", index, ")");
  return kj::str(enumerants[index].getProto().getName());
}

}  // namespace

kj::String portText(schema::PortSpec::Reader port) {
  auto protocol = port.getProtocol() == schema::PortSpec::Protocol::UDP ? "udp" : "tcp";
  auto outside = port.getPublished() == 0 ? kj::String() : kj::str("*:", port.getPublished(), "->");
  return kj::str(outside, port.getTarget(), "/", protocol);
}

kj::String portsText(capnp::List<schema::PortSpec>::Reader ports) {
  auto texts = KJ_MAP(port, ports) { return portText(port); };
  return kj::strArray(texts, ", ");
}

kj::String nameOf(schema::TaskState state) { return enumName(state); }
kj::String nameOf(schema::Node::State state) { return enumName(state); }
kj::String nameOf(schema::Node::Availability availability) { return enumName(availability); }

kj::String taskName(schema::Task::Reader task) {
  return kj::str(task.getServiceName(), ".", task.getSlot());
}

}  // namespace orch::cli
