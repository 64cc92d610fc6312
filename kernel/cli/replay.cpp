// `orch replay`: what another scheduler would have made of the past.
#include <errno.h>
#include <fcntl.h>
#include <kj/io.h>
#include <string.h>
#include <sys/stat.h>

#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "display.h"
#include "human.h"
#include "orch/fail.h"
#include "output.h"
#include "value.h"

namespace orch::cli {

namespace {

constexpr Option REPLAY_OPTIONS[] = {
    {"--scheduler", "NAME", "By this strategy instead of those that decided"},
    {"--since", "TIME", "From a time on: 10m, 2026-08-03T12:00:00Z, or seconds since 1970"},
    {"--each", nullptr, "Show each task that would be elsewhere"}};

// What one call takes (cluster.capnp).
constexpr size_t MAX_JOURNAL_BYTES = 24 << 20;

kj::Array<kj::byte> journalIn(kj::StringPtr name) {
  int fd = open(name.cStr(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail(kj::str("cannot read the journal '", name, "': ", strerror(errno)));
  kj::AutoCloseFd file(fd);
  struct stat info = {};
  KJ_SYSCALL(fstat(fd, &info), name);
  if (!S_ISREG(info.st_mode)) {
    fail(kj::str("usage: the journal '", name,
                 "' is no file; it is kept in several, each of which "
                 "can be replayed by itself"));
  }
  auto bytes = static_cast<size_t>(info.st_size);
  if (bytes == 0) fail(kj::str("usage: the journal '", name, "' is empty"));
  if (bytes > MAX_JOURNAL_BYTES) {
    fail(kj::str("usage: the journal '", name, "' has ", bytes, " bytes; at most ",
                 MAX_JOURNAL_BYTES, " can be replayed"));
  }
  auto content = kj::heapArray<kj::byte>(bytes);
  auto n = kj::FdInputStream(fd).tryRead(content.begin(), bytes, bytes);
  return n == bytes ? kj::mv(content) : kj::heapArray(content.slice(0, n).asConst());
}

void showCounts(Context& context, schema::Replayed::Reader answer) {
  Table table;
  table.row(kj::arr(kj::str("SERVICE"), kj::str("TASKS"), kj::str("THE SAME NODE"),
                    kj::str("ANOTHER"), kj::str("NONE")));
  for (auto one : answer.getServices()) {
    table.row(kj::arr(kj::str(one.getService()), kj::str(one.getTasks()), kj::str(one.getSame()),
                      kj::str(one.getElsewhere()), kj::str(one.getNowhere())));
  }
  context.out.table(table);
}

void showEach(Context& context, schema::Replayed::Reader answer) {
  Table table;
  table.row(kj::arr(kj::str("TIME"), kj::str("TASK"), kj::str("NODE"), kj::str("WOULD BE ON")));
  for (auto one : answer.getTasks()) {
    auto other =
        one.getOther().size() > 0 ? kj::str(one.getOther()) : kj::str("none: ", one.getReason());
    table.row(kj::arr(timestamp(one.getAtNs()), kj::str(one.getService(), ".", one.getSlot()),
                      kj::str(one.getNode()), kj::mv(other)));
  }
  context.out.line();
  context.out.table(table);
}

Task<int> replay(Context& context) {
  auto cluster = co_await context.connection.cluster();
  auto request = cluster.replayRequest();
  request.setScheduler(context.args.text("--scheduler"));
  if (context.args.given("--since")) {
    auto since = parseMomentNs("--since", context.args.text("--since"), context.env.nowNs());
    request.setSinceNs(since);
  }
  auto files = context.args.operands();
  if (files.size() > 0) request.setJournal(journalIn(files[0]));
  auto response = co_await request.send();
  schema::ClusterControl::ReplayResults::Reader results = response;
  auto answer = results.getAnswer();
  if (context.out.wroteJson(capnp::toDynamic(answer))) co_return 0;
  if (answer.getDecisions() == 0) {
    context.out.line("no task was given a node in that time");
    co_return 0;
  }
  context.out.line(answer.getDecisions(), answer.getDecisions() == 1 ? " decision" : " decisions",
                   " from ", timestamp(answer.getFirstNs()), " to ", timestamp(answer.getLastNs()),
                   "\n");
  showCounts(context, answer);
  if (context.args.on("--each") && answer.getTasks().size() > 0) showEach(context, answer);
  co_return 0;
}

}  // namespace

const Command REPLAY = {"replay", "[FILE]",
                        "Decide the past again, by the same or by another scheduler",
                        REPLAY_OPTIONS, replay};

}  // namespace orch::cli
