#include "discovery.h"

namespace orch::control::discovery {

namespace {

class DiscoveryServer final : public schema::NodeDiscovery::Server {
 public:
  explicit DiscoveryServer(kj::Own<Discovery> discovery) : discovery(kj::mv(discovery)) {}

  kj::Promise<void> list(ListContext context) override {
    discovery->list(context.getResults());
    return kj::READY_NOW;
  }
  kj::Promise<void> watch(WatchContext context) override {
    context.allowCancellation();
    return discovery->watch(context.getParams().getSink()).promise().attach(thisCap());
  }
  kj::Promise<void> announce(AnnounceContext context) override {
    discovery->announce(context.getParams().getEntry());
    return kj::READY_NOW;
  }
  kj::Promise<void> create(CreateContext context) override { return doCreate(context); }

 private:
  Task<void> doCreate(CreateContext context) {
    auto uri = co_await discovery->create(kj::str(context.getParams().getHub()));
    context.getResults().setUri(uri);
  }
  kj::Own<Discovery> discovery;
};

class StartedSink final : public schema::EventSink::Server {
 public:
  explicit StartedSink(kj::Own<Discovery> discovery) : discovery(kj::mv(discovery)) {}
  kj::Promise<void> events(EventsContext) override { return discovery->rescan(); }

 private:
  kj::Own<Discovery> discovery;
};

}  // namespace

schema::NodeDiscovery::Client newDiscoveryService(kj::Own<Discovery> discovery) {
  return kj::heap<DiscoveryServer>(kj::mv(discovery));
}

schema::EventSink::Client newStartedSink(kj::Own<Discovery> discovery) {
  return kj::heap<StartedSink>(kj::mv(discovery));
}

}  // namespace orch::control::discovery
