// What a worker answers itself: about its own tasks.
#include <catch2/catch.hpp>

#include "member/test-trust.h"
#include "orch/fail.h"
#include "test-cluster.h"

namespace orch::control::manager {
namespace {

using schema::TaskState;

// An agent with three tasks of `web`, of which the first slot was replaced, and one of `db`.
class WorkersAgent final : public schema::Agent::Server {
 public:
  explicit WorkersAgent(std::string& asked) : asked(asked) {}
  kj::Promise<void> tasks(TasksContext context) override {
    struct Kept {
      const char *id, *service;
      uint32_t slot;
      TaskState state;
    };
    const Kept kept[] = {{"aa1", "web", 1, TaskState::FAILED},
                         {"aa2", "web", 1, TaskState::RUNNING},
                         {"ab3", "web", 2, TaskState::RUNNING},
                         {"cd4", "db", 1, TaskState::RUNNING}};
    auto list = context.getResults().initTasks(std::size(kept));
    for (uint32_t i = 0; i < list.size(); ++i) {
      auto meta = list[i].initMeta();
      meta.setId(kept[i].id);
      meta.setCreatedAtNs(i);
      list[i].setServiceName(kept[i].service);
      list[i].setSlot(kept[i].slot);
      list[i].initStatus().setState(kept[i].state);
      bool runs = kept[i].state == TaskState::RUNNING;
      list[i].setDesired(runs ? TaskState::RUNNING : TaskState::SHUTDOWN);
    }
    return kj::READY_NOW;
  }
  kj::Promise<void> exec(ExecContext context) override {
    asked = context.getParams().getTaskId().cStr();
    return kj::READY_NOW;
  }
  kj::Promise<void> processes(ProcessesContext context) override {
    asked = context.getParams().getTaskId().cStr();
    context.getResults().setMore(5);
    return kj::READY_NOW;
  }
  kj::Promise<void> usage(UsageContext context) override {
    auto ids = context.getParams().getTaskIds();
    auto usages = context.getResults().initUsages(ids.size());
    for (uint32_t i = 0; i < ids.size(); ++i) usages[i].setId(ids[i]);
    return kj::READY_NOW;
  }
  kj::Promise<void> logs(LogsContext context) override {
    auto request = context.getParams().getSink().linesRequest();
    auto line = request.initLines(1)[0];
    line.setTaskId(context.getParams().getTaskId());
    return request.send().ignoreResult();
  }

 private:
  std::string& asked;
};

struct Lines final : public schema::LogSink::Server {
  explicit Lines(std::set<std::string>& tasks) : tasks(tasks) {}
  kj::Promise<void> lines(LinesContext context) override {
    for (auto line : context.getParams().getLines()) tasks.insert(line.getTaskId().cStr());
    return kj::READY_NOW;
  }
  std::set<std::string>& tasks;
};

struct WorkerFixture {
  WorkerFixture() {
    kernel.member = true;
    kernel.holder.role = schema::Role::WORKER;
    kernel.managers = {"10.0.0.1:2377"};
    cluster.host.addService("trust", kernel.client());
    cluster.host.addService("control.agent", kj::heap<WorkersAgent>(asked));
    cluster.start();
  }
  ~WorkerFixture() { cluster.stop(); }
  template <typename Request>
  std::string errorOf(Request request) {
    auto done = attempt(request.send()).wait(scope());
    return done.ok() ? "" : plainText(done.error()).cStr();
  }
  template <typename Request>
  std::string named(Request request, kj::StringPtr id) {
    request.setId(id);
    return errorOf(kj::mv(request));
  }
  std::string exec(kj::StringPtr id) {
    auto request = cluster.control.execRequest();
    request.setId(id);
    request.initProgram().initCommand(1).set(0, "ls");
    asked.clear();
    auto error = errorOf(kj::mv(request));
    return error.empty() ? asked : error;
  }
  std::vector<std::string> listed(kj::StringPtr service, kj::StringPtr node,
                                  kj::StringPtr desired) {
    auto request = cluster.control.tasksRequest();
    auto filter = request.initFilter();
    filter.setServiceId(service);
    filter.setNodeId(node);
    filter.setDesired(desired);
    std::vector<std::string> ids;
    auto answer = request.send().wait(scope());
    for (auto task : answer.getTasks()) ids.emplace_back(task.getMeta().getId().cStr());
    return ids;
  }
  kj::WaitScope& scope() { return cluster.world.waitScope(); }

