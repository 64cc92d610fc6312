#include "orch/file-lock.h"

#include <catch2/catch.hpp>
#include <fcntl.h>
#include <kj/io.h>
#include <unistd.h>

#include <thread>

#include "orch/testing/test-host.h"

namespace orch {
namespace {

kj::AutoCloseFd openLock(const testing::TestFolder& folder) {
  int fd = open(folder.sub("lock").cStr(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  REQUIRE(fd >= 0);
  return kj::AutoCloseFd(fd);
}

TEST_CASE("file lock: a second owner is refused", "[env]") {
  testing::TestFolder folder("file-lock");
  auto first = openLock(folder), second = openLock(folder);
  CHECK(lockFile(first));
  CHECK_FALSE(lockFile(second));
}

TEST_CASE("file lock: an owner that is going is waited for", "[env]") {
  testing::TestFolder folder("file-lock-wait");
  auto first = openLock(folder), second = openLock(folder);
  REQUIRE(lockFile(first));
  int gate[2];
  REQUIRE(pipe2(gate, O_CLOEXEC) == 0);
  std::thread going([&first, &gate] {
    char go;
    ssize_t n = read(gate[0], &go, 1);
    (void)n;  // either way it is time to go
    first = nullptr;
  });
  close(gate[1]);
  CHECK(lockFile(second));
  going.join();
  close(gate[0]);
}

}  // namespace
}  // namespace orch
