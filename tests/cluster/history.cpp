#include "history.h"

#include <algorithm>
#include <functional>

namespace orch::testing {

namespace {

using Print = History::Print;

Print printOfLine(const std::string& line) { return std::hash<std::string>()(line); }

std::string number(uint64_t value) { return " " + std::to_string(value); }

// `replicas`: of a replicated one.
Print printOfService(const std::string& id, const std::string& name, const std::string& image,
                     uint64_t replicas, schema::UpdateStatus::State update) {
  return printOfLine("service " + id + " " + name + " " + image + number(replicas) +
                     number(static_cast<uint64_t>(update)));
}

Print printOfTask(const std::string& id, const std::string& service, const std::string& node,
                  uint64_t specVersion, schema::TaskState desired, schema::TaskState state) {
  return printOfLine("task " + id + " of " + service + " on " + node + number(specVersion) +
                     number(static_cast<uint64_t>(desired)) + number(static_cast<uint64_t>(state)));
}

Print lineOf(const std::string& id, const Book::Service& service) {
  bool replicated = !service.global && !service.job;
  return printOfService(id, service.name, service.image, replicated ? service.replicas : 0,
                        service.update);
}

Print lineOf(const std::string& id, const Book::Task& task) {
  return printOfTask(id, task.service, task.node, task.specVersion, task.desired, task.state);
}

}  // namespace

void History::wrote(kj::ArrayPtr<const MemoryStore::Written> batch, const Book& book) {
  auto next = prints.back();
  for (auto& entry : batch) {
    std::string id = entry.key.cStr();
    if (entry.kind == "request" && entry.value != nullptr) requests[id] = revision() + 1;
    auto change = [&](Part part, Print& all, Print now) {
      auto& line = lines[{part, id}];
      all ^= line ^ now;
      line = now;
    };
    if (entry.kind == "service") {
      auto found = book.services.find(id);
      bool there = found != book.services.end();
      change(Part::SERVICES, next.first, there ? lineOf(id, found->second) : 0);
    } else if (entry.kind == "task" || entry.kind == "task-status") {
      auto& task = book.tasks.at(id);
      change(Part::TASKS, next.second, task.there ? lineOf(id, task) : 0);
    }
  }
  prints.push_back(next);
}

uint64_t History::doneAt(const std::string& requestId) const {
  auto found = requests.find(requestId);
  return found == requests.end() ? 0 : found->second;
}

void History::seen(uint64_t revision, int64_t nowNs) {
  if (revision > known.back().second) known.emplace_back(nowNs, revision);
}

uint64_t History::knownAt(int64_t ns) const {
  auto later = std::upper_bound(known.begin(), known.end(), std::pair(ns, UINT64_MAX));
  return later == known.begin() ? 0 : (later - 1)->second;
}

Print History::printOf(capnp::List<schema::ServiceRow>::Reader services) {
  Print all = 0;
  for (auto row : services) {
    bool replicated = row.getMode() == "replicated";
    all ^= printOfService(row.getId().cStr(), row.getName().cStr(), row.getImage().cStr(),
                          replicated ? row.getDesired() : 0, row.getUpdateState());
  }
  return all;
}

Print History::printOf(capnp::List<schema::Task>::Reader tasks) {
  Print all = 0;
  for (auto task : tasks) {
    all ^= printOfTask(task.getMeta().getId().cStr(), task.getServiceId().cStr(),
                       task.getNodeId().cStr(), task.getSpecVersion(), task.getDesired(),
                       task.getStatus().getState());
  }
  return all;
}

uint64_t History::find(Part part, Print print, uint64_t since) const {
  for (auto revision = std::max<uint64_t>(since, 1); revision < prints.size(); ++revision) {
    auto& [services, tasks] = prints[revision];
    if (print == (part == Part::SERVICES ? services : tasks)) return revision;
  }
  return 0;
}

}  // namespace orch::testing
