#include "task-digest.h"

#include <capnp/message.h>
#include <kj/debug.h>

#include "metrics.h"
#include "task-rows.h"

namespace orch::api::http {

namespace {

TaskDigest digestOf(capnp::MessageBuilder& message) {
  auto tasks = message.getRoot<capnp::AnyPointer>().asReader().getAs<capnp::List<schema::Task>>();
  TaskDigest digest;
  digest.rows = taskRows(tasks, false);
  digest.allRows = taskRows(tasks, true);
  Exposition metrics;
  describeTasks(metrics, tasks);
  digest.metrics = metrics.text();
  return digest;
}

}  // namespace

kj::Promise<TaskDigests::Shared> TaskDigests::get() {
  if (!asking) {
    asking = true;
    auto found = find().promise();
    answer = found.attach(kj::defer([this] { asking = false; })).fork();
  }
  return KJ_ASSERT_NONNULL(answer).addBranch();
}

Task<TaskDigests::Shared> TaskDigests::find() {
  auto asked = readings.info();
  auto known = co_await asked;
  auto info = known.getInfo();
  bool same = last != nullptr && last->revision != 0 && last->revision == info.getRevision() &&
              last->epoch == info.getEpoch();
  if (same) co_return last;
  auto listing = readings.tasks("", "", "");
  auto response = co_await listing;
  auto message = kj::heap<capnp::MallocMessageBuilder>();
  message->getRoot<capnp::AnyPointer>().setAs<capnp::List<schema::Task>>(response.getTasks());
  auto work = [message = kj::mv(message)]() mutable { return digestOf(*message); };
  auto digest = co_await env.workers().run(kj::mv(work));
  digest.epoch = info.getEpoch();
  // When nobody leads it is of before, and not what this revision will be.
  digest.revision = response.getAsOfNs() == 0 ? info.getRevision() : 0;
  digest.asOfNs = response.getAsOfNs();
  last = std::make_shared<const TaskDigest>(std::move(digest));
  co_return last;
}

}  // namespace orch::api::http
