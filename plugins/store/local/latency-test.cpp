// Hidden; run by name to see what a commit costs: orch_store_local_test "[.latency]"
#include <catch2/catch.hpp>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "orch/testing/test-host.h"
#include "test-store.h"

namespace orch::store::local {
namespace {

constexpr int COMMITS = 2000;

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
  auto plugin =
      host.configure(newModuleInstance(*env), message.initRoot<Config>().asReader(), io.waitScope);
  auto store = host.start<schema::Store>(plugin, "store.local", io.waitScope);
  std::vector<double> times;
  auto now = [] { return std::chrono::steady_clock::now(); };
  for (int i = 0; i < COMMITS; ++i) {
    auto start = now();
    commitTwo(store, i).wait(io.waitScope);
    times.push_back(std::chrono::duration<double, std::milli>(now() - start).count());
  }
  std::sort(times.begin(), times.end());
  printf("one commit of 2 ops: p50 %.3f ms, p90 %.3f, p99 %.3f, max %.3f\n", times[COMMITS / 2],
         times[COMMITS * 9 / 10], times[COMMITS * 99 / 100], times.back());
  auto start = now();
  kj::Vector<kj::Promise<void>> all;
  for (int i = 0; i < COMMITS; ++i) all.add(commitTwo(store, COMMITS + i));
  kj::joinPromises(all.releaseAsArray()).wait(io.waitScope);
  printf("%.0f commits/s when all are asked at once\n",
         COMMITS / std::chrono::duration<double>(now() - start).count());
  plugin.stopRequest().send().wait(io.waitScope);
}

}  // namespace
}  // namespace orch::store::local
