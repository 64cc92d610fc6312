#include "service-removals.h"

#include <kj/vector.h>

#include "orch/fail.h"

namespace orch::cli {

namespace {

// What may be named: as it is shown, and by what else it goes.
struct Item {
  kj::String name;
  kj::String alias;  // empty: none
};
using Items = kj::Vector<Item>;

kj::String textBefore(kj::StringPtr text, char end) {
  return kj::heapString(text.begin(), text.findFirst(end).orDefault(text.size()));
}

Items items(capnp::List<capnp::Text>::Reader texts) {
  Items result;
  for (auto text : texts) result.add(Item{kj::str(text), kj::String()});
  return result;
}

Items items(capnp::List<schema::KeyValue>::Reader pairs) {
  Items result;
  for (auto pair : pairs) result.add(Item{kj::str(pair.getKey()), kj::String()});
  return result;
}

// By what is before `end`, or as a whole.
Items itemsBefore(capnp::List<capnp::Text>::Reader texts, char end, bool wholeToo) {
  Items result;
  for (auto text : texts) {
    result.add(Item{textBefore(text, end), wholeToo ? kj::str(text) : kj::String()});
  }
  return result;
}

void checkRemovals(const Arguments& args, kj::StringPtr flag, const Items& items) {
  for (auto& value : args.values(flag)) {
    bool found = false;
    kj::Vector<kj::StringPtr> names;
    for (auto& item : items) {
      found |= item.name == value || (item.alias.size() > 0 && item.alias == value);
      names.add(item.name);
    }
    if (found) continue;
    auto there = names.size() == 0 ? kj::str("there is none")
                                   : kj::str("there is ", kj::strArray(names, ", "));
    fail(kj::str(flag, " '", value, "' names nothing of the service: ", there));
  }
}

}  // namespace

void checkRemovals(const Arguments& args, schema::ServiceSpec::Reader spec) {
  auto task = spec.getTask();
  auto container = task.getContainer();
  checkRemovals(args, "--label-rm", items(spec.getLabels()));
  checkRemovals(args, "--container-label-rm", items(container.getLabels()));
  checkRemovals(args, "--sysctl-rm", items(container.getSysctls()));
  checkRemovals(args, "--env-rm", itemsBefore(container.getEnv(), '=', false));
  checkRemovals(args, "--host-rm", itemsBefore(container.getHosts(), ':', true));
  checkRemovals(args, "--constraint-rm", items(task.getPlacement().getConstraints()));
  checkRemovals(args, "--network-rm", items(task.getNetworks()));
  checkRemovals(args, "--dns-rm", items(container.getDns()));
  checkRemovals(args, "--dns-option-rm", items(container.getDnsOptions()));
  checkRemovals(args, "--dns-search-rm", items(container.getDnsSearch()));
  checkRemovals(args, "--group-rm", items(container.getGroups()));
  Items mounts;
  for (auto mount : container.getMounts())
    mounts.add(Item{kj::str(mount.getTarget()), kj::String()});
  checkRemovals(args, "--mount-rm", mounts);
  Items limits;
  for (auto limit : container.getUlimits())
    limits.add(Item{kj::str(limit.getName()), kj::String()});
  checkRemovals(args, "--ulimit-rm", limits);
  Items ports;
  for (auto port : spec.getEndpoint().getPorts()) {
    auto protocol = port.getProtocol() == schema::PortSpec::Protocol::UDP ? "udp" : "tcp";
    ports.add(Item{kj::str(port.getTarget(), "/", protocol), kj::str(port.getTarget())});
  }
  checkRemovals(args, "--publish-rm", ports);
}

}  // namespace orch::cli
