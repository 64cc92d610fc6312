#include "kernel/loop/folder-set.h"

#include <catch2/catch.hpp>
#include <kj/async-io.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "orch/testing/held-time.h"
#include "orch/testing/test-host.h"

namespace orch::loop {
namespace {

struct FolderFixture {
  explicit FolderFixture(kj::StringPtr name)
      : scratch(name),
        io(kj::setupAsyncIo()),
        env(newSystemEnv(io)),
        bridge(io.unixEventPort, env->timer()),
        set(*env, bridge, [this]() { ++changes; }) {}

  // Until something has changed since the last call.
  void waitForChange() {
    testing::until(*env, io.waitScope, "a change in the folders",
                   [this]() { return changes != seen; });
    seen = changes;
  }
  // Until what `make` leads to has been seen. Looks at it after each change.
  template <typename F>
  void changeUntil(F&& there) {
    while (!there()) waitForChange();
  }

  testing::TestFolder scratch;
  kj::AsyncIoContext io;
  kj::Own<Env> env;
  UvBridge bridge;
  int changes = 0, seen = 0;
  FolderSet set;
};

TEST_CASE("folder set: a file in a folder that was not there yet is seen", "[loop]") {
  FolderFixture f("folder-set");
  std::string folder = f.scratch.sub("a/b/plugins").cStr();
  f.set.watch({folder}).wait(f.io.waitScope);
  f.seen = f.changes;
  std::filesystem::create_directories(folder);
  f.waitForChange();
  // The look that follows a change ends before the loop is idle again.
  f.set.watch({folder}).wait(f.io.waitScope);
  f.seen = f.changes;
  int before = f.changes;
  std::ofstream(folder + "/x.so") << "x";
  f.waitForChange();
  CHECK(f.changes > before);
}

TEST_CASE("folder set: a folder that goes and comes again is watched again", "[loop]") {
  FolderFixture f("folder-set-again");
  std::string folder = f.scratch.sub("plugins").cStr();
  std::filesystem::create_directories(folder);
  f.set.watch({folder}).wait(f.io.waitScope);
  f.seen = f.changes;
  std::filesystem::remove(folder);
  f.waitForChange();
  std::filesystem::create_directories(folder);
  f.waitForChange();
  f.set.watch({folder}).wait(f.io.waitScope);
  f.seen = f.changes;
  int before = f.changes;
  std::ofstream(folder + "/x.so") << "x";
  f.waitForChange();
  CHECK(f.changes > before);
}

}  // namespace
}  // namespace orch::loop
