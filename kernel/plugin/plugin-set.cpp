#include "kernel/plugin/plugin-set.h"

#include <kj/debug.h>

#include <algorithm>

#include "kernel/plugin/settings-check.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::plugin {

namespace {

bool sameValue(const config::Value& a, const config::Value& b) {
  if (a.data.index() != b.data.index()) return false;
  if (auto* table = std::get_if<config::Table>(&a.data)) {
    auto& other = std::get<config::Table>(b.data);
    return table->entries.size() == other.entries.size() &&
           std::equal(
               table->entries.begin(), table->entries.end(), other.entries.begin(),
               [](auto& x, auto& y) { return x.key == y.key && sameValue(x.value, y.value); });
  }
  if (auto* list = std::get_if<config::Array>(&a.data)) {
    auto& other = std::get<config::Array>(b.data);
    return list->size() == other.size() &&
           std::equal(list->begin(), list->end(), other.begin(), sameValue);
  }
  if (auto* text = std::get_if<std::string>(&a.data)) return *text == std::get<std::string>(b.data);
  if (auto* number = std::get_if<int64_t>(&a.data)) return *number == std::get<int64_t>(b.data);
  if (auto* real = std::get_if<double>(&a.data)) return *real == std::get<double>(b.data);
  return std::get<bool>(a.data) == std::get<bool>(b.data);
}

bool sameEntry(const config::PluginEntry& a, const config::PluginEntry& b) {
  return a.file == b.file && a.isolation == b.isolation && a.critical == b.critical &&
         a.deadlineMs == b.deadlineMs && a.startDeadlineMs == b.startDeadlineMs &&
         a.restart == b.restart && a.services == b.services && a.env == b.env &&
         a.capabilities == b.capabilities && sameValue(a.config, b.config);
}

// How long a reload waits for what it has started.
constexpr uint64_t REPORT_MS = 10'000;

bool hasId(const std::vector<config::PluginEntry>& entries, const std::string& id) {
  return std::any_of(entries.begin(), entries.end(), [&](auto& entry) { return entry.id == id; });
}

bool provides(const PluginRunner& runner, const std::string& requirement) {
  auto& entry = runner.entry();
  return entry.id == requirement || entry.kind == requirement ||
         entry.kind + "." + entry.name == requirement;
}

using Fulfillers = std::vector<kj::Own<kj::PromiseFulfiller<void>>>;

kj::Promise<void> waitIn(Fulfillers& fulfillers) {
  auto pair = kj::newPromiseAndFulfiller<void>();
  fulfillers.push_back(kj::mv(pair.fulfiller));
  return kj::mv(pair.promise);
}

void fulfillAll(Fulfillers& fulfillers) {
  auto waiting = std::move(fulfillers);
  fulfillers.clear();
  for (auto& waiter : waiting) waiter->fulfill();
}

}  // namespace

PluginSet::PluginSet(NodeParts parts, PluginPlaces places)
    : parts(parts),
      places(std::move(places)),
      level(log::levelNamed(parts.node.logLevel)),
      criticalFailure(kj::newPromiseAndFulfiller<kj::String>()),
      running(*this) {}

PluginSet::~PluginSet() noexcept(false) {}

void PluginSet::start(const std::vector<config::PluginEntry>& entries) {
  for (auto& entry : entries) {
    parts.registry.expect(entry.id);
    add(entry, StartedBy::ORCHD);
  }
}

void PluginSet::add(const config::PluginEntry& entry, StartedBy startedBy) {
  NodeParts own{parts.env.withOwnWorkers(), parts.node, parts.identity, parts.bus, parts.registry};
  auto runner = std::make_unique<PluginRunner>(own, places, *this, entry, level, startedBy);
  auto& added = *runner;
  plugins[entry.id] = std::move(runner);
  running.add(added.run());
}

void PluginSet::retire(const std::string& id) {
  auto found = plugins.find(id);
  if (found == plugins.end()) return;
  retired.push_back(std::move(found->second));
  plugins.erase(found);
  std::erase(startOrder, id);
}

