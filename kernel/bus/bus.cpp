#include "kernel/bus/bus.h"

#include <capnp/serialize.h>
#include <kj/debug.h>

namespace orch::bus {

namespace {
constexpr size_t FIRST_WORDS = 128;  // of a message: enough for most events
}  // namespace

// The capability that a subscriber holds: alive as long as the subscription is.
class Bus::Subscriber final : public capnp::Capability::Server {
 public:
  Subscriber(Bus& bus, std::vector<std::string> topics, schema::EventSink::Client sink)
      : bus(&bus), topics(std::move(topics)), sink(kj::mv(sink)), sending(kj::READY_NOW) {
    bus.subscribers.push_back(this);
  }
  ~Subscriber() noexcept(false) {
    if (bus != nullptr) bus->subscribers.remove(this);
  }
  void forgetBus() { bus = nullptr; }

  DispatchCallResult dispatchCall(
      uint64_t interfaceId, uint16_t methodId,
      capnp::CallContext<capnp::AnyPointer, capnp::AnyPointer>) override {
    return internalUnimplemented("Subscription", interfaceId, methodId);
  }

  void offer(kj::StringPtr topic, const std::shared_ptr<const EventWords>& event) {
    if (ended || !matches(topics, topic)) return;
    if (queue.size() >= QUEUE_EVENTS) {
      ++lagged;
      queue.pop_front();
    }
    queue.push_back(event);
    if (!busy) send();
  }

 private:
  void send() {
    busy = true;
    sending = sendBatches().promise().eagerlyEvaluate([this](kj::Exception&&) { ended = true; });
  }

  Task<void> sendBatches() {
    while (!queue.empty()) {
      auto request = sink.eventsRequest();
      auto list = request.initEvents(kj::min(queue.size(), BATCH_EVENTS));
      for (uint32_t i = 0; i < list.size(); ++i) {
        capnp::FlatArrayMessageReader reader(*queue.front());
        list.setWithCaveats(i, reader.getRoot<schema::Event>());
        queue.pop_front();
      }
      request.setLagged(lagged);
      lagged = 0;
      co_await request.send().ignoreResult();
    }
    busy = false;
  }

  Bus* bus;  // null once the bus has gone
  std::vector<std::string> topics;
  schema::EventSink::Client sink;
  std::deque<std::shared_ptr<const EventWords>> queue;  // shared with the other subscribers
  uint64_t lagged = 0;
  bool busy = false;
  bool ended = false;
  kj::Promise<void> sending;
};

Bus::Bus(Env& env, EventLog& log) : env(env), log(log), sequence(log.lastSequence()) {}

Bus::~Bus() noexcept(false) {
  for (auto* subscriber : subscribers) subscriber->forgetBus();
}

bool Bus::matches(const std::vector<std::string>& topics, kj::StringPtr topic) {
  if (topics.empty()) return true;
  for (auto& wanted : topics) {
    kj::StringPtr text = wanted.c_str();
    if (text.endsWith("*")) {
      auto prefix = text.slice(0, text.size() - 1);
      if (topic.size() >= prefix.size() && topic.slice(0, prefix.size()) == prefix) return true;
    } else if (topic == text) {
      return true;
    }
  }
  return false;
}

void Bus::publish(kj::StringPtr source, kj::StringPtr topic, kj::StringPtr subject,
                  capnp::List<schema::KeyValue>::Reader attributes) {
  capnp::word room[FIRST_WORDS] = {};
  capnp::MallocMessageBuilder message(room);
  auto event = message.initRoot<schema::Event>();
  event.setSource(source);
  event.setTopic(topic);
  event.setSubject(subject);
  event.setAttributes(attributes);
  deliver(message, event);
}

void Bus::publish(kj::StringPtr topic, kj::StringPtr subject,
                  std::initializer_list<std::pair<kj::StringPtr, kj::StringPtr>> attributes) {
  capnp::word room[FIRST_WORDS] = {};
  capnp::MallocMessageBuilder message(room);
  auto event = message.initRoot<schema::Event>();
  event.setSource("kernel");
  event.setTopic(topic);
  event.setSubject(subject);
  auto list = event.initAttributes(attributes.size());
  uint32_t i = 0;
  for (auto& [key, value] : attributes) {
    list[i].setKey(key);
    list[i].setValue(value);
    ++i;
  }
  deliver(message, event);
}

void Bus::deliver(capnp::MallocMessageBuilder& message, schema::Event::Builder event) {
  event.setSequence(++sequence);
  event.setTimeNs(env.nowNs());
  auto words = std::make_shared<const EventWords>(capnp::messageToFlatArray(message));
  log.append(*words, sequence);
  for (auto* subscriber : subscribers) subscriber->offer(event.getTopic(), words);
}

capnp::Capability::Client Bus::subscribe(std::vector<std::string> topics,
                                         schema::EventSink::Client sink) {
  return kj::heap<Subscriber>(*this, std::move(topics), kj::mv(sink));
}

}  // namespace orch::bus
