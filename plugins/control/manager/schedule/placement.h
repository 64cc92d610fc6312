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
  GENERIC,
  RUNTIME,
  NETWORK,
  ENCRYPTION,
  FILTER,
  HOST_PORT,
  MAX_PER_NODE,
  AFFINITY,
};
inline constexpr size_t REFUSALS = 12;

struct Candidates {
  std::vector<std::string> nodes;
  std::array<uint32_t, REFUSALS> refused{};  // nodes by the first check that they failed
  // And in words, by the first filter, encrypted network or kind of resource that is the reason.
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
bool canTake(const View& view, std::string_view serviceId, schema::Node::Reader node,
             schema::TaskSpec::Reader spec, capnp::List<schema::PortSpec>::Reader ports,
             const NodeUsage& usage, int64_t ofService);
// Whether it is one of those that change with the tasks on a node; the others change with the node.
// GENERIC is of both: what a node never has enough of, and what its tasks have taken.
inline bool isOfTasks(Refusal refusal) {
  return refusal == Refusal::CPU || refusal == Refusal::MEMORY || refusal == Refusal::HOST_PORT ||
         refusal == Refusal::MAX_PER_NODE || refusal == Refusal::AFFINITY;
}
// The first of the others that keeps such tasks from the node.
kj::Maybe<Refusal> standingRefusal(const View& view, schema::Node::Reader node,
                                   schema::TaskSpec::Reader spec);
// What `Candidates::unmet` says of it; empty if it counts among `refused` alone.
std::string wordsOf(const View& view, std::string_view serviceId, schema::Node::Reader node,
                    schema::TaskSpec::Reader spec, const GenericUsage& usage, Refusal refusal);
// All that keeps it from the node, where `canTake` looks no further than to the first.
std::vector<Refusal> allRefusals(const View& view, std::string_view serviceId,
                                 schema::Node::Reader node, schema::TaskSpec::Reader spec,
                                 capnp::List<schema::PortSpec>::Reader ports,
                                 const NodeUsage& usage, int64_t ofService);
// The first port of the node that it would need and that another task has.
kj::Maybe<schema::PortSpec::Reader> takenHostPort(capnp::List<schema::PortSpec>::Reader ports,
                                                  const NodeUsage& usage);
// Why the one node that a task is for cannot take it, in the words of `whyNone`; empty if it can.
std::string whyNot(const View& view, std::string_view serviceId, schema::Node::Reader node,
                   schema::TaskSpec::Reader spec, capnp::List<schema::PortSpec>::Reader ports);
// What filters say of nodes alone. An answer that is not there yet counts as a refusal, and is
// asked for: see Verdicts. Whoever acts on it looks whether any was, and looks again when it has
// come.
//
// Why the first term that the node has to meet, and does not, refuses it; empty if it meets all.
// Valid as long as the pass.
std::string_view unmetTerm(const View& view, schema::Node::Reader node,
                           schema::TaskSpec::Reader spec);
// The terms that nodes have to meet, as long as the view; and whether the node may meet them: false
// if a filter has refused it for good, not if one has yet to answer.
using NodeTerms = std::vector<Verdicts::Entry*>;
NodeTerms termsOfNodes(const View& view, schema::TaskSpec::Reader spec);
bool mayMeet(const View& view, schema::Node::Reader node, const NodeTerms& terms);
// The same of the node of that number. Remembered until the node changes.
bool mayMeet(const View& view, uint32_t node, const NodeTerms& terms);
inline bool mayMeetTerms(const View& view, schema::Node::Reader node,
                         schema::TaskSpec::Reader spec) {
  return mayMeet(view, node, termsOfNodes(view, spec));
}
// Of one term, which is about nodes: Verdicts::MET, a code of its refusals, or Verdicts::UNKNOWN.
uint8_t codeOf(const View& view, schema::Node::Reader node, Verdicts::Entry& term);
// "no suitable node (insufficient memory on 2 nodes; constraint node.role==worker not met on 1
// node)"
std::string whyNone(const Candidates& candidates);
// The first kind of resource that the spec wants more of than is free, or is there where `usage` is
// nothing; empty if there is none. In words: "insufficient gpu".
std::string_view lackingKind(schema::Node::Reader node, schema::TaskSpec::Reader spec,
                             const GenericUsage& usage);
std::string lackingWords(std::string_view kind);
// Whether it takes a port of its node that it names.
bool takesHostPort(capnp::List<schema::PortSpec>::Reader ports);

// The first encrypted network that the node cannot be on, and why; empty if there is none.
std::string unencrypted(const View& view, schema::Node::Reader node, schema::TaskSpec::Reader spec);
// What the node has of the key of a term, or of a preference; empty if nothing.
std::string attributeOf(const View& view, schema::Node::Reader node, std::string_view key);
// Whether `node.…` is a key that there is.
bool knownNodeKey(std::string_view key);
// The same of `service.…` and `container.…`.
bool knownServiceKey(std::string_view key);

}  // namespace orch::control::manager
