#include "orch/conformance/discovery-conformance.h"

#include <kj/debug.h>

#include <algorithm>

#include "orch/attempt.h"

namespace orch::conformance {

namespace {

using Addresses = std::vector<std::string>;
using Kind = kj::Exception::Type;

class SeenSink final : public schema::DiscoverySink::Server {
 public:
  explicit SeenSink(SeenByWatch& seen) : seen(seen) {}
  ~SeenSink() noexcept(false) { seen.ended = true; }

  kj::Promise<void> entries(EntriesContext context) override {
    Addresses list;
    for (auto entry : context.getParams().getEntries()) list.push_back(entry.getAddress().cStr());
    seen.lists.push_back(kj::mv(list));
    return returned();
  }
  kj::Promise<void> failed(FailedContext context) override {
    seen.failures.emplace_back(context.getParams().getReason().cStr());
    return returned();
  }

 private:
  kj::Promise<void> returned() {
    KJ_IF_MAYBE (gate, seen.held) return gate->addBranch();
    return kj::READY_NOW;
  }
  SeenByWatch& seen;
};

// A watch that ends with this object.
class Watching final {
 public:
  explicit Watching(DiscoverySubject& subject) : subject(subject), running(start()) {}
  ~Watching() noexcept(false) {
    unwinding.catchExceptionsIfUnwinding([this] {
      seen.held = nullptr;
      running = nullptr;
      subject.until("the sink of a watch that has ended is let go of",
                    [this] { return seen.ended; });
    });
  }

  SeenByWatch seen;
  bool sees(const Addresses& all) const { return !seen.lists.empty() && seen.lists.back() == all; }
  void until(kj::StringPtr what, const Addresses& all) {
    subject.until(what, [&] { return sees(all); });
  }
  void untilFailure(kj::StringPtr what, size_t count = 1) {
    subject.until(what, [&] { return seen.failures.size() >= count; });
  }

