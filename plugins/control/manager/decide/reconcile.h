// Who looks at what is dirty. A new reconciler is a function in a file of its own and a line in
// reconcile.cpp's tables.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "config.capnp.h"
#include "decide/dirty-queue.h"
#include "decide/rebalancer.h"
#include "decide/reconciler.h"
#include "state/slots-reader.h"

namespace orch::control::manager {

// Everything that has to happen to one service, in order: restarts, slots, update, history. A step
// at a time, so that others can have their turn between two: none takes long, however many slots
// there are.
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
  void read();
  void readAll();
  bool begin();
  bool work();
  void finish();

  View& view;
  const std::string serviceId;
  size_t next = 0;  // of the reconcilers
  int round = 0;    // of that one
  bool unfinished = false;
  Extent extent;                      // ALL once a reconciler wants that
  std::optional<SlotsReader> reader;  // while what it looks at is being read
  Slots slots;
  kj::Maybe<kj::Own<Reconciler>> reconciler;  // at work on them
  size_t looked = 0;                          // at so many
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
  std::optional<Rebalancing> rebalancing;
  int64_t nextNs;
};

}  // namespace orch::control::manager
