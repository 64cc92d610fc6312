#include "transfer.h"

#include <kj/debug.h>

namespace orch::image::oci {

ProgressWaiter::ProgressWaiter(kj::Maybe<schema::Progress::Client> client)
    : client(kj::mv(client)), calls(errors) {}

void ProgressWaiter::report(kj::StringPtr text, uint64_t doneBytes, uint64_t totalBytes) {
  if (client == nullptr) return;
  News news{kj::str(text), doneBytes, totalBytes};
  if (busy) {
    latest = kj::mv(news);
  } else {
    send(kj::mv(news));
  }
}

void ProgressWaiter::send(News news) {
  KJ_IF_MAYBE (target, client) {
    busy = true;
    auto request = target->updateRequest();
    request.setText(news.text);
    request.setDoneBytes(news.doneBytes);
    request.setTotalBytes(news.totalBytes);
    calls.add(request.send().ignoreResult().then(
        [this]() {
          busy = false;
          KJ_IF_MAYBE (waiting, latest) {
            News next = kj::mv(*waiting);
            latest = nullptr;
            send(kj::mv(next));
          }
        },
        [this](kj::Exception&&) { client = nullptr; }));
  }
}

// Owned by those who wait for it.
class TransferTable::Transfer final : public kj::Refcounted, public ProgressSink {
 public:
  Transfer(TransferTable& table, std::string key) : table(table), key(kj::mv(key)) {
    table.running[this->key] = this;
  }
  ~Transfer() noexcept(false) override { leaveTable(); }

  void begin(Task<void> work) {
    done = kj::mv(work)
               .promise()
               .then([this]() { leaveTable(); },
                     [this](kj::Exception&& exception) {
                       leaveTable();
                       kj::throwFatalException(kj::mv(exception));
                     })
               .fork();
  }
  kj::Promise<void> whenDone() { return KJ_ASSERT_NONNULL(done).addBranch(); }

  void report(kj::StringPtr text, uint64_t doneBytes, uint64_t totalBytes) override {
    for (auto* waiter : waiters) waiter->report(text, doneBytes, totalBytes);
  }
  std::set<ProgressWaiter*> waiters;

 private:
  void leaveTable() {
    auto found = table.running.find(key);
    if (found != table.running.end() && found->second == this) table.running.erase(found);
  }
  TransferTable& table;
  const std::string key;
  kj::Maybe<kj::ForkedPromise<void>> done;
};

struct TransferTable::Membership {
  Membership(kj::Own<Transfer> given, kj::Maybe<schema::Progress::Client> progress)
      : transfer(kj::mv(given)), waiter(kj::mv(progress)) {
    transfer->waiters.insert(&waiter);
  }
  ~Membership() noexcept(false) { transfer->waiters.erase(&waiter); }
  KJ_DISALLOW_COPY(Membership);
  kj::Own<Transfer> transfer;
  ProgressWaiter waiter;
};

kj::Promise<void> TransferTable::join(const std::string& key,
                                      kj::Maybe<schema::Progress::Client> progress,
                                      kj::FunctionParam<Task<void>(ProgressSink&)> start) {
  auto found = running.find(key);
  bool fresh = found == running.end();
  auto transfer = fresh ? kj::refcounted<Transfer>(*this, key) : kj::addRef(*found->second);
  auto& shared = *transfer;
  auto membership = kj::heap<Membership>(kj::mv(transfer), kj::mv(progress));
  if (fresh) shared.begin(start(shared));
  return shared.whenDone().attach(kj::mv(membership));
}

}  // namespace orch::image::oci
