// The thread that answers, with an event loop of its own: the tables, all sockets and all waiting
// questions are its alone, so that no lock is held and orchd's loop is not needed for an answer.
#pragma once

#include <kj/async.h>

#include <future>
#include <thread>

#include "server.h"

namespace orch::network::dns {

class AnsweringThread final {
 public:
  // In the network namespace of the calling thread. `complain` is called on the new thread.
  AnsweringThread(const ServerSettings& settings, AnsweringServer::Complain complain);
  // Ends it. No promise of `run` may be left.
  ~AnsweringThread() noexcept(false);
  KJ_DISALLOW_COPY(AnsweringThread);

  // `work(AnsweringServer&)` there, in the order of the calls; the answer is back here.
  template <typename F>
  auto run(F work) {
    return executor->executeAsync([this, work = kj::mv(work)]() mutable { return work(*server); });
  }

 private:
  void main(const ServerSettings& settings, AnsweringServer::Complain complain,
            std::promise<void> started);

  kj::Own<const kj::Executor> executor;
  // Of the thread; null before it started.
  AnsweringServer* server = nullptr;
  kj::PromiseFulfiller<void>* end = nullptr;
  std::thread thread;
};

}  // namespace orch::network::dns
