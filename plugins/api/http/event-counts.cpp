#include "event-counts.h"

namespace orch::api::http {

namespace {

class CountingSink final : public schema::EventSink::Server {
 public:
  explicit CountingSink(kj::Own<EventCounts::Counts> counts) : counts(kj::mv(counts)) {}

  kj::Promise<void> events(EventsContext context) override {
    auto params = context.getParams();
    counts->missed += params.getLagged();
    for (auto event : params.getEvents()) counts->add(event.getTopic().cStr());
    return kj::READY_NOW;
  }

 private:
  kj::Own<EventCounts::Counts> counts;
};

}  // namespace

void EventCounts::Counts::add(const std::string& topic) {
  bool own = topics.size() < MAX_TOPICS || topics.count(topic) > 0;
  ++topics[own ? topic : "other"];
}

Task<void> EventCounts::start(Host& host) {
  auto request = host.client().subscribeRequest();
  request.initTopics(1).set(0, "*");
  request.setSink(kj::heap<CountingSink>(kj::addRef(*all)));
  auto answer = co_await request.send();
  subscription = answer.getSubscription();
}

}  // namespace orch::api::http
