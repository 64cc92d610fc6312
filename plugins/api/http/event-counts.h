// How many events of which topic there were on this node's bus.
#pragma once

#include <map>
#include <string>

#include "orch/host.h"

namespace orch::api::http {

class EventCounts final {
 public:
  // Topics that are told apart; those after them are `other`.
  static constexpr size_t MAX_TOPICS = 256;

  // Since `start` was answered; `missed` were not seen, of whatever topic.
  struct Counts final : public kj::Refcounted {
    std::map<std::string, uint64_t> topics;
    uint64_t missed = 0;
    void add(const std::string& topic);
  };

  Task<void> start(Host& host);
  const Counts& counts() const { return *all; }

 private:
  kj::Own<Counts> all = kj::refcounted<Counts>();  // the bus's, too
  kj::Maybe<capnp::Capability::Client> subscription;
};

}  // namespace orch::api::http
