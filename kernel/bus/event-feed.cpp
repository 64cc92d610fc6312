#include "kernel/bus/event-feed.h"

#include <capnp/serialize.h>

#include "orch/segments/segments.h"

namespace orch::bus {

namespace {

// Holds back what a subscription brings until it is told up to where the log has been sent.
class HeldSink final : public schema::EventSink::Server {
 public:
  explicit HeldSink(schema::EventSink::Client sink)
      : sink(kj::mv(sink)), gate(kj::newPromiseAndFulfiller<void>()), opened(gate.promise.fork()) {}

  // What was sent already comes no second time.
  void release(uint64_t sentSequence) {
    sent = sentSequence;
    gate.fulfiller->fulfill();
  }

  kj::Promise<void> events(EventsContext context) override {
    return opened.addBranch().then([this, context]() mutable { return forward(context); });
  }

 private:
  kj::Promise<void> forward(EventsContext context) {
    auto params = context.getParams();
    kj::Vector<schema::Event::Reader> fresh;
    for (auto event : params.getEvents()) {
      if (event.getSequence() > sent) fresh.add(event);
    }
    if (fresh.size() == 0 && params.getLagged() == 0) return kj::READY_NOW;
    auto request = sink.eventsRequest();
    auto list = request.initEvents(fresh.size());
    for (uint32_t i = 0; i < list.size(); ++i) list.setWithCaveats(i, fresh[i]);
    request.setLagged(params.getLagged());
    return request.send().ignoreResult();
  }

  schema::EventSink::Client sink;
  kj::PromiseFulfillerPair<void> gate;
  kj::ForkedPromise<void> opened;
  uint64_t sent = 0;
};

class Feed final {
 public:
  Feed(EventLog& log, Bus& bus, FeedRequest request, schema::EventSink::Client sink)
      : log(log), bus(bus), request(std::move(request)), sink(kj::mv(sink)) {}

  Task<void> run() {
    if (request.sinceNs > 0) {
      co_await sendLog();
      if (!request.follow) co_return;
    }
    auto held = kj::heap<HeldSink>(sink);
    auto& gate = *held;
    auto subscription = bus.subscribe(request.topics, kj::mv(held));
    // What happened while the first pass was sent: little, so that the queue holds what comes now.
    if (request.sinceNs > 0) co_await sendLog();
    gate.release(sent);
    co_await kj::Promise<void>(kj::NEVER_DONE);
  }

 private:
  // From where the last pass ended to where the log ends now.
  Task<void> sendLog() {
    auto end = co_await log.end();
    while (at < end) {
      LogFilter filter;
      filter.sinceNs = request.sinceNs;
      filter.topics = request.topics;
      auto piece = co_await log.read(at, end, kj::mv(filter));
      at = piece.next;
      sent = kj::max(sent, piece.lastSequence);
      for (auto& damage : piece.damages) tellDamage(damage);
      if (piece.events.empty()) continue;
      auto call = sink.eventsRequest();
      auto list = call.initEvents(piece.events.size());
      for (uint32_t i = 0; i < list.size(); ++i) {
        capnp::FlatArrayMessageReader reader(piece.events[i]);
        list.setWithCaveats(i, reader.getRoot<schema::Event>());
      }
      co_await call.send().ignoreResult();
    }
  }

  void tellDamage(const LogDamage& damage) {
    if (!log.isNews(damage)) return;
    bus.publish("events.damaged", segments::segmentName(damage.at.segment).toString(),
                {{"offset", kj::str(damage.at.offset)}, {"bytes", kj::str(damage.bytes)}});
  }

  EventLog& log;
  Bus& bus;
  FeedRequest request;
  schema::EventSink::Client sink;
  LogPosition at;
  uint64_t sent = 0;
};

}  // namespace

Task<void> feedEvents(EventLog& log, Bus& bus, FeedRequest request,
                      schema::EventSink::Client sink) {
  Feed feed(log, bus, std::move(request), kj::mv(sink));
  co_await feed.run();
}

}  // namespace orch::bus
