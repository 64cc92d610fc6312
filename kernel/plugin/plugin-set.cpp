#include "kernel/plugin/plugin-set.h"

#include <kj/debug.h>

#include <algorithm>

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
         a.deadlineMs == b.deadlineMs && a.restart == b.restart && sameValue(a.config, b.config);
}

// On its way to a state that lasts.
bool isStarting(const PluginRunner& runner) {
  auto state = runner.state();
  return state == PluginRunner::State::STARTING ||
         (state == PluginRunner::State::WAITING && runner.reason().empty());
}

}  // namespace

PluginSet::PluginSet(NodeParts parts, PluginPlaces places)
    : parts(parts),
      places(std::move(places)),
      criticalFailure(kj::newPromiseAndFulfiller<kj::String>()),
      running(*this) {}

PluginSet::~PluginSet() noexcept(false) {}

void PluginSet::start(const std::vector<config::PluginEntry>& entries) {
  for (auto& entry : entries) add(entry);
}

void PluginSet::add(const config::PluginEntry& entry) {
  auto runner = std::make_unique<PluginRunner>(parts, places, *this, entry,
                                               log::levelNamed(parts.node.logLevel));
  auto& added = *runner;
  plugins[entry.id] = std::move(runner);
  running.add(added.run());
}

Task<void> PluginSet::stop() {
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

Task<ReloadResult> PluginSet::reload(const std::vector<config::PluginEntry>& entries) {
  ReloadResult result;
  std::vector<std::string> gone;
  for (auto& [id, runner] : plugins) {
    bool kept =
        std::any_of(entries.begin(), entries.end(), [&id = id](auto& e) { return e.id == id; });
    if (!kept) gone.push_back(id);
  }
  for (auto& id : gone) {
    co_await find(id)->stop();
    plugins.erase(id);
    result.applied.push_back(id + " stopped");
  }
  for (auto& entry : entries) {
    auto* known = find(entry.id);
    if (known == nullptr) {
      add(entry);
      result.applied.push_back(entry.id + " added");
      continue;
    }
    auto state = known->state();
    bool failed = state == PluginRunner::State::FAILED;
    if (sameEntry(known->entry(), entry) && !failed) continue;
    if (!failed && state != PluginRunner::State::WAITING && !known->isolated()) {
      result.needRestart.push_back(entry.id);
      continue;
    }
    co_await known->stop();
    plugins.erase(entry.id);
    add(entry);
    result.applied.push_back(entry.id + " restarted");
  }
  co_return kj::mv(result);
}

kj::Promise<kj::String> PluginSet::onCriticalFailure() { return kj::mv(criticalFailure.promise); }

kj::Promise<void> PluginSet::onSettled() {
  auto pair = kj::newPromiseAndFulfiller<void>();
  settledWaiters.push_back(kj::mv(pair.fulfiller));
  stateChanged("");
  return kj::mv(pair.promise);
}

void PluginSet::filesChanged() {
  auto waiting = std::move(fileWaiters);
  fileWaiters.clear();
  for (auto& waiter : waiting) waiter->fulfill();
}

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
    if (isStarting(*runner)) return false;
    found = found || runner->state() == PluginRunner::State::RUNNING;
  }
  return found;
}

kj::Promise<void> PluginSet::whenRunning(const std::string& requirement) {
  if (isRunning(requirement)) return kj::READY_NOW;
  auto pair = kj::newPromiseAndFulfiller<void>();
  waiters.push_back(Waiter{requirement, kj::mv(pair.fulfiller)});
  return kj::mv(pair.promise);
}

kj::Promise<void> PluginSet::whenFilesChange() {
  auto pair = kj::newPromiseAndFulfiller<void>();
  fileWaiters.push_back(kj::mv(pair.fulfiller));
  return kj::mv(pair.promise);
}

void PluginSet::stateChanged(const std::string& id) {
  auto* changed = find(id);
  if (changed != nullptr && changed->state() == PluginRunner::State::RUNNING)
    startOrder.push_back(id);
  for (size_t i = 0; i < waiters.size();) {
    if (isRunning(waiters[i].requirement)) {
      waiters[i].fulfiller->fulfill();
      waiters.erase(waiters.begin() + i);
    } else {
      ++i;
    }
  }
  if (changed != nullptr && changed->state() == PluginRunner::State::FAILED &&
      changed->entry().critical) {
    criticalFailure.fulfiller->fulfill(
        kj::str("plugin '", id.c_str(), "' has failed: ", changed->reason().c_str()));
  }
  bool starting = std::any_of(plugins.begin(), plugins.end(),
                              [](auto& entry) { return isStarting(*entry.second); });
  if (starting) return;
  for (auto& waiter : settledWaiters) waiter->fulfill();
  settledWaiters.clear();
}

void PluginSet::taskFailed(kj::Exception&& exception) {
  KJ_LOG(ERROR, "a plugin's supervision failed", exception);
}

}  // namespace orch::plugin
