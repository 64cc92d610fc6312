// Tells the bus what was committed: `service.created`, `task.running`, `node.down`.
#pragma once

#include "manager.h"

namespace orch::control::manager {

class EventPublisher final : public ChangeObserver {
 public:
  EventPublisher(Host& host, Manager& manager) : host(host) { manager.observe(*this); }
  void changing(const Key& key, const Object* before, const Change& after) override;

 private:
  void taskChanging(const Object* before, const Change& after);
  void serviceChanging(const Object* before, const Change& after);
  void nodeChanging(const Object* before, const Change& after);
  Host& host;
};

// `running`, as in the topic `task.running` and on the command line.
kj::StringPtr stateName(schema::TaskState state);

}  // namespace orch::control::manager