 private:
  kj::Promise<void> start() {
    auto request = subject.backend().watchRequest();
    request.setSink(keepSeen(seen));
    return request.send().ignoreResult().eagerlyEvaluate([this](kj::Exception&& error) {
      seen.failures.emplace_back(error.getDescription().cStr());
    });
  }
  DiscoverySubject& subject;
  kj::Promise<void> running;
  kj::UnwindDetector unwinding;
};

kj::Exception failureOf(kj::Promise<void> promise, kj::WaitScope& waitScope, const char* what) {
  KJ_IF_MAYBE (error, kj::runCatchingExceptions([&] { promise.wait(waitScope); })) {
    return kj::mv(*error);
  }
  KJ_FAIL_REQUIRE("was not refused", what);
}

capnp::Request<schema::Discovery::RegisterParams, schema::Discovery::RegisterResults> registration(
    DiscoverySubject& subject, kj::StringPtr address, uint64_t ttlMs) {
  auto request = subject.backend().registerRequest();
  request.setTtlMs(ttlMs);
  auto entry = request.initEntry();
  entry.setAddress(address);
  entry.setRole(schema::DiscoveryEntry::Role::MANAGER);
  return request;
}

Addresses with(Addresses all, const std::string& one) {
  all.push_back(one);
  std::sort(all.begin(), all.end());
  return all;
}

// ---- all --------------------------------------------------------------------------------------

void everythingFirst(DiscoverySubject& subject) {
  Watching watching(subject);
  subject.until("the first answer", [&] { return !watching.seen.lists.empty(); });
  KJ_REQUIRE(watching.seen.lists[0] == subject.present(), "the first list is not what is there");
  KJ_REQUIRE(watching.seen.failures.empty(), watching.seen.failures[0]);
}

void severalWatches(DiscoverySubject& subject) {
  auto first = kj::heap<Watching>(subject);
  Watching second(subject);
  second.until("the second watch's list", subject.present());
  first->until("the first watch's list", subject.present());
  first = nullptr;
  Watching third(subject);
  third.until("a later watch's list", subject.present());
  KJ_REQUIRE(second.seen.lists.size() == 1, "told twice though nothing changed");
  KJ_REQUIRE(second.seen.failures.empty(), "one watch's end was another's failure");
}

void cancelledWatch(DiscoverySubject& subject) {
  SeenByWatch seen;
  {
    auto request = subject.backend().watchRequest();
    request.setSink(keepSeen(seen));
    auto running = request.send().ignoreResult().eagerlyEvaluate(nullptr);
    subject.until("the first answer", [&] { return !seen.lists.empty(); });
  }
  subject.until("the sink's end", [&] { return seen.ended; });
}

void readOnlySaysSo(DiscoverySubject& subject) {
  if (subject.writable()) return;
  auto& waitScope = subject.waitScope();
  auto put = failureOf(registration(subject, "10.9.9.9:1", 60'000).send().ignoreResult(), waitScope,
                       "register");
  KJ_REQUIRE(put.getType() == Kind::UNIMPLEMENTED, put);
  KJ_REQUIRE(plainText(put).size() > 20, "a text that users can read", put);
  auto request = subject.backend().unregisterRequest();
  request.setAddress("10.9.9.9:1");
  auto taken = failureOf(request.send().ignoreResult(), waitScope, "unregister");
  KJ_REQUIRE(taken.getType() == Kind::UNIMPLEMENTED, taken);
  Watching watching(subject);
  watching.until("what is there, as before", subject.present());
}

// ---- backends that can be written --------------------------------------------------------------

void registers(DiscoverySubject& subject) {
  if (!subject.writable()) return;
  Watching watching(subject);
  watching.until("the first list", subject.present());
  auto more = with(subject.present(), "10.9.9.9:1");
  registration(subject, "10.9.9.9:1", 60'000).send().wait(subject.waitScope());
  watching.until("the new entry", more);
  registration(subject, "10.9.9.9:1", 60'000).send().wait(subject.waitScope());
  auto request = subject.backend().unregisterRequest();
  request.setAddress("10.9.9.9:1");
  request.send().wait(subject.waitScope());
  watching.until("the entry's end", subject.present());
  KJ_REQUIRE(watching.seen.lists.size() == 3, "a renewal is no change");
  auto again = subject.backend().unregisterRequest();
  again.setAddress("10.9.9.9:1");
  again.send().wait(subject.waitScope());
}

void refusesWrongEntries(DiscoverySubject& subject) {
  if (!subject.writable()) return;
  auto& waitScope = subject.waitScope();
  for (auto address : {"", "10.9.9.9", "10.9.9.9:0", "10.9.9.9:99999", "a b:1", "[::g]:1", "a:1\n",
                       "HOST:1", "10.0.0.[1:2]:1"}) {
    auto error =
        failureOf(registration(subject, address, 60'000).send().ignoreResult(), waitScope, address);
    KJ_REQUIRE(error.getType() == Kind::FAILED, address, error);
  }
  for (uint64_t ttlMs : {uint64_t(0), uint64_t(999), uint64_t(25) * 3'600'000, UINT64_MAX}) {
    failureOf(registration(subject, "10.9.9.9:1", ttlMs).send().ignoreResult(), waitScope, "a TTL");
  }
  Watching watching(subject);
  watching.until("what is there, as before", subject.present());
}

// ---- backends in which something changes -------------------------------------------------------

void tellsTheWholeList(DiscoverySubject& subject) {
  if (!subject.changes()) return;
  Watching watching(subject);
  watching.until("the first list", subject.present());
  auto more = with(subject.present(), "10.9.9.9:1");
  subject.put(more);
  watching.until("one more", more);
  subject.put({"10.9.9.9:1"});
  watching.until("only one left", {"10.9.9.9:1"});
  subject.put(subject.present());
  watching.until("all others", subject.present());
  KJ_REQUIRE(watching.seen.failures.empty(), watching.seen.failures[0]);
}

void failureIsNoList(DiscoverySubject& subject) {
  if (!subject.changes()) return;
  Watching watching(subject);
  watching.until("the first list", subject.present());
  subject.damage();
  watching.untilFailure("the failure");
  KJ_REQUIRE(watching.seen.lists.size() == 1, "a failure was told as a list");
  KJ_REQUIRE(watching.seen.failures[0].size() > 10, "a text that users can read");
  Watching late(subject);
  late.until("the list for one who comes later", subject.present());
  late.untilFailure("the failure for one who comes later");
  subject.put(subject.present());
  subject.until("that it works again", [&] { return watching.seen.lists.size() == 2; });
  KJ_REQUIRE(watching.sees(subject.present()));
}

void nobodyIsNoList(DiscoverySubject& subject) {
  if (!subject.changes()) return;
  Watching watching(subject);
  watching.until("the first list", subject.present());
  subject.leaveNobody();
  watching.untilFailure("that nobody is left");
  KJ_REQUIRE(watching.seen.lists.size() == 1, "an empty answer was told as a list");
  subject.put({"10.9.9.9:1"});
  watching.until("a new one", {"10.9.9.9:1"});
}

// What classic Swarm lost between its list and its watch.
void slowSinkMissesNoState(DiscoverySubject& subject) {
  if (!subject.changes()) return;
  auto gate = kj::newPromiseAndFulfiller<void>();
  Watching slow(subject);
  Watching other(subject);
  slow.seen.held = gate.promise.fork();
  slow.until("the first list", subject.present());
  auto all = subject.present();
  for (auto one : {"10.9.9.7:1", "10.9.9.8:1", "10.9.9.9:1"}) {
    all = with(all, one);
    subject.put(all);
    other.until("one more", all);
  }
  KJ_REQUIRE(slow.seen.lists.size() == 1, "told again before the call before had returned");
  slow.seen.held = nullptr;
  gate.fulfiller->fulfill();
  slow.until("the state, by one who was slow", all);
}

const DiscoveryCheck DISCOVERY_CHECKS[] = {
    {"the first that is told is all that is there, sorted, each once", everythingFirst},
    {"several watches are each told all, and nothing twice", severalWatches},
    {"a watch that is cancelled lets go of its sink", cancelledWatch},
    {"a backend that is read only says so, with a text", readOnlySaysSo},
    {"an entry is there when it was registered, once, until it is taken away", registers},
    {"what is no address, or no time to live, is refused", refusesWrongEntries},
    {"every change is told as the whole list", tellsTheWholeList},
    {"a failure is told as a text, and the list stands", failureIsNoList},
    {"an answer without anybody is a failure", nobodyIsNoList},
    {"a slow sink misses steps and never the state", slowSinkMissesNoState},
};

}  // namespace

schema::DiscoverySink::Client keepSeen(SeenByWatch& seen) { return kj::heap<SeenSink>(seen); }

kj::ArrayPtr<const DiscoveryCheck> discoveryChecks() { return DISCOVERY_CHECKS; }

}  // namespace orch::conformance
