// Kills a process that commits, at random instants.
#include <catch2/catch.hpp>
#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "orch/testing/test-host.h"
#include "orch/testing/virtual-env.h"
#include "test-store.h"

namespace orch::store::local {
namespace {

constexpr int KILLS = 60;

struct CrashedNode {
  kj::AsyncIoContext io = kj::setupAsyncIo();
  kj::Own<Env> env = newSystemEnv(io);
};

// The number on the last complete line; 0 if there is none.
uint64_t lastLine(const std::string& lines) {
  auto end = lines.rfind('\n');
  if (end == std::string::npos) return 0;
  auto start = end == 0 ? std::string::npos : lines.rfind('\n', end - 1);
  return std::stoull(lines.substr(start == std::string::npos ? 0 : start + 1));
}

kj::String crasher() {
  auto folder = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  return kj::str((folder / "orch_store_local_crasher").c_str());
}

// Starts the program on `folder` and kills it `wait` after its first acknowledged commit; the last
// revision that it was told is durable.
Task<uint64_t> runAndKill(Env& env, kj::String folder, kj::Duration wait) {
  int fds[2];
  KJ_SYSCALL(pipe2(fds, O_CLOEXEC));
  kj::AutoCloseFd writeEnd(fds[1]);
  auto stream =
      env.lowLevelIo().wrapInputFd(fds[0], kj::LowLevelAsyncIoProvider::TAKE_OWNERSHIP |
                                               kj::LowLevelAsyncIoProvider::ALREADY_CLOEXEC);
  ProcessSpec spec;
  spec.argv.add(crasher());
  spec.argv.add(kj::mv(folder));
  spec.env.add(kj::str("ASAN_OPTIONS=detect_leaks=0"));
  spec.fds.add(ProcessSpec::Fd{1, writeEnd});
  spec.fds.add(ProcessSpec::Fd{2, STDERR_FILENO});
  spec.dieWithParent = true;
  auto process = co_await env.processes().spawn(kj::mv(spec));
  writeEnd = nullptr;

  std::string lines;
  char buffer[4096];
  size_t n = co_await stream->tryRead(buffer, 1, sizeof(buffer));
  lines.append(buffer, n);
  co_await env.timer().afterDelay(wait);
  process->signal(SIGKILL);
  co_await process->onExit();
  for (;;) {
    n = co_await stream->tryRead(buffer, 1, sizeof(buffer));
    if (n == 0) break;
    lines.append(buffer, n);
  }
  co_return lastLine(lines);
}

// Everything that the program's commits up to `revision` made, and nothing else.
void checkComplete(const std::string& folder, uint64_t acknowledged) {
  LocalStore store(smallState(folder.c_str()));
  uint64_t revision = store.revision();
  REQUIRE(revision >= acknowledged);
  REQUIRE(revision <= acknowledged + 1);
  if (revision > 0) REQUIRE(store.find("batch-" + std::to_string(revision)) == revision);
  auto id = store.beginLoad();
  uint64_t objects = 0;
  for (;;) {
    auto chunk = store.load(id);
    if (chunk.rows.empty()) break;
    for (auto& row : chunk.rows) {
      ++objects;
      if (row.key == "counter") {
        REQUIRE(row.value == std::to_string(revision));
      } else {
        REQUIRE(row.key == "object-" + std::to_string(row.revision));
        REQUIRE(row.value.size() == row.revision * 37 % 3000);
      }
    }
  }
  REQUIRE(objects == revision);
}

TEST_CASE("store.local: what was acknowledged is there after SIGKILL at any instant", "[store]") {
  CrashedNode node;
  testing::TestFolder folder("store-crash");
  uint64_t seed = testing::testSeed(), acknowledged = 0;
  for (int i = 0; i < KILLS; ++i) {
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    auto wait = (seed >> 33) % 20'000 * kj::MICROSECONDS;
    acknowledged = runAndKill(*node.env, folder.sub("state"), wait).wait(node.io.waitScope);
    INFO("kill " << i);
    checkComplete(folder.sub("state").cStr(), acknowledged);
  }
  CHECK(acknowledged >= KILLS);
}

// The last revision that a program acknowledged which is killed as it enters its `nth` call that
// changes a file.
uint64_t killAtCall(CrashedNode& node, kj::StringPtr folder, int nth) {
  ProcessSpec spec;
  for (auto text : {"strace", "-f", "-o", "/dev/null", "-e"}) spec.argv.add(kj::str(text));
  spec.argv.add(kj::str("inject=pwrite64,write,fsync,fdatasync,rename,ftruncate,unlink,mkdir",
                        ":signal=KILL:when=", nth));
  spec.argv.add(crasher());
  spec.argv.add(kj::str(folder));
  spec.env.add(kj::str("ASAN_OPTIONS=detect_leaks=0"));
  spec.env.add(kj::str("PATH=/usr/bin:/bin"));
  auto result = node.env->command(kj::mv(spec)).wait(node.io.waitScope);
  INFO(result.errors.cStr());
  REQUIRE(result.status == 128 + SIGKILL);
  return lastLine(result.output.cStr());
}

TEST_CASE("store.local: a new state survives a kill at each of its first calls", "[store]") {
  CrashedNode node;
  testing::TestFolder folder("store-calls");
  uint64_t acknowledged = 0;
  for (int nth = 1; acknowledged < 3; ++nth) {
    REQUIRE(nth < 200);
    INFO("killed at call " << nth);
    auto state = folder.sub("state");
    std::filesystem::remove_all(state.cStr());
    acknowledged = killAtCall(node, state, nth);
    checkComplete(state.cStr(), acknowledged);
  }
}

}  // namespace
}  // namespace orch::store::local
