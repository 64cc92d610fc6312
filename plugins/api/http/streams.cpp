#include "streams.h"

#include <algorithm>

#include "orch/amounts.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "orch/json/json.h"

namespace orch::api::http {

namespace {

constexpr auto EVENT_STREAM = "text/event-stream";
// Proxies close what is silent for a minute.
constexpr auto SIGN_OF_LIFE = 15 * kj::SECONDS;
// An error that comes within it has a status of its own.
constexpr auto PATIENCE = 300 * kj::MILLISECONDS;
constexpr size_t MAX_TOPICS = 32;

// `10m`: so long ago; or seconds since 1970.
int64_t momentOf(const Request& request, int64_t nowNs) {
  auto text = request.parameter("since");
  if (text.empty()) return 0;
  std::string_view number = text;
  auto seconds = takeDecimal(number);
  constexpr double LATEST_S = 9.2e9;  // nanoseconds of an int64 end in 2262
  if (seconds && number.empty() && *seconds < LATEST_S) {
    return static_cast<int64_t>(*seconds * 1e9);
  }
  auto ago = parseDurationNs(text);
  if (!ago) {
    fail(kj::str("usage: since is '", text.c_str(),
                 "'; accepted: a duration as 10m, or seconds since 1970"));
  }
  return std::max<int64_t>(nowNs - *ago, 1);
}

bool wantsEvents(const Request& request) {
  return request.accept.find(EVENT_STREAM) != std::string::npos;
}

class EventSender final : public schema::EventSink::Server {
 public:
  EventSender(kj::Own<Exchange> exchange, uint64_t after)
      : exchange(kj::mv(exchange)), after(after) {}

  kj::Promise<void> events(EventsContext context) override {
    auto params = context.getParams();
    std::string all;
    if (params.getLagged() > 0) {
      all += "event: lagged\ndata: " + std::to_string(params.getLagged()) + "\n\n";
    }
    for (auto event : params.getEvents()) {
      if (event.getSequence() > after) all += textOf(event);
    }
    if (all.empty()) return kj::READY_NOW;
    return exchange->send(std::move(all));
  }

 private:
  kj::Own<Exchange> exchange;
  const uint64_t after;
};

Answer headOf(bool asEvents) {
  Answer head;
  head.type = asEvents ? EVENT_STREAM : "application/jsonl";
  return head;
}

class LogSender final : public schema::LogSink::Server {
 public:
  LogSender(kj::Own<Exchange> exchange, bool asEvents)
      : exchange(kj::mv(exchange)), asEvents(asEvents) {}

  kj::Promise<void> lines(LinesContext context) override {
    std::string all;
    for (auto line : context.getParams().getLines()) {
      if (asEvents) all += "data: ";
      all += logLineJson(line, line.getText().asChars()).cStr();
      all += asEvents ? "\n\n" : "\n";
    }
    if (all.empty()) return kj::READY_NOW;
    auto begun = exchange->begin(headOf(asEvents));
    return begun.then([to = kj::addRef(*exchange), all = std::move(all)]() mutable {
      return to->send(std::move(all));
    });
  }

