#include "answering-thread.h"

#include <kj/async-io.h>
#include <kj/debug.h>
#include <pthread.h>

namespace orch::network::dns {

AnsweringThread::AnsweringThread(const ServerSettings& settings,
                                 AnsweringServer::Complain complain) {
  std::promise<void> started;
  auto ready = started.get_future();
  thread = std::thread([&, this, started = kj::mv(started)]() mutable {
    main(settings, kj::mv(complain), kj::mv(started));
  });
  KJ_ON_SCOPE_FAILURE(thread.join());
  ready.get();
}

void AnsweringThread::main(const ServerSettings& settings, AnsweringServer::Complain complain,
                           std::promise<void> started) {
  pthread_setname_np(pthread_self(), "orch-dns");
  try {
    auto io = kj::setupAsyncIo();
    Forwarder::Parts parts{*io.lowLevelProvider, io.unixEventPort, io.provider->getTimer()};
    AnsweringServer answering(parts, settings, kj::mv(complain));
    auto ending = kj::newPromiseAndFulfiller<void>();
    server = &answering;
    end = ending.fulfiller.get();
    executor = kj::getCurrentThreadExecutor().addRef();
    started.set_value();
    ending.promise.wait(io.waitScope);
  } catch (...) {
    if (server != nullptr) throw;
    started.set_exception(std::current_exception());
  }
}

AnsweringThread::~AnsweringThread() noexcept(false) {
  executor->executeSync([this] { end->fulfill(); });
  thread.join();
}

}  // namespace orch::network::dns
