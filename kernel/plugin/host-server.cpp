#include "kernel/plugin/host-server.h"

#include <kj/debug.h>

#include <algorithm>

#include "orch/abi.h"
#include "orch/fail.h"
#include "orch/task.h"

namespace orch::plugin {

namespace {

class HostServer final : public schema::Host::Server {
 public:
  HostServer(NodeParts parts, const std::string& instance, std::vector<std::string> reachable,
             log::LimitedLog& lines)
      : parts(parts), instance(instance), reachable(std::move(reachable)), lines(lines) {}

  kj::Promise<void> node(NodeContext context) override {
    describeNode(context.getResults(), parts.node, parts.identity, instance);
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
    std::erase_if(names, [this](auto& name) { return !mayCall(name); });
    auto list = context.getResults().initNames(names.size());
    for (uint32_t i = 0; i < names.size(); ++i) list.set(i, names[i].c_str());
    return kj::READY_NOW;
  }

  kj::Promise<void> log(LogContext context) override {
    auto params = context.getParams();
    log::LogFields fields;
    for (auto field : params.getFields())
      fields.emplace_back(field.getKey(), kj::str(field.getValue()));
    lines.write(params.getLevel(), params.getMessage(), "", kj::mv(fields));
    return kj::READY_NOW;
  }

 private:
  Task<void> findService(ServiceContext context) {
    std::string name = context.getParams().getName().cStr();
    if (!mayCall(name)) {
      fail(kj::str("plugin '", instance.c_str(), "' may not call the service '", name.c_str(),
                   "', which its file does not ask for; to grant it, add services = [\"",
                   name.c_str(), "\"] to its entry in the manifest"));
    }
    if (!parts.registry.mayCome(name)) {
      fail(kj::str("there is no plugin '", name.c_str(), "' in the manifest"));
    }
    auto found = co_await parts.registry.find(name);
    context.getResults().setCapability(found);
  }

  bool mayCall(const std::string& name) const {
    return std::any_of(reachable.begin(), reachable.end(), [&name](auto& granted) {
      if (!name.starts_with(granted)) return false;
      return name.size() == granted.size() || name[granted.size()] == '.' ||
             name[granted.size()] == '#';
    });
  }

  NodeParts parts;
  std::string instance;
  std::vector<std::string> reachable;
  log::LimitedLog& lines;
};

}  // namespace

void describeNode(schema::Host::NodeResults::Builder results, const config::NodeEntry& node,
                  const NodeIdentity& identity, const std::string& instance) {
  results.setId(identity.id.c_str());
  results.setName(identity.name.c_str());
  results.setDataDir(node.data.c_str());
  results.setRunDir(node.run.c_str());
  results.setVersion(ORCH_VERSION);
  results.setInstance(instance.c_str());
  auto labels = results.initLabels(node.labels.size());
  for (uint32_t i = 0; i < labels.size(); ++i) {
    labels[i].setKey(node.labels[i].first.c_str());
    labels[i].setValue(node.labels[i].second.c_str());
  }
  auto generic = results.initGeneric(node.resources.size());
  for (uint32_t i = 0; i < generic.size(); ++i) {
    auto& resource = node.resources[i];
    generic[i].setKind(resource.kind.c_str());
    generic[i].setAmount(resource.amount);
    auto names = generic[i].initNames(resource.names.size());
    for (uint32_t k = 0; k < names.size(); ++k) names.set(k, resource.names[k].c_str());
  }
}

schema::Host::Client newHostServer(NodeParts parts, const std::string& instance,
                                   std::vector<std::string> reachable, log::LimitedLog& lines) {
  return kj::heap<HostServer>(parts, instance, std::move(reachable), lines);
}

}  // namespace orch::plugin
