// What a spec says, apart from how it is written: a field that was never set, one that is empty and
// one that is set to its default say the same. Pure.
#pragma once

#include <map>
#include <string>

#include "state/view.h"

namespace orch::control::manager {

// Equal exactly if the specs say the same.
std::string meaningOf(schema::ServiceSpec::Reader spec);
// Of the parts whose change replaces tasks. Constraints are not among them: a task whose node still
// meets them stays. Nor is what is tolerated of a node.
std::string taskMeaning(schema::ServiceSpec::Reader spec);

// Whether tasks are what their service's spec asks for, by what they say and not by the number of
// their spec: after a change was taken back, the tasks that it had not reached are current again.
// Lives as long as `service`; remembers what it found by spec version, since all tasks of one
// version say the same.
class CurrentSpec final {
 public:
  explicit CurrentSpec(schema::Service::Reader service) : wantedBy(service) {}
  schema::Service::Reader service() const { return wantedBy; }
  bool matches(const TaskReader& task);

 private:
  schema::Service::Reader wantedBy;
  std::string wanted;  // empty until it is needed
  std::map<uint64_t, bool> known;
};

}  // namespace orch::control::manager
