#include "registrar.h"

#include <algorithm>
#include <utility>

#include "orch/attempt.h"

namespace orch::integration::registrator {

namespace {
// An agent of consul is asked so much at once. More would only queue there.
constexpr unsigned ASKED_AT_ONCE = 8;
constexpr kj::Duration FIRST_RETRY = 500 * kj::MILLISECONDS;
constexpr kj::Duration LAST_RETRY = 5 * kj::SECONDS;
}  // namespace

Registrar::Registrar(Env& env, Log& log, Catalog& catalog, uint64_t resyncMs, bool cleanup)
    : env(env),
      log(log),
      catalog(catalog),
      resyncMs(resyncMs),
      cleanup(cleanup),
      asking(ASKED_AT_ONCE) {}

kj::Promise<void> Registrar::become(std::vector<ServiceEntry> entries) {
  std::map<std::string, ServiceEntry> next;
  for (auto& entry : entries) next.emplace(catalog.placeOf(entry), std::move(entry));
  if (version > 0 && next == wanted) return kj::READY_NOW;
  std::erase_if(records, [&](auto& pair) {
    auto before = wanted.find(pair.first);
    auto after = next.find(pair.first);
    return before == wanted.end() || after == next.end() || before->second != after->second;
  });
  wanted = std::move(next);
  ++version;
  if (version == 1) {
    keeping = keep().promise().eagerlyEvaluate([this](kj::Exception&& e) {
      log.error("registrator.stopped", {{"reason", plainText(e)}});
    });
  }
  if (wake.get() != nullptr) wake->fulfill();
  if (deaf) return kj::READY_NOW;
  auto pair = kj::newPromiseAndFulfiller<void>();
  waiters.push_back(Waiter{version, kj::mv(pair.fulfiller)});
  return kj::mv(pair.promise);
}

void Registrar::answer(uint64_t tried) {
  done = tried;
  std::erase_if(waiters, [&](Waiter& waiter) {
    if (waiter.version > tried) return false;
    waiter.fulfiller->fulfill();
    return true;
  });
}

Task<void> Registrar::keep() {
  auto pause = FIRST_RETRY;
  auto resyncAt = env.timer().now();
  auto renewAt = resyncAt;
  for (;;) {
    auto now = env.timer().now();
    if (resyncMs > 0 && now >= resyncAt) {
      unknown = true;
      resyncAt = now + resyncMs * kj::MILLISECONDS;
    }
    auto tried = version;
    bool renews = catalog.renewMs() > 0 && now >= renewAt;
    if (renews) renewAt = now + catalog.renewMs() * kj::MILLISECONDS;
    cleared = false;
    auto outcome = co_await attempt(pass(renews));
    deaf = !cleared;
    if (!outcome.ok()) {
      failed(outcome.message());
      answer(deaf ? version : tried);  // given up for now
      auto rest = env.timer().afterDelay(pause);
      if (!deaf) rest = rest.exclusiveJoin(woken());
      pause = kj::min(pause * 2, LAST_RETRY);
      if (version == done) co_await rest;
      continue;
    }
    pause = FIRST_RETRY;
    failed("");
    answer(tried);
    if (version != done) continue;
    auto more = woken();
    if (resyncMs > 0) more = more.exclusiveJoin(env.timer().atTime(resyncAt));
    if (catalog.renewMs() > 0) more = more.exclusiveJoin(env.timer().atTime(renewAt));
    co_await more;
  }
}

kj::Promise<void> Registrar::woken() {
  auto pair = kj::newPromiseAndFulfiller<void>();
  wake = kj::mv(pair.fulfiller);
  return kj::mv(pair.promise);
}

void Registrar::failed(kj::StringPtr reason) {
  if (reason.size() > 0) unknown = true;
  if (reason == trouble) return;
  if (reason.size() > 0) {
    log.warn("registrator.out-of-reach, trying again",
             {{"catalog", catalog.name()}, {"reason", reason}});
  } else {
    log.info("the catalog answers again", {{"catalog", catalog.name()}});
  }
  trouble = kj::str(reason);
}

Task<void> Registrar::look() {
  auto found = co_await catalog.list();
  if (!cleanup) {
    std::erase_if(found, [&](auto& pair) {
      return own.count(pair.first) == 0 && wanted.count(pair.first) == 0;
    });
  }
  there = std::move(found);
  records.clear();
  refused.clear();
  unknown = false;
}

bool Registrar::isThere(const std::string& place, const ServiceEntry& entry) {
  auto known = there.find(place);
  if (known == there.end()) return false;
  auto record = records.find(place);
  if (record == records.end()) record = records.emplace(place, catalog.recordOf(entry)).first;
  return known->second == record->second;
}

// What has to go goes first: somebody may wait for that.
Task<void> Registrar::pass(bool renews) {
  if (unknown) co_await look();
  std::vector<std::string> gone;
  for (auto& entry : there) {
    if (wanted.count(entry.first) == 0) gone.push_back(entry.first);
  }
  std::vector<ServiceEntry> missing;
  for (auto& [place, entry] : wanted) {
    if (!isThere(place, entry) && refused.count(place) == 0) missing.push_back(entry);
  }
  std::erase_if(refused, [&](auto& pair) { return wanted.count(pair.first) == 0; });
  kj::Vector<kj::Promise<void>> removing;
  for (auto& place : gone) removing.add(removeOne(place));
  auto removed = kj::joinPromises(removing.releaseAsArray());
  co_await removed;
  cleared = true;
  kj::Vector<kj::Promise<void>> putting;
  for (auto& entry : missing) putting.add(putOne(std::move(entry)));
  auto put = kj::joinPromises(putting.releaseAsArray());
  co_await put;
  noteRefusals();
  if (renews) co_await renewAll();
}

Task<void> Registrar::removeOne(std::string place) {
  auto turn = co_await asking.enter();
  co_await catalog.remove(place);
  there.erase(place);
  own.erase(place);
}

Task<void> Registrar::putOne(ServiceEntry entry) {
  auto turn = co_await asking.enter();
  auto place = catalog.placeOf(entry);
  auto record = catalog.recordOf(entry);
  auto why = co_await catalog.put(std::move(entry));
  if (why.empty()) {
    there[place] = record;
    own.insert(place);
  } else {
    refused[place] = why;
  }
}

Task<void> Registrar::renewAll() {
  std::vector<std::string> places;
  for (auto& entry : there) places.push_back(entry.first);
  co_await catalog.renew(std::move(places));
}

// Each once, for as long as it is refused for that.
void Registrar::noteRefusals() {
  for (auto& [place, why] : refused) {
    auto before = logged.find(place);
    if (before != logged.end() && before->second == why) continue;
    log.warn("registrator.refused", {{"service", place.c_str()}, {"reason", why.c_str()}});
  }
  logged = refused;
}

}  // namespace orch::integration::registrator
