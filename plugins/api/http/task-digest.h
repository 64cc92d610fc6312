// All tasks, as pages and scrapers want them: asked for once, however many want them, and only when
// something has changed.
#pragma once

#include <memory>
#include <string>

#include "orch/env.h"
#include "readings.h"

namespace orch::api::http {

struct TaskDigest {
  uint64_t epoch = 0;
  uint64_t revision = 0;  // 0: there is none, as on a worker
  int64_t asOfNs = 0;
  std::string rows;     // task-rows.h
  std::string allRows;  // with ended ones
  std::string metrics;
};

class TaskDigests final {
 public:
  // Shared by those who answer with it and, until the next one is there, by this.
  using Shared = std::shared_ptr<const TaskDigest>;

  // Both outlive it.
  TaskDigests(Env& env, Readings& readings) : env(env), readings(readings) {}
  // Of now, or of when somebody else has just asked.
  kj::Promise<Shared> get();

 private:
  Task<Shared> find();

  Env& env;
  Readings& readings;
  Shared last;
  bool asking = false;
  kj::Maybe<kj::ForkedPromise<Shared>> answer;
};

}  // namespace orch::api::http
