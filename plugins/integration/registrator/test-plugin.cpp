#include "test-plugin.h"

#include <algorithm>

namespace orch::integration::registrator {

// A node's tasks, as its agent would offer them.
class TestPlugin::Feed final : public schema::TaskFeed::Server {
 public:
  explicit Feed(kj::Maybe<schema::TaskSink::Client>& sink) : sink(sink) {}
  kj::Promise<void> watch(WatchContext context) override {
    context.allowCancellation();
    sink = context.getParams().getSink();
    return kj::NEVER_DONE;
  }

 private:
  kj::Maybe<schema::TaskSink::Client>& sink;
};

TestPlugin::TestPlugin(TestLoop& loop, std::function<void(Config::Builder)> set,
                       testing::Isolation isolation, kj::StringPtr nodeId)
    : loop(loop),
      module(*loop.env, ORCH_MODULE, isolation, loop.scope),
      host("/nowhere", "/nowhere", "integration.registrator") {
  host.setNodeId(nodeId);
  host.addService("tasks", schema::TaskFeed::Client(kj::heap<Feed>(sink)));
  capnp::MallocMessageBuilder message;
  auto settings = message.initRoot<Config>();
  settings.setAddress("192.168.1.102");
  set(settings);
  auto plugin = host.configure(module.plugin(), settings.asReader(), loop.scope);
  plugin.recoverRequest().send().wait(loop.scope);
  plugin.startRequest().send().wait(loop.scope);
  loop.until("the plugin watches", [&] { return sink != nullptr; });
}

kj::Promise<void> TestPlugin::telling(const std::vector<TestTask>& tasks) {
  auto request = KJ_ASSERT_NONNULL(sink).updateRequest();
  request.setComplete(true);
  auto list = request.initTasks(tasks.size());
  for (uint32_t i = 0; i < list.size(); ++i) {
    list[i].setServing(true);
    auto task = list[i].initTask();
    task.initMeta().setId(tasks[i].id.c_str());
    task.setServiceName("web");
    task.setSlot(i + 1);
    auto container = task.initSpec().initContainer();
    container.setImage("httpd:2.4");
    auto env = container.initEnv(tasks[i].env.size());
    for (uint32_t j = 0; j < env.size(); ++j) env.set(j, tasks[i].env[j].c_str());
    auto port = task.initPorts(1)[0];
    port.setTarget(80);
    port.setPublished(tasks[i].port);
  }
  return request.send().ignoreResult().eagerlyEvaluate(nullptr);
}

int TestPlugin::logged(const std::string& line) const {
  auto& lines = host.logLines();
  return static_cast<int>(std::count(lines.begin(), lines.end(), line));
}

}  // namespace orch::integration::registrator
