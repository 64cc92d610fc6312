// What a node that is down has left in the registry is taken out by the managers that hear of it.
#pragma once

#include <kj/refcount.h>

#include <set>
#include <string>

#include "catalog.h"
#include "orch/env.h"
#include "orch/host.h"

namespace orch::integration::registrator {

// Counted by its owner and by the sink that it has given out. On a worker it hears of nobody. Once
// for each time that a node is down: one that runs on, out of the managers' reach, registers its
// tasks again and is left alone.
class LostNodes final : public kj::Refcounted {
 public:
  // All outlive it, or its `end`.
  LostNodes(Env& env, Host& host, Catalog& catalog);

  void start();
  // Nothing happens after it.
  void end();

 private:
  class Sink;
  void take(schema::Event::Reader event);
  void lose(kj::StringPtr node);
  Task<void> listen();
  // Those that are down already.
  Task<void> ask();
  Task<void> keepForgetting();

  Env& env;
  Host& host;
  Catalog& catalog;
  bool ended = false;
  std::set<std::string> lost;  // node ids
  kj::Own<kj::PromiseFulfiller<void>> wake;
  capnp::Capability::Client subscription = nullptr;
  kj::Promise<void> listening = nullptr;
  kj::Promise<void> asking = nullptr;
  kj::Promise<void> forgetting = nullptr;
};

}  // namespace orch::integration::registrator
