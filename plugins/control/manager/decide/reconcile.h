// Who looks at what is dirty. A new reconciler is a function in a file of its own and a line in
// reconcile.cpp's tables.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "config.capnp.h"
#include "decide/dirty-queue.h"
#include "state/slots-reader.h"

namespace orch::control::manager {

// Everything that has to happen to one service, in order: restarts, slots, update, history. A step
// at a time, so that others can have their turn between two: none but the look at all slots of a
// step takes long, however many there are.
class ServicePass final {
 public:
  // It reads all slots where those that are restless are not enough.
  ServicePass(View& view, std::string_view serviceId, Extent extent = Extent::RESTLESS);
  KJ_DISALLOW_COPY(ServicePass);

  // False when that was all.
  bool step();
  // Whether there is more to do than one pass should.
  bool isUnfinished() const { return unfinished; }

 private:
  enum class Stage : uint8_t { REMOVE, STEPS, REAP, OVER };
  void read() { reader.emplace(view, serviceId, extent); }
  void readAll();
  void runStep();

  View& view;
  const std::string serviceId;
  Stage stage = Stage::STEPS;
  size_t next = 0;  // of the steps
  int round = 0;    // of that one
  bool unfinished = false;
  Extent extent;                      // ALL once a step wants that
  std::optional<SlotsReader> reader;  // while what it looks at is being read
  Slots slots;
};

// The whole of it.
bool reconcileService(View& view, std::string_view serviceId, Extent extent = Extent::RESTLESS);

// What one dirty key asks for, in steps as well. Not for placements: those ask plugins
// (scheduling.h).
class Reconciliation final {
 public:
  Reconciliation(View& view, Config::Reader settings, const DirtyKey& key);
  KJ_DISALLOW_COPY(Reconciliation);

  bool step();
  // When to look again: NEVER_NS, or now if there is more to do than one pass should.
  int64_t againNs() const { return nextNs; }

 private:
  View& view;
  Config::Reader settings;
  const DirtyKey& key;
  std::optional<ServicePass> service;
  int64_t nextNs;
};

}  // namespace orch::control::manager
