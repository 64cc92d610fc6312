#include "lib/task-watch.h"

#include <catch2/catch.hpp>

#include <vector>

#include "orch/testing/test-host.h"
#include "orch/testing/virtual-env.h"

namespace orch::integration {
namespace {

// Offers tasks as a test says.
struct OfferedTasks {
  kj::Maybe<schema::TaskSink::Client> sink;
  kj::Own<kj::PromiseFulfiller<void>> ends;
  uint32_t watches = 0;

  kj::Promise<void> tell(bool complete, std::vector<std::string> ids,
                         std::vector<std::string> gone = {}) {
    auto request = KJ_ASSERT_NONNULL(sink).updateRequest();
    request.setComplete(complete);
    auto tasks = request.initTasks(ids.size());
    for (uint32_t i = 0; i < ids.size(); ++i) {
      tasks[i].initTask().initMeta().setId(ids[i].c_str());
    }
    auto list = request.initGone(gone.size());
    for (uint32_t i = 0; i < gone.size(); ++i) list.set(i, gone[i].c_str());
    return request.send().ignoreResult().eagerlyEvaluate(nullptr);
  }
};

class TaskOffer final : public schema::TaskFeed::Server {
 public:
  explicit TaskOffer(OfferedTasks& offered) : offered(offered) {}
  kj::Promise<void> watch(WatchContext context) override {
    ++offered.watches;
    offered.sink = context.getParams().getSink();
    auto pair = kj::newPromiseAndFulfiller<void>();
    offered.ends = kj::mv(pair.fulfiller);
    return kj::mv(pair.promise);
  }

 private:
  OfferedTasks& offered;
};

struct KeepingUser final : public TaskUser {
  kj::Promise<void> tasksChanged(const TaskView& tasks) override {
    seen.clear();
    tasks.visit(
        [&](const std::string& id, uint64_t, schema::TaskEntry::Reader) { seen.push_back(id); });
    return kj::mv(answer);
  }
  std::vector<std::string> seen;
  kj::Promise<void> answer = kj::READY_NOW;
};

using Ids = std::vector<std::string>;

TEST_CASE("task watch: keeps what it is told, and what it knew while nobody tells it",
          "[integration]") {
  OfferedTasks offered;
  KeepingUser user;
  testing::VirtualWorld world(1);
  testing::TestHost kernel("/data", "/run");
  schema::TaskFeed::Client service = kj::heap<TaskOffer>(offered);
  kernel.addService("tasks", service);
  Host host(kernel.client(), NodeFacts());
  auto watch = kj::refcounted<TaskWatch>(world.env(), host, user, "tasks");
  watch->start();
  world.settle();
  offered.tell(true, {"a", "b"}).wait(world.waitScope());
  CHECK(user.seen == Ids{"a", "b"});
  auto pair = kj::newPromiseAndFulfiller<void>();
  user.answer = kj::mv(pair.promise);
  auto told = offered.tell(false, {"c"}, {"a"});
  world.settle();
  CHECK(user.seen == Ids{"b", "c"});
  CHECK_FALSE(told.poll(world.waitScope()));
  pair.fulfiller->fulfill();
  told.wait(world.waitScope());

  user.answer = kj::READY_NOW;
  offered.ends->reject(KJ_EXCEPTION(DISCONNECTED, "the agent has stopped"));
  world.settle();
  CHECK(user.seen == Ids{"b", "c"});
  CHECK(kernel.logLines() ==
        std::vector<std::string>{"warn integration.no-tasks, what was known stays"});
  world.advance(1 * kj::SECONDS);
  CHECK(offered.watches == 2);
  offered.tell(true, {"d"}).wait(world.waitScope());
  CHECK(user.seen == Ids{"d"});

  watch->end();
  offered.tell(true, {}).wait(world.waitScope());
  CHECK(user.seen == Ids{"d"});
}

}  // namespace
}  // namespace orch::integration
