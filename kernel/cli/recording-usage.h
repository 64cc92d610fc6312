// For the recording server: what it says of what tasks and nodes use.
#pragma once

#include "orch/schema/cluster.capnp.h"
#include "recording-backups.h"

namespace orch::cli {

// `web.1` on n1 uses a quarter of a core, a second of its clock from one answer to the next; of
// `web.2` on n2 nothing is known.
class RecordingUsage : public RecordingBackups {
 public:
  kj::Promise<void> usage(UsageContext context) override {
    ++answers;
    auto results = context.getResults();
    auto tasks = results.initTasks(2);
    tasks[0].setTask("web.1");
    tasks[0].setNode("n1");
    auto usage = tasks[0].initUsage();
    usage.setId("t1aaaaaaaaaaaaaaaaaaaaaaa");
    usage.setAtNs(answers * 1'000'000'000);
    usage.setCpuNs(answers * 250'000'000);
    usage.setMemoryBytes(16 << 20);
    usage.setMemoryLimitBytes(64 << 20);
    usage.setReceivedBytes(1260);
    usage.setSentBytes(0);
    usage.setPids(3);
    tasks[1].setTask("web.2");
    tasks[1].setNode("n2");
    tasks[1].initUsage().setId("t2aaaaaaaaaaaaaaaaaaaaaaa");
    tasks[1].setMissing("node 'n2' is down");
    if (!context.getParams().getNodes()) return kj::READY_NOW;
    auto node = results.initNodes(1)[0];
    node.setId("n1aaaaaaaaaaaaaaaaaaaaaaa");
    node.setNode("n1");
    node.setTasks(1);
    node.setCpuNanos(2'000'000'000);
    node.setMemoryBytes(2048ull << 20);
    node.setReservedCpuNanos(500'000'000);
    node.setReservedMemoryBytes(64 << 20);
    auto host = node.initHost();
    host.setAtNs(answers * 1'000'000'000);
    host.setCpuNs(answers * 1'250'000'000);
    host.setMemoryBytes(1024 << 20);
    return kj::READY_NOW;
  }
  kj::Promise<void> processes(ProcessesContext context) override {
    auto list = context.getResults().initProcesses(2);
    list[0].setPid(41);
    list[0].setUser("root");
    list[0].setCpuNs(3'723'000'000'000);
    list[0].setCommand("/bin/web --port 80");
    list[1].setPid(42);
    list[1].setParent(41);
    list[1].setUid(1000);
    list[1].setCommand("[worker]");
    context.getResults().setMore(1);
    return kj::READY_NOW;
  }

 private:
  int64_t answers = 0;
};

}  // namespace orch::cli
