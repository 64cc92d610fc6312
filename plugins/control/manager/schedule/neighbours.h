// Terms about services: a task should run near one of theirs, or away from all. What is where
// changes with every task and is looked up; which services are meant is kept.
#pragma once

#include "state/view.h"

namespace orch::control::manager {

class Neighbours final {
 public:
  // Of the tasks of a service by this spec. `serviceId` may be empty: then it is none of those
  // meant.
  Neighbours(const View& view, std::string_view serviceId, schema::TaskSpec::Reader spec);

  // It has such terms.
  bool any() const { return !terms.empty(); }
  // Why the node cannot have one more; empty if it can. Valid as long as the view.
  std::string_view refusal(std::string_view nodeId) const;
  // Takes away the nodes, a bit each by number, that cannot.
  void narrow(std::vector<uint64_t>& nodes) const;
  // It is to be away from its own: one on a node.
  bool isAwayFromOwn() const;
  // It is to be near its own, of which there are none yet: the first one decides where.
  bool isFirstOfOwn() const;
  // Somebody it has to be near is nowhere.
  bool waits() const;
  // Each that need not be met: its weight, and the nodes that meet it.
  template <typename F>
  void eachWish(size_t words, F&& use) const {
    for (auto& term : terms) {
      if (term.of->weight == 0) continue;
      auto bits = nodesOf(term, words);
      if (term.of->subject == Term::Subject::AWAY) {
        for (auto& word : bits) word = ~word;
      }
      use(term.of->weight, std::move(bits));
    }
  }

 private:
  struct Meant {
    Verdicts::Entry* of;
    std::vector<std::string> services;
    bool own = false;      // among them
    bool nobody = false;   // it is to be near them, and none has a task anywhere
    bool unknown = false;  // the filter has yet to say
  };
  bool isMet(const Meant& term, std::string_view nodeId) const;
  std::vector<uint64_t> nodesOf(const Meant& term, size_t words) const;

  const View& view;
  std::vector<Meant> terms;
};

// The same as a check: why the node cannot have one more.
std::string_view unmetNeighbour(const View& view, std::string_view serviceId,
                                std::string_view nodeId, schema::TaskSpec::Reader spec);

}  // namespace orch::control::manager
