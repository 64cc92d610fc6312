// Publish and subscribe by topic. An event only says "look"; state is what counts: a subscriber
// that is too slow loses events, is told how many, and costs nobody else anything.
#pragma once

#include <deque>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "kernel/bus/event-log.h"
#include "orch/env.h"
#include "orch/schema/plugin.capnp.h"

namespace orch::bus {

class Bus final {
 public:
  static constexpr size_t QUEUE_EVENTS =
      1024;  // per subscriber, beside the batch that is being sent
  static constexpr size_t BATCH_EVENTS = 256;

  // `log` outlives the bus and is open: numbers go on where it ends.
  Bus(Env& env, EventLog& log);
  ~Bus() noexcept(false);
  KJ_DISALLOW_COPY(Bus);

  void publish(kj::StringPtr source, kj::StringPtr topic, kj::StringPtr subject,
               capnp::List<schema::KeyValue>::Reader attributes);
  // For the kernel's own events.
  void publish(kj::StringPtr topic, kj::StringPtr subject,
               std::initializer_list<std::pair<kj::StringPtr, kj::StringPtr>> attributes = {});
  // `topics` are names, or prefixes that end in `*`; none: all. Dropping the result ends it; so
  // does a sink that fails.
  capnp::Capability::Client subscribe(std::vector<std::string> topics,
                                      schema::EventSink::Client sink);

  static bool matches(const std::vector<std::string>& topics, kj::StringPtr topic);

 private:
  class Subscriber;
  void deliver(capnp::MallocMessageBuilder& message, schema::Event::Builder event);

  Env& env;
  EventLog& log;
  uint64_t sequence;
  std::list<Subscriber*> subscribers;  // each takes itself out
};

}  // namespace orch::bus