Task<void> PluginSet::stop() {
  stopping = true;
  std::vector<std::string> order(startOrder.rbegin(), startOrder.rend());
  for (auto& entry : plugins) {
    if (std::find(order.begin(), order.end(), entry.first) == order.end())
      order.push_back(entry.first);
  }
  for (auto& id : order) {
    auto* runner = find(id);
    if (runner != nullptr) co_await runner->stop();
  }
}

// What runs as it is written stays: its settings have been taken.
Task<PluginSet::Found> PluginSet::check(const std::vector<config::PluginEntry>& entries) {
  auto look = [entries, places = places]() { return checkEntries(entries, places); };
  auto found = co_await parts.env.workers().run(kj::mv(look));
  Found files;
  for (size_t i = 0; i < entries.size(); ++i) {
    auto& entry = entries[i];
    if (found[i]) files[entry.id] = found[i]->file.identity;
    auto* known = find(entry.id);
    if (known == nullptr || known->state() != PluginRunner::State::RUNNING) continue;
    if (sameEntry(known->entry(), entry)) {
      if (!found[i] || found[i]->file.identity == known->fileIdentity()) found[i].reset();
    } else if (!found[i]) {
      auto path = candidatesOf(entry, places).front();
      fail(
          kj::str(located(entry, "plugin '" + entry.id + "' runs, and its new entry has no file '" +
                                     path + "'; put it there first")
                      .c_str()));
    }
  }
  co_await checkSettings(parts.env, entries, found, places, parts.node);
  co_return kj::mv(files);
}

Task<ReloadResult> PluginSet::reload(const std::vector<config::PluginEntry>& entries) {
  auto files = co_await check(entries);
  std::vector<config::PluginEntry> before;
  for (auto& [id, runner] : plugins) before.push_back(runner->entry());
  ReloadResult result;
  std::vector<Started> started;
  co_await apply(entries, files, result, started);
  fulfillAll(folderWaiters);
  co_await report(started, result);
  co_await takeBack(started, before);
  co_return kj::mv(result);
}

Task<void> PluginSet::takeBack(const std::vector<Started>& started,
                               const std::vector<config::PluginEntry>& before) {
  auto failed = std::find_if(started.begin(), started.end(), [this](auto& one) {
    auto* runner = find(one.id);
    return one.ranBefore && runner != nullptr && runner->failsToStart();
  });
  if (failed == started.end()) co_return;
  auto* runner = find(failed->id);
  auto text = "plugin '" + failed->id + "' does not start as it stands here: " + runner->reason() +
              ". All runs on as before";
  auto reason = kj::str(located(runner->entry(), text).c_str());
  ReloadResult undone;
  std::vector<Started> again;
  Found none;
  co_await apply(before, none, undone, again);
  fulfillAll(folderWaiters);
  co_await report(again, undone);
  fail(kj::mv(reason));
}

// What is there is looked up again after each wait: orchd may have begun to stop.
Task<void> PluginSet::apply(const std::vector<config::PluginEntry>& entries, const Found& files,
                            ReloadResult& result, std::vector<Started>& started) {
  for (auto& entry : entries) parts.registry.expect(entry.id);
  std::vector<std::string> gone;
  for (auto& [id, runner] : plugins) {
    if (!hasId(entries, id)) gone.push_back(id);
  }
  for (auto& id : gone) {
    if (stopping) co_return;
    parts.registry.expectNoMore(id);
    co_await find(id)->stop();
    retire(id);
    result.applied.push_back(id + " stopped");
  }
  for (auto& entry : entries) {
    if (stopping) co_return;
    auto* known = find(entry.id);
    if (known == nullptr) {
      add(entry, StartedBy::RELOAD);
      started.push_back({entry.id, false});
      result.applied.push_back(entry.id + " added");
      continue;
    }
    auto state = known->state();
    bool failed = state == PluginRunner::State::FAILED;
    bool same = sameEntry(known->entry(), entry);
    auto file = files.find(entry.id);
    bool rebuilt = state == PluginRunner::State::RUNNING && file != files.end() &&
                   file->second != known->fileIdentity();
    if (same && !rebuilt && !failed) continue;
    if (!failed && state != PluginRunner::State::WAITING && !known->isolated()) {
      result.needRestart.push_back(entry.id + (same ? " (its file is another one)" : ""));
      continue;
    }
    co_await known->stop();
    if (stopping) co_return;
    retire(entry.id);
    add(entry, StartedBy::RELOAD);
    started.push_back({entry.id, !same && state == PluginRunner::State::RUNNING});
    result.applied.push_back(entry.id + " restarted");
  }
}

