// Files that are half-written, missing, replaced, or on a file system that tells nothing.
#include <catch2/catch.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "file-source.h"
#include "orch/conformance/discovery-conformance.h"
#include "orch/testing/held-time.h"
#include "orch/testing/test-host.h"
#include "orch/testing/virtual-env.h"

namespace orch::discovery::file {
namespace {

using Addresses = std::vector<std::string>;
constexpr auto POLL = 60 * kj::SECONDS;

// A source on a real folder, whose timers the test moves.
struct Following {
  explicit Following(const std::string& name = "hosts")
      : io(kj::setupAsyncIo()),
        env(newSystemEnv(io)),
        time(*env, io.waitScope),
        path(std::string(folder.path().cStr()) + "/" + name),
        source(time, path, POLL, *watchers) {}
  void start() {
    running = source.run().promise().eagerlyEvaluate(
        [](kj::Exception&& e) { FAIL(e.getDescription().cStr()); });
    telling = watchers->watch(conformance::keepSeen(seen)).promise().eagerlyEvaluate(nullptr);
  }
  void until(kj::StringPtr what, const Addresses& all) {
    testing::until(*env, io.waitScope, what, [&] { return shows(all); });
  }
  // The source's time passes by such steps, in each of which the system and the threads get a turn.
  void passUntil(kj::StringPtr what, kj::Duration step, kj::Function<bool()> reached) {
    testing::until(*env, io.waitScope, what, [&] {
      time.advance(step);
      return reached();
    });
  }
  bool shows(const Addresses& all) const { return !seen.lists.empty() && seen.lists.back() == all; }
  // Time in which nothing is to happen.
  void settle() {
    for (int i = 0; i < 20; ++i) env->timer().afterDelay(1 * kj::MILLISECONDS).wait(io.waitScope);
  }