  std::string asked;  // the task that a call came to
  TestTrust kernel;
  TestCluster cluster;
};

TEST_CASE("worker: it lists its own tasks, and says who knows of others", "[manager]") {
  using Ids = std::vector<std::string>;
  WorkerFixture f;
  CHECK(f.listed("", "", "") == Ids{"aa1", "aa2", "ab3", "cd4"});
  CHECK(f.listed("web", "self", "running") == Ids{"aa2", "ab3"});
  CHECK(f.listed("", "", "shutdown") == Ids{"aa1"});
  auto elsewhere = f.cluster.control.tasksRequest();
  elsewhere.initFilter().setNodeId("n7");
  auto askManager = Catch::EndsWith("is a worker of the cluster; ask a manager: 10.0.0.1:2377");
  CHECK_THAT(f.errorOf(kj::mv(elsewhere)), askManager);
  CHECK_THAT(f.errorOf(f.cluster.control.nodesRequest()), askManager);
  CHECK_THAT(f.errorOf(f.cluster.control.createServiceRequest()), askManager);
  CHECK_THAT(f.named(f.cluster.control.nodeRequest(), "n7"), askManager);
  CHECK_THAT(f.errorOf(f.cluster.tasksFeed.watchRequest()), askManager);
  CHECK_THAT(f.named(f.cluster.control.taskRequest(), "zz"),
             Catch::StartsWith("no service and no task 'zz' has run here lately; this node"));
  auto self = f.cluster.control.nodeRequest();
  self.setId("self");
  auto node = self.send().wait(f.scope());
  CHECK(node.getNode().getMeta().getId() == "testnode00000000000000000");
}

TEST_CASE("worker: programs run in its own tasks, by whatever they are called", "[manager]") {
  WorkerFixture f;
  CHECK(f.exec("db") == "cd4");
  CHECK(f.exec("ab") == "ab3");
  CHECK(f.exec("web.1") == "aa2");
  CHECK(f.exec("web.2.ab3") == "ab3");
  CHECK(f.exec("web") == "'web' has 2 tasks that run here: web.1, web.2; name one");
  CHECK(f.exec("aa1") == "'aa1' has no task that runs here");
  auto processes = f.cluster.control.processesRequest();
  processes.setId("web.1");
  auto listed = processes.send().wait(f.scope());
  CHECK(listed.getTask() == "web.1");
  CHECK(listed.getMore() == 5);
  auto usage = f.cluster.control.usageRequest();
  usage.initIds(1).set(0, "web");
  auto used = usage.send().wait(f.scope());
  REQUIRE(used.getTasks().size() == 2);
  CHECK(used.getTasks()[0].getTask() == "web.1");
  CHECK(used.getTasks()[1].getUsage().getId() == "ab3");
}

TEST_CASE("worker: logs of a service are those of its tasks here", "[manager]") {
  WorkerFixture f;
  auto logsOf = [&](kj::StringPtr id) {
    std::set<std::string> tasks;
    auto request = f.cluster.control.logsRequest();
    request.setId(id);
    request.setSink(kj::heap<Lines>(tasks));
    auto done = attempt(request.send()).promise();
    f.cluster.advance(20 * kj::SECONDS);
    CHECK(done.wait(f.scope()).ok());
    return tasks;
  };
  CHECK(logsOf("web") == std::set<std::string>{"aa1", "aa2", "ab3"});
  CHECK(logsOf("cd4") == std::set<std::string>{"cd4"});
}

}  // namespace
}  // namespace orch::control::manager
