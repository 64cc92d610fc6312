// Evens the nodes out when one has come: a few tasks at a time, each only for a gain that can be
// stated, and only where the spread strategy would have put it. Pure.
//
// A task moves start-first: its slot gets another one on the other node, and the old one ends when
// that runs. If it fails instead, or the node cannot take it any more, the old one stays, and the
// node is left alone with that service for five minutes. Each move brings the tasks of its service
// closer to even over the values of its placement preferences, then over the nodes; or leaves that
// as it is and brings the nodes closer to as many tasks each. So they come to an end.
//
// Not moved are tasks of global services and jobs, of services that are being updated, wait for
// something, or use another strategy, and tasks that have a volume of a name or a port of their
// node.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "state/view.h"

namespace orch::control::manager {

// One look at all services, a service at a time.
class Rebalancing final {
 public:
  // `spreads`: services that name no strategy are spread.
  Rebalancing(View& view, bool spreads);
  KJ_DISALLOW_COPY(Rebalancing);

  // False when that was all.
  bool step();
  // When to look again; NEVER_NS if it has come to rest.
  int64_t againNs() const { return nextNs; }

 private:
  enum class Phase : uint8_t { LOOK, BY_SERVICE, BY_NODE };
  struct Place;
  struct Move;
  using Places = std::vector<Place*>;

  bool look(schema::Service::Reader service);
  void even(schema::Service::Reader service);
  std::vector<Place> placesOf(schema::Service::Reader service,
                              const std::set<std::string>& failedOn) const;
  bool takesOneMore(schema::Node::Reader node, schema::Service::Reader service,
                    int64_t ofService) const;
  bool findMove(schema::Service::Reader service, const Places& places, size_t level,
                Move& move) const;
  bool findInBranches(schema::Service::Reader service, const Places& places, size_t level,
                      Move& move) const;
  bool findOnNodes(schema::Service::Reader service, const Places& places, Move& move) const;
  void make(schema::Service::Reader service, const Slot& slot, const Move& move);
  void finish();

  View& view;
  const bool spreads;
  std::vector<std::string> names;  // of the services
  size_t next = 0;
  Phase phase = Phase::LOOK;
  uint32_t left = 0;  // that may be moved
  int64_t everyNs = 0;
  bool moved = false;
  bool waits = false;     // a service is not settled, and may be uneven when it is
  bool underWay = false;  // a task is being replaced, so that nodes have more than they will
  std::set<std::string> settled;            // services that may have tasks moved
  std::map<std::string, NodeUsage> coming;  // by what has been moved in this look
  int64_t nextNs;
};

}  // namespace orch::control::manager
