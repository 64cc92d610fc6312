// Makes a catalog have what a node runs, and nothing else of what the node has registered there.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "catalog.h"
#include "orch/env.h"
#include "orch/host.h"
#include "orch/semaphore.h"

namespace orch::integration::registrator {

// On the loop's thread. Looks at what the catalog has when it begins, after a failure, and every
// `resyncMs`; in between it goes by what it has done itself.
class Registrar final {
 public:
  // All outlive it. `resyncMs` 0: never. `cleanup`: what the node has there without running it is
  // taken away, as after a crash; otherwise only what this life of the registrar has registered.
  Registrar(Env& env, Log& log, Catalog& catalog, uint64_t resyncMs, bool cleanup);
  KJ_DISALLOW_COPY(Registrar);

  // Nothing happens before the first of these. Settles when the catalog agrees, or a try at that
  // has failed: at once while it does not answer.
  kj::Promise<void> become(std::vector<ServiceEntry> entries);

 private:
  struct Waiter {
    uint64_t version = 0;
    kj::Own<kj::PromiseFulfiller<void>> fulfiller;
  };
  Task<void> keep();
  Task<void> pass(bool renews);
  Task<void> look();
  bool isThere(const std::string& place, const ServiceEntry& entry);
  Task<void> putOne(ServiceEntry entry);
  Task<void> removeOne(std::string place);
  Task<void> renewAll();
  void answer(uint64_t version);
  void noteRefusals();
  void failed(kj::StringPtr reason);
  kj::Promise<void> woken();

  Env& env;
  Log& log;
  Catalog& catalog;
  const uint64_t resyncMs;
  const bool cleanup;
  std::map<std::string, ServiceEntry> wanted;  // by place
  Catalog::Records records;                    // of these, as far as they were needed
  uint64_t version = 0;                        // of `wanted`
  uint64_t done = 0;                           // the last one that was tried
  Catalog::Records there;                      // as far as is known
  bool unknown = true;                         // the catalog has to be looked at
  std::set<std::string> own;                   // places that this life has written to
  std::map<std::string, std::string> refused;  // by place
  std::map<std::string, std::string> logged;   // of these
  kj::String trouble;                          // empty: all is well with the catalog
  bool cleared = false;                        // by this pass, of what has to go
  bool deaf = false;                           // the last one could not even do that
  std::vector<Waiter> waiters;
  kj::Own<kj::PromiseFulfiller<void>> wake;
  Semaphore asking;
  kj::Promise<void> keeping = nullptr;  // last: it uses all of the above
};

}  // namespace orch::integration::registrator
