#include "kernel/plugin/host-server.h"

#include <kj/debug.h>

#include "orch/abi.h"
#include "orch/task.h"

namespace orch::plugin {

namespace {

class HostServer final : public schema::Host::Server {
 public:
  HostServer(NodeParts parts, const std::string& instance, log::Logger& logger)
      : parts(parts), instance(instance), logger(logger) {}

  kj::Promise<void> node(NodeContext context) override {
    auto results = context.getResults();
    results.setId(parts.identity.id.c_str());
    results.setName(parts.identity.name.c_str());
    results.setDataDir(parts.node.data.c_str());
    results.setRunDir(parts.node.run.c_str());
    results.setVersion(ORCH_VERSION);
    results.setInstance(instance.c_str());
    auto labels = results.initLabels(parts.node.labels.size());
    for (uint32_t i = 0; i < labels.size(); ++i) {
      labels[i].setKey(parts.node.labels[i].first.c_str());
      labels[i].setValue(parts.node.labels[i].second.c_str());
    }
    return kj::READY_NOW;
  }

  kj::Promise<void> publish(PublishContext context) override {
    auto params = context.getParams();
    parts.bus.publish(instance.c_str(), params.getTopic(), params.getSubject(),
                      params.getAttributes());
    return kj::READY_NOW;
  }

  kj::Promise<void> subscribe(SubscribeContext context) override {
    auto params = context.getParams();
    std::vector<std::string> topics;
    for (auto topic : params.getTopics()) topics.emplace_back(topic.cStr());
    context.getResults().setSubscription(parts.bus.subscribe(std::move(topics), params.getSink()));
    return kj::READY_NOW;
  }

  kj::Promise<void> service(ServiceContext context) override {
    context.allowCancellation();
    return findService(context);
  }

  kj::Promise<void> services(ServicesContext context) override {
    auto names = parts.registry.names(context.getParams().getPrefix().cStr());
    auto list = context.getResults().initNames(names.size());
    for (uint32_t i = 0; i < names.size(); ++i) list.set(i, names[i].c_str());
    return kj::READY_NOW;
  }

  kj::Promise<void> log(LogContext context) override {
    auto params = context.getParams();
    log::LogFields fields;
    for (auto field : params.getFields())
      fields.emplace_back(field.getKey(), kj::str(field.getValue()));
    logger.write(params.getLevel(), params.getMessage(), fields);
    return kj::READY_NOW;
  }

 private:
  Task<void> findService(ServiceContext context) {
    std::string name = context.getParams().getName().cStr();
    auto found = co_await parts.registry.find(name);
    context.getResults().setCapability(found);
  }

  NodeParts parts;
  std::string instance;
  log::Logger& logger;
};

}  // namespace

schema::Host::Client newHostServer(NodeParts parts, const std::string& instance,
                                   log::Logger& logger) {
  return kj::heap<HostServer>(parts, instance, logger);
}

}  // namespace orch::plugin
