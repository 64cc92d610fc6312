#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "filter.h"
#include "human.h"
#include "output.h"
#include "value.h"

namespace orch::cli {

namespace {

constexpr Option EVENTS_OPTIONS[] = {
    {"-f,--filter", "FILTER",
     "Show only what matches: topic=task.* (or a full name), subject=ID, source=PLUGIN", true},
    {"--since", "TIME", "From a time on: 10m, 2026-08-03T12:00:00Z, or seconds since 1970"},
    {"--until", "TIME", "Up to a time, then end"},
    {"--no-follow", nullptr, "End after what has happened until now"},
};

kj::String lineOf(schema::Event::Reader event) {
  kj::Vector<kj::String> attributes;
  for (auto pair : event.getAttributes()) {
    if (pair.getValue().size() > 0) attributes.add(kj::str(pair.getKey(), "=", pair.getValue()));
  }
  auto subject = event.getSubject().size() > 0 ? kj::str(" ", event.getSubject()) : kj::String();
  auto details =
      attributes.size() > 0 ? kj::str(" (", kj::strArray(attributes, ", "), ")") : kj::String();
  return kj::str(timestamp(event.getTimeNs()), " ", event.getTopic(), subject, details);
}

class EventPrinter final : public schema::EventSink::Server {
 public:
  EventPrinter(Output& out, const Filters& filters, int64_t untilNs)
      : out(out), filters(filters), untilNs(untilNs) {}

  kj::Promise<void> events(EventsContext context) override {
    auto params = context.getParams();
    if (params.getLagged() > 0) {
      out.error(kj::str("warning: ", params.getLagged(),
                        " events were dropped since this output was too slow"));
    }
    for (auto event : params.getEvents()) {
      if (event.getTimeNs() > untilNs) continue;
      bool shown = filters.allow("subject", [&](auto value) {
        return event.getSubject() == value;
      }) && filters.allow("source", [&](auto value) { return event.getSource() == value; });
      if (!shown) continue;
      if (!out.wroteJson(capnp::toDynamic(event), true)) out.line(lineOf(event));
    }
    out.flush();
    return kj::READY_NOW;
  }

 private:
  Output& out;
  const Filters& filters;
  int64_t untilNs;
};

Task<int> runEvents(Context& context) {
  Filters filters(context.args, {"topic", "subject", "source"});
  int64_t now = context.env.nowNs();
  bool follow = !context.args.on("--no-follow");
  int64_t until = INT64_MAX;
  if (context.args.given("--until")) {
    until = parseMomentNs("--until", context.args.text("--until"), now);
    follow &= until > now;
  }
  // 0 leaves out what the log holds; 1 asks for all of it.
  int64_t since = follow ? 0 : 1;
  if (context.args.given("--since")) {
    since = kj::max(parseMomentNs("--since", context.args.text("--since"), now), int64_t(1));
  }
  auto kernel = co_await context.connection.kernel();
  auto request = kernel.eventsRequest();
  request.setSinceNs(since);
  request.setFollow(follow);
  auto topics = filters.values("topic");
  auto list = request.initTopics(kj::max(static_cast<unsigned>(topics.size()), 1u));
  list.set(0, "*");
  for (size_t i = 0; i < topics.size(); ++i) list.set(static_cast<unsigned>(i), topics[i]);
  request.setSink(kj::heap<EventPrinter>(context.out, filters, until));
  kj::Promise<void> done = request.send().ignoreResult();
  if (follow && until != INT64_MAX) {
    auto rest = (until - now) * kj::NANOSECONDS;
    done = done.exclusiveJoin(context.env.timer().afterDelay(rest));
  }
  co_await done;
  co_return 0;
}

}  // namespace

const Command EVENTS = {"events", "",
                        "Show what happens on the node, and with --since what has happened",
                        EVENTS_OPTIONS, runEvents};

}  // namespace orch::cli