Task<void> PluginSet::report(const std::vector<Started>& started, ReloadResult& result) {
  if (started.empty()) co_return;
  auto enough = parts.env.timer().afterDelay(REPORT_MS * kj::MILLISECONDS);
  co_await onSettled().exclusiveJoin(kj::mv(enough));
  for (auto& [id, ranBefore] : started) {
    auto* runner = find(id);
    if (runner == nullptr || runner->state() == PluginRunner::State::RUNNING) continue;
    for (auto& text : result.applied) {
      if (text.compare(0, id.size() + 1, id + " ") != 0) continue;
      text += runner->reason().empty() ? ", is still starting"
                                       : ", but does not run: " + runner->reason();
    }
  }
}

void PluginSet::setLogLevel(schema::LogLevel wanted) {
  level = wanted;
  for (auto& entry : plugins) {
    running.add(attempt(entry.second->setLogLevel(wanted)).promise().ignoreResult());
  }
}

kj::Promise<kj::String> PluginSet::onCriticalFailure() { return kj::mv(criticalFailure.promise); }

kj::Promise<void> PluginSet::onSettled() {
  auto settled = waitIn(settledWaiters);
  stateChanged("");
  return settled;
}

void PluginSet::filesChanged() { fulfillAll(fileWaiters); }

std::vector<std::string> PluginSet::folders() const {
  auto all = places.folders;
  for (auto& [id, runner] : plugins) {
    auto& file = runner->entry().file;
    if (!file.empty()) all.push_back(file.substr(0, std::max<size_t>(1, file.rfind('/'))));
  }
  return all;
}

kj::Promise<void> PluginSet::whenFoldersChange() { return waitIn(folderWaiters); }

std::vector<const PluginRunner*> PluginSet::runners() const {
  std::vector<const PluginRunner*> all;
  for (auto& entry : plugins) all.push_back(entry.second.get());
  return all;
}

PluginRunner* PluginSet::find(const std::string& id) const {
  auto found = plugins.find(id);
  return found == plugins.end() ? nullptr : found->second.get();
}

// A kind is there when one of its plugins runs and none is still starting: whoever picks the best
// of a kind sees them all.
bool PluginSet::isRunning(const std::string& requirement) const {
  bool found = false;
  for (auto& [id, runner] : plugins) {
    auto& entry = runner->entry();
    bool exact = id == requirement || entry.kind + "." + entry.name == requirement;
    if (exact && runner->state() == PluginRunner::State::RUNNING) return true;
    if (entry.kind != requirement) continue;
    if (runner->starting()) return false;
    found = found || runner->state() == PluginRunner::State::RUNNING;
  }
  return found;
}

kj::Promise<void> PluginSet::whenRunning(const std::string& asking,
                                         const std::string& requirement) {
  if (isRunning(requirement)) return kj::READY_NOW;
  auto pair = kj::newPromiseAndFulfiller<void>();
  waiters.push_back(Waiter{asking, requirement, kj::mv(pair.fulfiller)});
  refuseCircles();
  return kj::mv(pair.promise);
}

