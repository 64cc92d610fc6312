// What OciRuntime tells of a container that runs: what its own process writes, what it uses, and
// its processes.
#include <kj/debug.h>
#include <time.h>

#include <algorithm>

#include "attached-program.h"
#include "conmon.h"
#include "oci-runtime.h"
#include "rootfs.h"

namespace orch::runtime {

namespace {

constexpr size_t MAX_PROCESSES = 1000;

int64_t steadyNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * INT64_C(1'000'000'000) + now.tv_nsec;
}

}  // namespace

OciRuntime::Attached OciRuntime::attach(schema::Runtime::AttachParams::Reader wish) {
  auto container = runningOne(wish.getId());
  bool terminal = container->hasTerminal, takesInput = container->takesInput();
  auto bundle = maker->layout.bundle(container->id);
  auto conmon = kj::heap<FdStream>(env, connectToConmon(bundle), FdStream::Way::BOTH);
  auto size = wish.getSize();
  if (terminal && size.getRows() > 0 && size.getColumns() > 0) {
    resizeTerminal(bundle, size.getRows(), size.getColumns());
  }
  return {kj::heap<AttachedProgram>(env.timer(), kj::mv(container), kj::mv(conmon), bundle,
                                    wish.getInput(), wish.getOutput()),
          terminal, takesInput};
}

Task<std::vector<OciUsage>> OciRuntime::usage(std::vector<std::string> ids) {
  std::vector<std::pair<std::string, ProcessName>> asked;
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  for (auto& id : ids) {
    auto found = containers.find(id);
    if (found == containers.end()) continue;
    auto& container = *found->second.container;
    bool runs = container.trouble.empty() && container.stage == Container::Stage::RUNNING;
    if (runs) asked.emplace_back(id, container.state.init);
  }
  auto job = maker;
  auto measuring = env.workers().run([job, asked = std::move(asked)] {
    std::vector<OciUsage> all;
    for (auto& [id, init] : asked) {
      auto network = networkUsage(init);
      auto atNs = steadyNs();
      all.push_back({id, atNs, job->cgroups.usage(id), network});
    }
    return all;
  });
  auto all = co_await measuring;
  auto most = static_cast<int64_t>(env.hardware().memoryBytes);
  for (auto& one : all) {
    auto& limit = one.own.memoryLimitBytes;
    if (limit < 0 || limit > most) limit = most;
  }
  co_return kj::mv(all);
}

Task<OciProcesses> OciRuntime::processes(kj::String id) {
  auto container = runningOne(id);
  auto job = maker;
  auto looking = env.workers().run([job, name = container->id] {
    OciProcesses result;
    auto pids = job->cgroups.allProcesses(name);
    if (pids.size() > MAX_PROCESSES) {
      result.more = pids.size() - MAX_PROCESSES;
      pids.resize(MAX_PROCESSES);
    }
    result.some = factsOf(pids);
    RootFolder root(job->layout.rootfs(name));
    std::string passwd = root.read("/etc/passwd").cStr();
    for (auto& one : result.some) result.users.push_back(userNamed(passwd, one.uid));
    return result;
  });
  auto result = co_await looking;
  co_return kj::mv(result);
}

}  // namespace orch::runtime