  testing::TestFolder folder{"discovery-source"};
  kj::AsyncIoContext io;
  kj::Own<Env> env;
  testing::HeldTime time;
  std::string path;
  conformance::SeenByWatch seen;
  kj::Own<Watchers> watchers = kj::refcounted<Watchers>();
  FileSource source;
  kj::Promise<void> running = nullptr;
  kj::Promise<void> telling = nullptr;
};

void write(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

TEST_CASE("file: half a file is not read before its writer is done", "[discovery]") {
  Following file;
  write(file.path, "10.0.0.1:1\n10.0.0.2:1\n");
  file.start();
  file.until("the first list", {"10.0.0.1:1", "10.0.0.2:1"});
  std::ofstream writer(file.path);  // truncates it
  writer << "10.0.0.1:1\n10.0.0.2:23" << std::flush;
  file.settle();
  file.time.advance(5 * kj::SECONDS);
  file.settle();
  CHECK(file.seen.lists.size() == 1);
  writer << "77\n" << std::flush;
  writer.close();
  file.until("the written list", {"10.0.0.1:1", "10.0.0.2:2377"});
  CHECK(file.seen.lists.size() == 2);
  CHECK(file.seen.failures.empty());
}

TEST_CASE("file: what a writer left counts at last, though he does not close it", "[discovery]") {
  Following file;
  write(file.path, "10.0.0.1:1\n");
  file.start();
  file.until("the first list", {"10.0.0.1:1"});
  std::ofstream writer(file.path);
  writer << "10.0.0.2:1\n" << std::flush;
  file.passUntil("the list", FileSource::WRITER, [&] { return file.shows({"10.0.0.2:1"}); });
}

TEST_CASE("file: it may come later, go, and come again, and its folder as well", "[discovery]") {
  Following file("sub/hosts");
  file.start();
  testing::until(*file.env, file.io.waitScope, "that it is not there",
                 [&] { return !file.seen.failures.empty(); });
  CHECK(file.seen.failures == Addresses{"'" + file.path + "' does not exist"});
  CHECK(file.seen.lists.empty());
  auto folder = std::filesystem::path(file.path).parent_path();
  std::filesystem::create_directory(folder);
  write(file.path, "10.0.0.1:1\n");
  // Nobody tells of a folder that was not there.
  file.passUntil("the list", POLL, [&] { return file.shows({"10.0.0.1:1"}); });

  std::filesystem::remove_all(folder);
  file.settle();
  CHECK(file.seen.failures.size() == 1);  // it may be an editor that replaces it
  file.passUntil("that it is gone", FileSource::SETTLE,
                 [&] { return file.seen.failures.size() == 2; });
  CHECK(file.seen.lists.size() == 1);
  std::filesystem::create_directory(folder);
  write(file.path + ".new", "10.0.0.2:1\n");
  std::filesystem::rename(file.path + ".new", file.path);
  file.passUntil("the new list", POLL, [&] { return file.shows({"10.0.0.2:1"}); });
}

TEST_CASE("file: an empty file, a folder, a pipe and a huge file are failures", "[discovery]") {
  Following file;
  write(file.path, "10.0.0.1:1\n");
  file.start();
  file.until("the first list", {"10.0.0.1:1"});
  auto next = [&](auto make) {
    auto before = file.seen.failures.size();
    make(file.path + ".new");
    std::filesystem::remove_all(file.path);
    std::filesystem::rename(file.path + ".new", file.path);
    testing::until(*file.env, file.io.waitScope, "one more failure",
                   [&] { return file.seen.failures.size() > before; });
    return file.seen.failures.back();
  };
  CHECK(next([](auto path) { write(path, ""); }).starts_with("it names nobody any more"));
  CHECK(next([](auto path) { mkfifo(path.c_str(), 0600); }).starts_with("cannot read '"));
  CHECK(next([](auto path) { write(path, "# nobody\r\n\r\n"); }).starts_with("it names nobody"));
  CHECK(next([](auto path) {
          std::filesystem::create_directory(path);
        }).starts_with("cannot read '"));
  CHECK(next([](auto path) { write(path, "10.0.0.1\n"); }).starts_with(file.path + ":1: "));
  CHECK(next([](auto path) {
          write(path, std::string((1 << 20) + 1, '\n'));
        }).starts_with("cannot read '"));
  CHECK(file.seen.lists.size() == 1);
}

TEST_CASE("file: without news of the system a change counts when it was seen twice",
          "[discovery]") {
  testing::VirtualWorld world(1);
  auto& env = world.env();
  auto put = [&](kj::StringPtr text) {
    env.files()
        .getRoot()
        .openFile(kj::Path({"etc", "hosts"}),
                  kj::WriteMode::CREATE | kj::WriteMode::MODIFY | kj::WriteMode::CREATE_PARENT)
        ->writeAll(text);
  };
  put("10.0.0.1:1\n10.0.0.2:1\n");
  auto watchers = kj::refcounted<Watchers>();
  FileSource source(env, "/etc/hosts", POLL, *watchers);
  conformance::SeenByWatch seen;
  auto telling = watchers->watch(conformance::keepSeen(seen)).promise().eagerlyEvaluate(nullptr);
  auto running = source.run().promise().eagerlyEvaluate(
      [](kj::Exception&& e) { FAIL(e.getDescription().cStr()); });
  world.settle();
  REQUIRE(seen.lists == std::vector<Addresses>{{"10.0.0.1:1", "10.0.0.2:1"}});
  put("10.0.0.1:1\n10.0.0.2:2");  // half of it
  world.advance(POLL);
  CHECK(seen.lists.size() == 1);
  put("10.0.0.1:1\n10.0.0.2:23\n");
  world.advance(FileSource::SETTLE);
  CHECK(seen.lists.size() == 1);  // it has changed again
  world.advance(FileSource::SETTLE);
  CHECK(seen.lists.back() == Addresses{"10.0.0.1:1", "10.0.0.2:23"});
  CHECK(seen.failures.empty());
}

}  // namespace
}  // namespace orch::discovery::file