std::vector<const PluginRunner*> PluginSet::providersOf(const std::string& requirement) const {
  std::vector<const PluginRunner*> found;
  for (auto& [id, runner] : plugins) {
    if (provides(*runner, requirement)) found.push_back(runner.get());
  }
  return found;
}

// Grows from those that need nothing: whoever is left needs somebody who needs him. One whose file
// has not been read yet needs nothing as far as is known, and neither does one whose provider may
// still be added to the manifest.
std::map<std::string, bool> PluginSet::whoCanStart() const {
  std::map<std::string, bool> can;
  for (bool grown = true; grown;) {
    grown = false;
    for (auto& [id, runner] : plugins) {
      if (can[id]) continue;
      auto& required = runner->requirements();
      bool free = std::all_of(required.begin(), required.end(), [&](auto& requirement) {
        auto providers = providersOf(requirement);
        return providers.empty() ||
               std::any_of(providers.begin(), providers.end(),
                           [&](auto* provider) { return can[provider->entry().id]; });
      });
      if (!free) continue;
      can[id] = true;
      grown = true;
    }
  }
  return can;
}

std::string PluginSet::circleOf(const std::string& id) const {
  auto can = whoCanStart();
  std::string path = id, at = id;
  // Each step leads to one who cannot start either; after as many as there are, a circle is closed.
  for (size_t step = 0; step < plugins.size(); ++step) {
    auto* runner = find(at);
    if (runner == nullptr) return "";
    std::string next;
    for (auto& requirement : runner->requirements()) {
      auto providers = providersOf(requirement);
      bool stuck = !providers.empty() && std::none_of(providers.begin(), providers.end(),
                                                      [&](auto* p) { return can[p->entry().id]; });
      if (!stuck) continue;
      next = providers.front()->entry().id;
      break;
    }
    if (next.empty()) return "";
    path += " → " + next;
    if (next == id) return path;
    at = next;
  }
  return "";
}

void PluginSet::refuseCircles() {
  for (size_t i = 0; i < waiters.size();) {
    if (!waiters[i].fulfiller->isWaiting()) {  // stopped meanwhile
      waiters.erase(waiters.begin() + i);
      continue;
    }
    auto circle = circleOf(waiters[i].asking);
    if (circle.empty()) {
      ++i;
      continue;
    }
    auto text = kj::str("it needs itself in a circle: ", circle.c_str(),
                        "; take one of them out of the manifest");
    waiters[i].fulfiller->reject(
        kj::Exception(kj::Exception::Type::FAILED, __FILE__, __LINE__, kj::mv(text)));
    waiters.erase(waiters.begin() + i);
  }
}

kj::Promise<void> PluginSet::whenFilesChange() { return waitIn(fileWaiters); }

void PluginSet::stateChanged(const std::string& id) {
  auto* changed = find(id);
  if (changed != nullptr && changed->state() == PluginRunner::State::RUNNING) {
    std::erase(startOrder, id);
    startOrder.push_back(id);
  }
  for (size_t i = 0; i < waiters.size();) {
    if (isRunning(waiters[i].requirement)) {
      auto* asking = find(waiters[i].asking);
      if (asking != nullptr && waiters[i].fulfiller->isWaiting()) asking->goOn();
      waiters[i].fulfiller->fulfill();
      waiters.erase(waiters.begin() + i);
    } else {
      ++i;
    }
  }
  if (changed != nullptr && changed->state() == PluginRunner::State::FAILED &&
      changed->endsOrchd()) {
    criticalFailure.fulfiller->fulfill(
        kj::str("plugin '", id.c_str(), "' has failed: ", changed->reason().c_str()));
  }
  bool starting = std::any_of(plugins.begin(), plugins.end(),
                              [](auto& entry) { return entry.second->starting(); });
  if (!starting) fulfillAll(settledWaiters);
}

void PluginSet::taskFailed(kj::Exception&& exception) {
  KJ_LOG(ERROR, "a plugin's supervision failed", exception);
}

}  // namespace orch::plugin
