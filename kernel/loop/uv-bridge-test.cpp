#include "kernel/loop/uv-bridge.h"

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <kj/async-io.h>
#include <unistd.h>

#include "kernel/loop/folder-watcher.h"
#include "orch/testing/test-host.h"

namespace orch::loop {
namespace {

TEST_CASE("uv bridge: an idle loop does not turn", "[loop]") {
  auto io = kj::setupAsyncIo();
  UvBridge uv(io.unixEventPort, io.provider->getTimer());
  io.waitScope.poll();
  auto before = uv.turns();
  for (int i = 0; i < 100; ++i) io.waitScope.poll();
  CHECK(uv.turns() == before);
}

TEST_CASE("uv bridge: a reader that leaves data behind is woken again", "[loop]") {
  auto io = kj::setupAsyncIo();
  UvBridge uv(io.unixEventPort, io.provider->getTimer());
  int fds[2];
  REQUIRE(pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0);
  struct Reader {
    uv_poll_t poll;
    int fd;
    int bytes = 0;
    kj::PromiseFulfillerPair<void> done = kj::newPromiseAndFulfiller<void>();
  } reader;
  reader.fd = fds[0];
  reader.poll.data = &reader;
  uv.with([&](uv_loop_t* loop) {
    uv_poll_init(loop, &reader.poll, fds[0]);
    uv_poll_start(&reader.poll, UV_READABLE, [](uv_poll_t* poll, int, int) {
      auto& self = *static_cast<Reader*>(poll->data);
      char one;
      if (read(self.fd, &one, 1) == 1 && ++self.bytes == 10) self.done.fulfiller->fulfill();
    });
  });
  REQUIRE(write(fds[1], "0123456789", 10) == 10);
  reader.done.promise.wait(io.waitScope);
  CHECK(reader.bytes == 10);
  uv.with([&](uv_loop_t*) { uv_close(reinterpret_cast<uv_handle_t*>(&reader.poll), nullptr); });
  uv.drain();
  close(fds[0]);
  close(fds[1]);
}

TEST_CASE("folder watcher: a new file is told by name", "[loop]") {
  auto io = kj::setupAsyncIo();
  UvBridge uv(io.unixEventPort, io.provider->getTimer());
  testing::TestFolder folder("folder-watcher");
  auto seen = kj::newPromiseAndFulfiller<kj::String>();
  FolderWatcher watcher(uv, folder.path().cStr(),
                        [&](kj::StringPtr name) { seen.fulfiller->fulfill(kj::str(name)); });
  CHECK(watcher.watching());
  close(open(folder.sub("arrived.so").cStr(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  CHECK(seen.promise.wait(io.waitScope) == "arrived.so");
}

}  // namespace
}  // namespace orch::loop
