#include "decide/port-allocator.h"

#include "orch/fail.h"

namespace orch::control::manager {

namespace {
using schema::PortSpec;
constexpr uint16_t FIRST_DYNAMIC = 30000;
constexpr uint16_t LAST_DYNAMIC = 32767;

kj::StringPtr protocolName(schema::PortSpec::Reader port) {
  return port.getProtocol() == schema::PortSpec::Protocol::TCP ? "tcp" : "udp";
}

// A port that ingress publishes is everywhere, so nobody else may have it. The same host port of
// two services is allowed: the scheduler keeps them apart.
void checkFree(View& view, schema::PortSpec::Reader port, std::string_view serviceId) {
  bool ingress = port.getMode() == PortSpec::PublishMode::INGRESS;
  for (auto& use : view.portUse(portKey(port.getProtocol(), port.getPublished()))) {
    if (use.first == serviceId) continue;
    if (!ingress && use.second.ingress == 0) continue;
    KJ_IF_MAYBE (other, view.service(use.first)) {
      fail(kj::str("port ", port.getPublished(), "/", protocolName(port),
                   " is already published by service '", other->getSpec().getName(),
                   "'; choose another one"));
    }
  }
}

uint16_t chosenBefore(const View& view, std::string_view serviceId, schema::PortSpec::Reader port,
                      const std::set<uint32_t>& taken) {
  KJ_IF_MAYBE (service, view.service(serviceId)) {
    for (auto old : service->getPorts()) {
      bool same = old.getTarget() == port.getTarget() && old.getProtocol() == port.getProtocol() &&
                  old.getMode() == port.getMode();
      bool dynamic = old.getPublished() >= FIRST_DYNAMIC && old.getPublished() <= LAST_DYNAMIC;
      if (same && dynamic && taken.count(portKey(old.getProtocol(), old.getPublished())) == 0) {
        return old.getPublished();
      }
    }
  }
  return 0;
}

uint16_t chooseFree(View& view, schema::PortSpec::Reader port, const std::set<uint32_t>& taken) {
  constexpr uint32_t COUNT = LAST_DYNAMIC - FIRST_DYNAMIC + 1;
  uint32_t start = view.random() % COUNT;
  for (uint32_t i = 0; i < COUNT; ++i) {
    uint16_t published = FIRST_DYNAMIC + (start + i) % COUNT;
    uint32_t key = portKey(port.getProtocol(), published);
    if (taken.count(key) == 0 && view.portUse(key).empty()) return published;
  }
  fail(kj::str("no port of ", FIRST_DYNAMIC, "-", LAST_DYNAMIC, " is left to publish port ",
               port.getTarget(), "/", protocolName(port), "; name one, or remove a service"));
}
}  // namespace

std::vector<uint16_t> allocatePorts(View& view, schema::ServiceSpec::Reader spec,
                                    std::string_view serviceId) {
  auto ports = spec.getEndpoint().getPorts();
  std::vector<uint16_t> published(ports.size(), 0);
  std::set<uint32_t> taken;
  for (uint32_t i = 0; i < ports.size(); ++i) {
    if (ports[i].getPublished() == 0) continue;
    checkFree(view, ports[i], serviceId);
    published[i] = ports[i].getPublished();
    taken.insert(portKey(ports[i].getProtocol(), published[i]));
  }
  for (uint32_t i = 0; i < ports.size(); ++i) {
    if (ports[i].getPublished() != 0 || ports[i].getMode() == PortSpec::PublishMode::HOST) continue;
    published[i] = chosenBefore(view, serviceId, ports[i], taken);
    if (published[i] == 0) published[i] = chooseFree(view, ports[i], taken);
    taken.insert(portKey(ports[i].getProtocol(), published[i]));
  }
  return published;
}

}  // namespace orch::control::manager
