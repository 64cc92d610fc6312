#include "registration.h"

#include "lib/node-address.h"
#include "orch/attempt.h"

namespace orch::integration::registrator {

namespace {
constexpr kj::Duration FIRST_IMAGES_PAUSE = 1 * kj::SECONDS;
constexpr kj::Duration LAST_IMAGES_PAUSE = 60 * kj::SECONDS;
}  // namespace

Registration::Registration(Env& env, Host& host, Catalog& catalog, RegistrationSettings settings)
    : env(env),
      host(host),
      noticeMs(settings.noticeMs),
      rules(std::move(settings.rules)),
      images(env, host, std::move(settings.image)),
      registrar(env, host.log(), catalog, settings.resyncMs, settings.cleanup) {}

kj::Promise<void> Registration::tasksChanged(const TaskView& tasks) {
  return changes.wrap(change(tasks).promise());
}

Task<void> Registration::change(const TaskView& tasks) {
  if (rules.address.empty()) {
    auto found = co_await nodeAddress(host);
    rules.address = found;
  }
  std::set<std::string> present;
  std::vector<std::string> serving;
  tasks.visit([&](const std::string& id, uint64_t, schema::TaskEntry::Reader entry) {
    if (entry.getServing()) serving.push_back(id);
    present.insert(id);
  });
  images.keep(present);
  std::erase_if(derived, [&](auto& pair) { return present.count(pair.first) == 0; });
  bool all = co_await images.learn(std::move(serving));
  learned = all;
  if (!learned && !looking) {
    looking = true;
    later = lookAgain(tasks).promise().eagerlyEvaluate(nullptr);
  }
  std::vector<ServiceEntry> entries;
  tasks.visit([&](const std::string& id, uint64_t number, schema::TaskEntry::Reader entry) {
    auto& of = derived[id];
    bool same = of.number == number && of.image == images.isKnown(id);
    if (!same) of = Derived{number, images.isKnown(id), entriesOf(entry, images.of(id), rules)};
    entries.insert(entries.end(), of.entries.begin(), of.entries.end());
  });
  co_await registrar.become(std::move(entries));
}

// The image plugin is between two lives, or not there yet.
Task<void> Registration::lookAgain(const TaskView& tasks) {
  for (auto pause = FIRST_IMAGES_PAUSE; !learned; pause = kj::min(pause * 2, LAST_IMAGES_PAUSE)) {
    co_await env.timer().afterDelay(pause);
    co_await attempt(tasksChanged(tasks));
  }
  looking = false;
}

}  // namespace orch::integration::registrator
