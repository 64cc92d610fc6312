// One node's session, as the parts of Sessions know it.
#pragma once

#include "session/network-feed.h"
#include "session/sessions.h"

namespace orch::control::manager {

// Shared by the map, the session's capability and the call in flight.
struct Sessions::Connection final : public kj::Refcounted {
  Connection(kj::StringPtr nodeId, schema::Agent::Client agent)
      : Connection(nodeId, kj::mv(agent), kj::newPromiseAndFulfiller<void>()) {}

  // The agent learns by it that the session is over.
  void dropAgent() {
    agent = KJ_EXCEPTION(DISCONNECTED, "the session of the node is over");
    images = kj::refcounted<RelaySource>(agent);
  }

  std::string nodeId;
  schema::Agent::Client agent;
  kj::Own<RelaySource> images;
  bool over = false;
  bool manages = false;  // its node does, whatever it is to do by now
  kj::Own<kj::PromiseFulfiller<void>> ends;
  kj::ForkedPromise<void> ended;  // it is over, or its node is taken for gone
  bool complete = true;           // the next assignment is the complete set
  bool inFlight = false;
  bool queued = false;    // to be sent what it has to know
  bool asked = false;     // whether it is there
  uint64_t messages = 0;  // assignments that were made for it
  NetworkFeed networks;
  uint64_t beats = 0;                       // the number that its datagrams have; 0: none
  std::set<std::string> changed;            // tasks to send
  std::map<std::string, std::string> gone;  // tasks to forget: id, service or empty
  std::map<std::string, std::string> sent;  // of `gone`, in the call in flight

 private:
  Connection(kj::StringPtr nodeId, schema::Agent::Client agent, kj::PromiseFulfillerPair<void> end)
      : nodeId(nodeId.cStr()),
        agent(agent),
        images(kj::refcounted<RelaySource>(kj::mv(agent))),
        ends(kj::mv(end.fulfiller)),
        ended(end.promise.fork()) {}
};

}  // namespace orch::control::manager
