// The built-in checks of scheduling: which nodes could take a task of this spec at all, and why the
// others could not. Pure; the strategy among those that pass is a plugin's.
#pragma once

#include "state/view.h"

namespace orch::control::manager {

enum class Refusal : uint8_t {
  NOT_READY,
  NOT_ACTIVE,
  CPU,
  MEMORY,
  RUNTIME,
  NETWORK,
  ENCRYPTION,
  CONSTRAINT,
  HOST_PORT,
  MAX_PER_NODE,
};
inline constexpr size_t REFUSALS = 10;

struct Candidates {
  std::vector<std::string> nodes;
  std::array<uint32_t, REFUSALS> refused{};  // nodes by the first check that they failed
  // And in words, by the first constraint or encrypted network that is the reason.
  std::map<std::string, uint32_t> unmet;
};

// `ports` are those of the service, with the chosen published ones.
Candidates candidatesFor(const View& view, std::string_view serviceId,
                         schema::TaskSpec::Reader spec,
                         capnp::List<schema::PortSpec>::Reader ports);
// Whether any node could take a task of the service as it is now. Looks once, no further than to
// the first that could, however often it is asked.
class Room final {
 public:
  Room(const View& view, schema::Service::Reader service) : view(view), service(service) {}
  bool any();

 private:
  const View& view;
  schema::Service::Reader service;
  kj::Maybe<bool> known;
};
// Whether the node could take one more task, with `usage` on it and `ofService` tasks of the
// service.
bool canTake(const View& view, schema::Node::Reader node, schema::TaskSpec::Reader spec,
             capnp::List<schema::PortSpec>::Reader ports, const NodeUsage& usage,
             int64_t ofService);
// Whether it is one of those that change with the tasks on a node; the others change with the node.
inline bool isOfTasks(Refusal refusal) {
  return refusal == Refusal::CPU || refusal == Refusal::MEMORY || refusal == Refusal::HOST_PORT ||
         refusal == Refusal::MAX_PER_NODE;
}
// The first of the others that keeps such tasks from the node.
kj::Maybe<Refusal> standingRefusal(const View& view, schema::Node::Reader node,
                                   schema::TaskSpec::Reader spec);
// What `Candidates::unmet` says of it; empty if it counts among `refused` alone.
std::string wordsOf(const View& view, schema::Node::Reader node, schema::TaskSpec::Reader spec,
                    Refusal refusal);
// All that keeps it from the node, where `canTake` looks no further than to the first.
std::vector<Refusal> allRefusals(const View& view, schema::Node::Reader node,
                                 schema::TaskSpec::Reader spec,
                                 capnp::List<schema::PortSpec>::Reader ports,
                                 const NodeUsage& usage, int64_t ofService);
// The first port of the node that it would need and that another task has.
kj::Maybe<schema::PortSpec::Reader> takenHostPort(capnp::List<schema::PortSpec>::Reader ports,
                                                  const NodeUsage& usage);
// Why the one node that a task is for cannot take it, in the words of `whyNone`; empty if it can.
std::string whyNot(const View& view, schema::Node::Reader node, schema::TaskSpec::Reader spec,
                   capnp::List<schema::PortSpec>::Reader ports);
// The first of the spec's constraints, which have been validated, that the node does not meet;
// empty if it meets all.
std::string_view unmetConstraint(const View& view, schema::Node::Reader node,
                                 schema::TaskSpec::Reader spec);
// Whether the node meets one constraint that has been validated.
bool meets(const View& view, schema::Node::Reader node, std::string_view constraint);
// "no suitable node (insufficient memory on 2 nodes; constraint node.role==worker not met on 1
// node)"
std::string whyNone(const Candidates& candidates);
// Whether it takes a port of its node that it names.
bool takesHostPort(capnp::List<schema::PortSpec>::Reader ports);
// At most so many on a node: by the spec, and one if it takes a port of the node; 0: no limit.
uint32_t maxPerNode(schema::TaskSpec::Reader spec, capnp::List<schema::PortSpec>::Reader ports);

// The first encrypted network that the node cannot be on, and why; empty if there is none.
std::string unencrypted(const View& view, schema::Node::Reader node, schema::TaskSpec::Reader spec);
// What the node has of a constraint's key; empty if nothing.
std::string attributeOf(const View& view, schema::Node::Reader node, std::string_view key);
// Whether `node.…` is a key that there is.
bool knownConstraintKey(std::string_view key);

}  // namespace orch::control::manager
