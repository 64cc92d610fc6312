#include "watchers.h"

#include <capnp/any.h>
#include <kj/debug.h>

namespace orch::discovery {

namespace {

using Entries = schema::DiscoverySink::EntriesParams;

bool same(Answer& a, Answer& b) {
  return a->getRoot<capnp::AnyPointer>().asReader() == b->getRoot<capnp::AnyPointer>().asReader();
}

class ReadOnlyBackend final : public schema::Discovery::Server {
 public:
  ReadOnlyBackend(kj::Own<Watchers> watchers, kj::String writer)
      : watchers(kj::mv(watchers)), writer(kj::mv(writer)) {}

  kj::Promise<void> watch(WatchContext context) override {
    context.allowCancellation();
    return watchers->watch(context.getParams().getSink()).promise().attach(thisCap());
  }
  kj::Promise<void> register_(RegisterContext) override { refuse(); }
  kj::Promise<void> unregister(UnregisterContext) override { refuse(); }
  kj::Promise<void> create(CreateContext) override {
    failUnimplemented(kj::str("a cluster needs no making here; ", writer));
  }

 private:
  [[noreturn]] void refuse() {
    failUnimplemented(kj::str("these entries are read only; ", writer));
  }
  kj::Own<Watchers> watchers;
  kj::String writer;
};

}  // namespace

Answer answerOf(const std::vector<std::string>& sortedAddresses) {
  auto message = kj::heap<capnp::MallocMessageBuilder>();
  auto list = message->initRoot<Entries>().initEntries(sortedAddresses.size());
  for (uint32_t i = 0; i < list.size(); ++i) list[i].setAddress(sortedAddresses[i].c_str());
  return message;
}

Watchers::Watchers() : changed(nullptr) {
  auto pair = kj::newPromiseAndFulfiller<void>();
  change = kj::mv(pair.fulfiller);
  changed = pair.promise.fork();
}

void Watchers::tellAll() {
  ++version;
  auto old = kj::mv(change);
  auto pair = kj::newPromiseAndFulfiller<void>();
  change = kj::mv(pair.fulfiller);
  changed = pair.promise.fork();
  old->fulfill();
}

void Watchers::present(Answer answer) {
  bool empty = answer->getRoot<Entries>().getEntries().size() == 0;
  KJ_IF_MAYBE (before, known) {
    if (empty && (*before)->getRoot<Entries>().getEntries().size() > 0) {
      failed("it names nobody any more; the entries before stand");
      return;
    }
    if (reason.size() == 0 && same(*before, answer)) return;
  }
  known = kj::mv(answer);
  knownVersion = version + 1;
  reason = nullptr;
  tellAll();
}

void Watchers::failed(kj::StringPtr why) {
  if (reason == why) return;
  reason = kj::str(why);
  tellAll();
}

void Watchers::end() {
  ended = true;
  tellAll();
}

Task<void> Watchers::watch(schema::DiscoverySink::Client sink) {
  uint64_t told = 0;
  bool toldReason = false;
  for (;;) {
    if (ended) kj::throwFatalException(KJ_EXCEPTION(DISCONNECTED, "the backend has stopped"));
    if (told == version) {
      co_await changed.addBranch();
      continue;
    }
    uint64_t telling = version;
    auto why = kj::str(reason);
    bool fresh = knownVersion > told || (toldReason && why.size() == 0);
    KJ_IF_MAYBE (answer, known) {
      if (fresh) {
        auto request = sink.entriesRequest();
        request.setEntries((*answer)->getRoot<Entries>().getEntries().asReader());
        co_await request.send();
      }
    }
    if (why.size() > 0) {
      auto request = sink.failedRequest();
      request.setReason(why);
      co_await request.send();
    }
    toldReason = why.size() > 0;
    told = telling;
  }
}

schema::Discovery::Client newReadOnlyBackend(kj::Own<Watchers> watchers, kj::String writer) {
  return kj::heap<ReadOnlyBackend>(kj::mv(watchers), kj::mv(writer));
}

void failUnimplemented(kj::String text) {
  kj::throwFatalException(
      kj::Exception(kj::Exception::Type::UNIMPLEMENTED, __FILE__, __LINE__, kj::mv(text)));
}

}  // namespace orch::discovery
