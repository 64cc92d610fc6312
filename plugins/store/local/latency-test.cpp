// Hidden; run by name to see what a commit costs: orch_store_local_test "[.latency]"
// ORCH_LATENCY_FOLDER names a folder on another file system. Beside it stands what the disk itself
// takes: the same synced write, alternating with the commits.
#include <catch2/catch.hpp>
#include <fcntl.h>
#include <kj/io.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "orch/testing/test-host.h"
#include "test-store.h"

namespace orch::store::local {
namespace {

constexpr int COMMITS = 2000;

double since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

void print(const char* what, std::vector<double>& times) {
  std::sort(times.begin(), times.end());
  auto at = [&](double part) { return times[static_cast<size_t>((times.size() - 1) * part)]; };
  printf("%s: min %.3f ms, p10 %.3f, p50 %.3f, p90 %.3f, p99 %.3f\n", what, at(0), at(0.1), at(0.5),
         at(0.9), at(0.99));
}

struct Memory {
  long residentKib = 0;
  long sharedKib = 0;  // pages of files, as of libraries
};

Memory memory() {
  long pages = 0, resident = 0, shared = 0;
  auto text = readFile("/proc/self/statm");
  KJ_REQUIRE(sscanf(text.c_str(), "%ld %ld %ld", &pages, &resident, &shared) == 3);
  return {resident * 4, shared * 4};
}

void printGrowth(const char* when, Memory before) {
  auto now = memory();
  printf("memory %s: %ld KiB, of which %ld of files\n", when, now.residentKib - before.residentKib,
         now.sharedKib - before.sharedKib);
}

// A file whose blocks are there: 24 KiB and fdatasync.
class SyncedFile final {
 public:
  explicit SyncedFile(const std::string& folder) : block(24 << 10, 'x') {
    writeFile(folder + "/log", std::string(COMMITS * block.size(), '0'));
    log = kj::AutoCloseFd(open((folder + "/log").c_str(), O_WRONLY | O_CLOEXEC));
    KJ_SYSCALL(fsync(log));
  }
  void write() {
    KJ_SYSCALL(pwrite(log, block.data(), block.size(), at));
    KJ_SYSCALL(fdatasync(log));
    at += block.size();
  }

 private:
  std::string block;
  off_t at = 0;
  kj::AutoCloseFd log;
};

// A service and its task of 300 bytes, as a user's request makes them.
kj::Promise<void> commitTwo(schema::Store::Client& store, int i) {
  auto request = store.commitRequest();
  auto batch = request.initBatch();
  batch.setId(kj::str("batch-", i));
  auto ops = batch.initOps(2);
  std::string value(300, 'v');
  for (uint32_t n = 0; n < 2; ++n) {
    ops[n].setKind(n == 0 ? "service" : "task");
    ops[n].setKey(kj::str("object-", i));
    ops[n].setPut(kj::arrayPtr(value.data(), value.size()).asBytes());
  }
  return request.send().then([](auto&& response) {
    KJ_REQUIRE(response.getResult().isCommitted(), response.getResult());
  });
}

TEST_CASE("store.local: the time that a commit takes", "[.latency]") {
  auto io = kj::setupAsyncIo();
  auto env = newSystemEnv(io);
  testing::TestFolder folder("store-latency");
  testing::TestHost host(folder.sub("data"), folder.sub("run"), "store.local");
  capnp::MallocMessageBuilder message;
  auto settings = message.initRoot<Config>();
  auto* other = getenv("ORCH_LATENCY_FOLDER");
  std::string place = other != nullptr ? other : folder.path().cStr();
  settings.setDirectory((place + "/state").c_str());
  auto before = memory();
  auto plugin = host.configure(newModuleInstance(*env), settings.asReader(), io.waitScope);
  auto store = host.start<schema::Store>(plugin, "store.local", io.waitScope);
  printGrowth("when started", before);
  SyncedFile raw(place);
  std::vector<double> times, rawTimes;
  for (int i = 0; i < COMMITS; ++i) {
    auto start = std::chrono::steady_clock::now();
    commitTwo(store, i).wait(io.waitScope);
    times.push_back(since(start));
    start = std::chrono::steady_clock::now();
    raw.write();
    rawTimes.push_back(since(start));
  }
  printGrowth("after the commits", before);
  print("one commit of 2 ops", times);
  print("the synced write alone", rawTimes);
  auto start = std::chrono::steady_clock::now();
  kj::Vector<kj::Promise<void>> all;
  for (int i = 0; i < COMMITS; ++i) all.add(commitTwo(store, COMMITS + i));
  kj::joinPromises(all.releaseAsArray()).wait(io.waitScope);
  printf("%.0f commits/s when all are asked at once\n", COMMITS / since(start) * 1000);
  plugin.stopRequest().send().wait(io.waitScope);
}

}  // namespace
}  // namespace orch::store::local
