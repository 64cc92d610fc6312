// For tests: the service `discovery` of the RecordingServer. Two hosts, one of them held, and a
// backend that does not answer.
#pragma once

#include "orch/schema/discovery.capnp.h"

namespace orch::cli {

class RecordingDiscovery final : public schema::NodeDiscovery::Server {
 public:
  kj::Promise<void> list(ListContext context) override {
    auto results = context.getResults();
    auto row = results.initEntries(2);
    fill(row[0].initEntry(), "10.0.0.1:2377");
    row[0].getEntry().setRole(schema::DiscoveryEntry::Role::MANAGER);
    row[0].getEntry().setNodeId("n1aaaaaaaaaaaaaaaaaaaaaaa");
    row[0].initBackends(1).set(0, "discovery.file#1");
    fill(row[1].initEntry(), "10.0.0.2:2377");
    row[1].setHeld(true);
    auto backend = results.initBackends(1)[0];
    backend.setName("discovery.file#1");
    backend.setError("'/etc/orch/hosts' does not exist");
    return kj::READY_NOW;
  }
  // A host, then another, then the end.
  kj::Promise<void> watch(WatchContext context) override {
    auto tell = [sink = context.getParams().getSink()](kj::StringPtr address) mutable {
      auto request = sink.entriesRequest();
      fill(request.initEntries(1)[0], address);
      return request.send().ignoreResult();
    };
    auto first = tell("10.0.0.1:2377");
    return first.then([tell]() mutable { return tell("10.0.0.2:2377"); });
  }
  kj::Promise<void> create(CreateContext context) override {
    context.getResults().setUri(kj::str(context.getParams().getHub(), "/v1/0123"));
    return kj::READY_NOW;
  }

 private:
  static void fill(schema::DiscoveryEntry::Builder entry, kj::StringPtr address) {
    entry.setAddress(address);
  }
};

}  // namespace orch::cli
