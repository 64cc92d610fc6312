// For tests: the service `kernel` of the RecordingServer.
#pragma once

#include "orch/schema/gateway.capnp.h"

namespace orch::cli {

class RecordingKernel final : public schema::Kernel::Server {
 public:
  kj::Promise<void> plugins(PluginsContext context) override {
    auto plugins = context.getResults().initPlugins(2);
    plugins[0].setId("store.local");
    plugins[1].setId("scheduler.spread");
    for (auto plugin : plugins) {
      plugin.setState(schema::PluginStatus::State::RUNNING);
      plugin.setIsolation("kernel");
    }
    return kj::READY_NOW;
  }
  kj::Promise<void> events(EventsContext context) override {
    auto request = context.getParams().getSink().eventsRequest();
    auto event = request.initEvents(1)[0];
    event.setTimeNs(1'700'000'000'000'000'001);
    event.setTopic("task.started");
    event.setSubject("t1");
    event.initAttributes(1)[0].setKey("service");
    event.getAttributes()[0].setValue("web");
    return request.send().ignoreResult();
  }
  kj::Promise<void> configShow(ConfigShowContext context) override {
    context.getResults().setToml("[node]\nname = \"node-1\"\n");
    return kj::READY_NOW;
  }
};

}  // namespace orch::cli
