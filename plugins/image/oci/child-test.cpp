// What goes on beside the loop, with the worker threads or the moment of the cancel in the test's
// hand.
#include "child.h"

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <kj/debug.h>
#include <sys/stat.h>
#include <unistd.h>

#include <deque>

#include "hold-table.h"
#include "orch/testing/test-host.h"
#include "test-images.h"

namespace orch::image::oci::test {
namespace {

// Worker threads that run when the test says so.
class HeldWorkers final : public Workers {
 public:
  kj::Promise<void> runErased(kj::Function<void()> work) override {
    auto pair = kj::newPromiseAndFulfiller<void>();
    waiting.push_back({kj::mv(work), kj::mv(pair.fulfiller)});
    return kj::mv(pair.promise);
  }
  void runOne() {
    REQUIRE(!waiting.empty());
    auto item = kj::mv(waiting.front());
    waiting.pop_front();
    item.work();
    item.done->fulfill();
  }
  struct Item {
    kj::Function<void()> work;
    kj::Own<kj::PromiseFulfiller<void>> done;
  };
  std::deque<Item> waiting;
};

TEST_CASE("holds: one that is released while it is written stays released", "[image]") {
  kj::EventLoop loop;
  kj::WaitScope scope(loop);
  testing::TestFolder folder("image-holds");
  std::string path = folder.path().cStr(), id = "sha256:" + std::string(64, 'a');
  HeldWorkers workers;
  HoldTable table(workers, path);
  auto added = table.add("task", id);
  CHECK_FALSE(added.poll(scope));  // it is with the worker now
  auto released = table.release("task");
  CHECK(table.holders(id).empty());
  workers.runOne();
  added.wait(scope);
  CHECK(table.holders(id).empty());
  CHECK_FALSE(released.poll(scope));
  auto again = table.add("other", id);
  workers.runOne();
  released.wait(scope);
  CHECK_FALSE(again.poll(scope));
  workers.runOne();
  again.wait(scope);
  CHECK(table.holders(id) == std::vector<std::string>{"other"});
  CHECK(filesIn(path) == std::vector<std::string>{"other." + id.substr(7)});
}

TEST_CASE("holds: one that is asked for again while it goes is there in the end", "[image]") {
  kj::EventLoop loop;
  kj::WaitScope scope(loop);
  testing::TestFolder folder("image-holds-again");
  std::string path = folder.path().cStr(), id = "sha256:" + std::string(64, 'a');
  HeldWorkers workers;
  HoldTable table(workers, path);
  auto first = table.add("task", id);
  CHECK_FALSE(first.poll(scope));
  auto released = table.release("task");
  auto second = table.add("task", id);
  workers.runOne();
  first.wait(scope);
  CHECK(table.holders(id).size() == 1);
  CHECK_FALSE(second.poll(scope));  // its file is on its way
  auto third = table.add("task", id);
  CHECK_FALSE(third.poll(scope));
  workers.runOne();
  released.wait(scope);
  second.wait(scope);
  CHECK_FALSE(third.poll(scope));
  workers.runOne();
  third.wait(scope);
  CHECK(table.holders(id).size() == 1);
  CHECK(filesIn(path).size() == 1);
}

TEST_CASE("job: a child that has just been started goes with its job", "[image]") {
  auto io = kj::setupAsyncIo();
  auto env = newSystemEnv(io);
  testing::TestFolder folder("image-job");
  struct Errors final : public kj::TaskSet::ErrorHandler {
    void taskFailed(kj::Exception&& exception) override { FAIL(exception.getDescription().cStr()); }
  } errors;
  JobGate gate(1, [] { return kj::Promise<void>(kj::READY_NOW); });
  kj::TaskSet cleaners(errors);
  auto pass = gate.enter().promise().wait(io.waitScope);
  Job job(*env, cleaners, folder.sub("job").cStr(), kj::mv(pass));
  job.prepare().promise().wait(io.waitScope);
  int fds[2];
  KJ_SYSCALL(pipe2(fds, O_CLOEXEC | O_NONBLOCK));
  kj::AutoCloseFd readEnd(fds[0]), writeEnd(fds[1]);
  ProcessSpec spec;
  for (auto* word : {"/bin/sleep", "1000"}) spec.argv.add(kj::str(word));
  spec.fds.add(ProcessSpec::Fd{3, writeEnd});
  // Given up before the loop turns: nobody has seen yet that it started.
  {
    auto givenUp = job.run(kj::mv(spec), [](kj::StringPtr) {}).promise();
  }
  writeEnd = nullptr;
  job.finish().wait(io.waitScope);
  char byte;
  CHECK(read(readEnd, &byte, 1) == 0);  // nobody has the other end any more
  CHECK(filesIn(folder.path().cStr()).empty());
}

}  // namespace
}  // namespace orch::image::oci::test
