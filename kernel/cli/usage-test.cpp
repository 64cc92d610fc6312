// `orch stats`, `orch top`, `orch task top` and `orch task attach`, without a terminal.
#include <catch2/catch.hpp>

#include "recording-server.h"
#include "usage-frames.h"

namespace orch::cli {
TEST_CASE("stats: has docker's columns, and says of whom nothing is known", "[cli]") {
  RecordingServer server;
  auto ran = server.run({"stats", "--no-stream", "--interval", "100ms"});
  CHECK(ran.status == 0);
  CHECK(ran.errors == "");
  CHECK(ran.out ==
        "TASK      NODE      CPU %     MEM USAGE / LIMIT   MEM %     NET I/O       BLOCK I/O   "
        "PIDS      PROBLEM\n"
        "web.1     n1        25.00%    16MiB / 64MiB       25.00%    1.26kB / 0B   --          "
        "3\n"
        "web.2     n2        --        -- / --             --        --            --          "
        "--        node 'n2' is down\n");
  CHECK(server
            .run({"stats", "--no-stream", "--interval", "100ms", "--format",
                  "{{.Name}} {{.CPUPerc}} {{.Problem}}", "web"})
            .out == "web.1 25.00% \nweb.2 -- node 'n2' is down\n");
  CHECK(has(server.run({"stats", "--no-stream", "--interval", "100ms", "--json"}).out,
            "\"cpuNanos\":250000000"));
}

TEST_CASE("stats: what is mistyped is refused before anything is asked", "[cli]") {
  RecordingServer server;
  CHECK(has(server.run({"stats", "--format", "{{.Nothing}}"}).errors, "Nothing"));
  CHECK(server.run({"stats", "--interval", "1ms"}).errors ==
        "orch: invalid value '1ms' for --interval: expected at least 100ms\n");
  CHECK(server.run({"top", "web.1"}).errors ==
        "orch: 'orch top' is about nodes; for the processes of a task: 'orch task top web.1'\n");
}

TEST_CASE("top: nodes with what they have and use, then the busiest tasks", "[cli]") {
  RecordingServer server;
  auto ran = server.run({"top", "--no-stream", "--interval", "100ms", "-n", "1"});
  CHECK(ran.status == 0);
  CHECK(ran.out ==
        "NODE      TASKS     CPU USED   CPU RESERVED   CPUS      MEM USED   MEM RESERVED   MEMORY\n"
        "n1        1         1.25       0.50           2.00      1GiB       64MiB          2GiB\n"
        "\n"
        "TASK      NODE      CPU %     MEM USAGE / LIMIT   MEM %     NET I/O       BLOCK I/O   "
        "PIDS      PROBLEM\n"
        "web.1     n1        25.00%    16MiB / 64MiB       25.00%    1.26kB / 0B   --          "
        "3\n");
  auto json = server.run({"top", "--no-stream", "--interval", "100ms", "--json"});
  CHECK(has(json.out, "\"usedCpuNanos\": 1250000000"));
}

TEST_CASE("task top: lists processes as ps does", "[cli]") {
  RecordingServer server;
  auto ran = server.run({"task", "top", "web.1"});
  CHECK(ran.out ==
        "PID       USER      TIME       COMMAND\n"
        "41        root      01:02:03   /bin/web --port 80\n"
        "42        1000      00:00:00   [worker]\n");
  CHECK(ran.errors == "orch: warning: 1 more are not shown\n");
  CHECK(server.run({"task", "top", "--format", "{{.PID}}<{{.PPID}}", "web.1"}).out ==
        "41<0\n42<41\n");
}

TEST_CASE("attach: input goes to the task, and its exit status is the command's", "[cli]") {
  RecordingServer server;
  auto ran = server.run({"task", "attach", "web.1"});
  CHECK(server.calls.back() == "attach web.1 in");
  CHECK(ran.errors == "end of input\n");
  CHECK(ran.status == 7);
  CHECK(server.run({"task", "attach", "--no-stdin", "web.1"}).status == 7);
  CHECK(server.calls.back() == "attach web.1");
  server.takesInput = false;
  ran = server.run({"task", "attach", "web.1"});
  CHECK(ran.errors == "");
  CHECK(ran.status == 7);
  CHECK(server.run({"task", "attach", "--detach-keys", "ctrl-1", "web.1"}).status == 2);
}

TEST_CASE("stats: a rate is of two answers of the same life", "[cli]") {
  UsageRates rates;
  auto rateOf = [&](int64_t atNs, int64_t cpuNs) {
    capnp::MallocMessageBuilder message;
    auto frame = message.initRoot<UsageFrame>();
    auto task = frame.initTasks(1)[0];
    task.initUsage().setId("t1");
    task.getUsage().setAtNs(atNs);
    task.getUsage().setCpuNs(cpuNs);
    rates.add(frame);
    return task.getCpuNanos();
  };
  CHECK(rateOf(1000, 100) == -1);
  CHECK(rateOf(2000, 1100) == 1'000'000'000);
  CHECK(rateOf(3000, 1100) == 0);
  CHECK(rateOf(500, 1200) == -1);  // another clock
  CHECK(rateOf(1500, 1700) == 500'000'000);
  CHECK(rateOf(2500, 10) == -1);  // counted anew
  CHECK(rateOf(3500, -1) == -1);
  CHECK(rateOf(4500, 20) == -1);
}

}  // namespace orch::cli
