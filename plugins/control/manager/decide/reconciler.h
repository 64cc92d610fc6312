// One concern of what becomes of a service, as a pass takes it: it looks at every slot that was
// read, then it acts, both a part at a time, so that others can have their turn in between. A new
// one is a file and a line in reconcile.cpp's table.
#pragma once

#include <kj/memory.h>

#include "decide/slot-rules.h"

namespace orch::control::manager {

// What a reconciler did to a service.
struct Step {
  bool changed = false;     // its slots are not what they were
  bool again = false;       // it may go on from there in this pass
  bool unfinished = false;  // there is more to do than one pass should
  bool wantsAll = false;    // it has done nothing: it has to see the settled slots, too
};

// Made for one look at the slots. They stay where they are, and what they were when they were read,
// as long as it.
class Reconciler {
 public:
  virtual ~Reconciler() noexcept(false) {}
  // May change the view.
  virtual void look(const Slot& slot) = 0;
  // A part of what follows from all of them; false when that was all.
  virtual bool act(const Slots&) { return false; }
  virtual Step result() const = 0;
};

}  // namespace orch::control::manager
