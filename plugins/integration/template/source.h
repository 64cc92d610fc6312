// Who answers what templates ask for: a consul, the disk, or orch itself.
#pragma once

#include <kj/string.h>

#include "language/value.h"
#include "orch/task.h"
#include "query.h"

namespace orch::integration::templates {

// Outlives all that it is asked. On the loop's thread. One whose services stop only when nobody is
// led to them any more tells that they are gone, and waits for Watches::whenSettled before it lets
// them stop.
class Source {
 public:
  class Listener {
   public:
    virtual void answered(Value answer) = 0;
    // There is no answer for now; the last one stays. `reason` is a sentence.
    virtual void failed(kj::StringPtr reason) = 0;

   protected:
    ~Listener() = default;
  };
  virtual ~Source() noexcept(false) {}

  virtual bool knows(const Query& query) const = 0;
  // Tells the answer, and again whenever it is another one, until it is cancelled. `listener`
  // outlives it. What it is by the query's kind:
  //   SERVICE      a list of structs `*dep.HealthService`; without any it is empty
  //   SERVICES     a list of structs `*dep.CatalogSnippet`, in the order of names
  //   KEY          a text, or nil
  //   KEYS         a list of structs `*dep.KeyPair`, of all that begin so
  //   NODE         a struct `*dep.CatalogNode`
  //   NODES        a list of structs `*dep.Node`
  //   DATACENTERS  a list of texts
  //   FILE         a text
  virtual Task<void> follow(Query query, Listener& listener) = 0;
};

}  // namespace orch::integration::templates