 private:
  kj::Own<Exchange> exchange;
  const bool asEvents;
};

// A comment, which clients of server-sent events pass over.
Task<void> showLife(Env& env, Exchange& exchange) {
  for (;;) {
    co_await env.timer().afterDelay(SIGN_OF_LIFE);
    co_await exchange.send(": \n\n");
  }
}

// The head of a log that nothing is in yet.
Task<void> showPatience(Env& env, Exchange& exchange, bool asEvents) {
  co_await env.timer().afterDelay(PATIENCE);
  co_await exchange.begin(headOf(asEvents));
  if (asEvents) co_await showLife(env, exchange);
  co_await kj::Promise<void>(kj::NEVER_DONE);
}

}  // namespace

EventsAsked EventsAsked::of(const Request& request, int64_t nowNs) {
  EventsAsked found;
  found.sinceNs = momentOf(request, nowNs);
  auto text = request.parameter("topics");
  for (std::string_view topics = text; !topics.empty();) {
    auto topic = topics.substr(0, topics.find(','));
    topics.remove_prefix(std::min(topics.size(), topic.size() + 1));
    if (!topic.empty()) found.topics.emplace_back(topic);
  }
  if (found.topics.size() > MAX_TOPICS) {
    fail(kj::str("usage: ", found.topics.size(), " topics are too many; at most ", MAX_TOPICS));
  }
  if (found.topics.empty()) found.topics.emplace_back("*");
  auto& last = request.lastEventId;
  auto hyphen = last.find('-');
  if (hyphen == std::string::npos) return found;
  auto timeNs = readDigits(std::string_view(last).substr(0, hyphen));
  auto sequence = readDigits(std::string_view(last).substr(hyphen + 1));
  if (timeNs && sequence && *timeNs < INT64_MAX) {
    found.sinceNs = static_cast<int64_t>(*timeNs);
    found.afterSequence = *sequence;
  }
  return found;
}

LogsAsked LogsAsked::of(const Request& request, int64_t nowNs) {
  LogsAsked found;
  found.sinceNs = momentOf(request, nowNs);
  auto follow = request.parameter("follow");
  if (follow != "" && follow != "0" && follow != "1") {
    fail(kj::str("usage: follow is '", follow.c_str(), "'; accepted: 0 or 1"));
  }
  found.follow = follow == "1";
  auto tail = request.parameter("tail");
  if (!tail.empty()) {
    auto lines = readDigits(tail);
    if (!lines || *lines > INT32_MAX) {
      fail(kj::str("usage: tail is '", tail.c_str(), "'; accepted: a number of lines"));
    }
    found.tail = static_cast<int64_t>(*lines);
  }
  found.asEvents = wantsEvents(request);
  return found;
}

std::string textOf(schema::Event::Reader event) {
  auto id = std::to_string(event.getTimeNs()) + "-" + std::to_string(event.getSequence());
  return "id: " + id + "\ndata: " + toJson(capnp::toDynamic(event), true).cStr() + "\n\n";
}

Task<void> sendEvents(Env& env, Readings& readings, Exchange& exchange, EventsAsked asked) {
  auto begun = exchange.begin(headOf(true));
  co_await begun;
  capnp::MallocMessageBuilder message;
  auto topics = message.initRoot<capnp::AnyPointer>().initAs<capnp::List<capnp::Text>>(
      static_cast<unsigned>(asked.topics.size()));
  for (unsigned i = 0; i < topics.size(); ++i) topics.set(i, asked.topics[i].c_str());
  auto sink = kj::heap<EventSender>(kj::addRef(exchange), asked.afterSequence);
  auto sending = readings.events(asked.sinceNs, topics.asReader(), kj::mv(sink));
  auto living = showLife(env, exchange).promise();
  co_await sending.exclusiveJoin(kj::mv(living));
}

Task<void> sendLogs(Env& env, Readings& readings, Exchange& exchange, std::string id,
                    LogsAsked asked) {
  capnp::MallocMessageBuilder message;
  auto options = message.initRoot<schema::LogOptions>();
  options.setFollow(asked.follow);
  options.setTail(asked.tail);
  options.setSinceNs(asked.sinceNs);
  auto sink = kj::heap<LogSender>(kj::addRef(exchange), asked.asEvents);
  auto sending = readings.logs(id.c_str(), options.asReader(), kj::mv(sink));
  auto waiting = showPatience(env, exchange, asked.asEvents).promise();
  co_await sending.exclusiveJoin(kj::mv(waiting));
  if (exchange.isAnswered()) {
    exchange.finish();
  } else {
    exchange.answer(headOf(asked.asEvents));
  }
}

}  // namespace orch::api::http
