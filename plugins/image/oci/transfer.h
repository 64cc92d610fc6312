// Transfers that are under way, by image name. Whoever wants the same image joins the one that
// runs: it ends when it is done, or when the last of those who wait for it has gone.
#pragma once

#include <kj/async.h>
#include <kj/function.h>
#include <kj/refcount.h>

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "orch/schema/image.capnp.h"
#include "orch/task.h"

namespace orch::image::oci {

// How far a transfer is.
class ProgressSink {
 public:
  virtual void report(kj::StringPtr text, uint64_t doneBytes, uint64_t totalBytes) = 0;

 protected:
  ~ProgressSink() = default;
};

// One who waits, and its callback. At most one call is under way; while it is, only the latest news
// is kept. A callback that fails is not called again.
class ProgressWaiter final {
 public:
  explicit ProgressWaiter(kj::Maybe<schema::Progress::Client> client);
  KJ_DISALLOW_COPY(ProgressWaiter);
  void report(kj::StringPtr text, uint64_t doneBytes, uint64_t totalBytes);

 private:
  struct News {
    kj::String text;
    uint64_t doneBytes;
    uint64_t totalBytes;
  };
  class Errors final : public kj::TaskSet::ErrorHandler {
    void taskFailed(kj::Exception&&) override {}  // whoever listened is gone
  };
  void send(News news);
  kj::Maybe<schema::Progress::Client> client;
  kj::Maybe<News> latest;
  bool busy = false;
  Errors errors;
  kj::TaskSet calls;
};

// Lives on the loop's thread and outlives the promises of `join`.
class TransferTable final {
 public:
  TransferTable() = default;
  KJ_DISALLOW_COPY(TransferTable);
  ~TransferTable() noexcept(false) {}

  // Waits for the transfer `key`, which `start` begins if there is none.
  kj::Promise<void> join(const std::string& key, kj::Maybe<schema::Progress::Client> progress,
                         kj::FunctionParam<Task<void>(ProgressSink&)> start);
  size_t size() const { return running.size(); }

 private:
  class Transfer;
  struct Membership;
  std::map<std::string, Transfer*> running;
};

}  // namespace orch::image::oci
