// From the tasks that a node tells of to what a catalog has.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "catalog.h"
#include "image-facts.h"
#include "lib/task-watch.h"
#include "registrar.h"

namespace orch::integration::registrator {

struct RegistrationSettings {
  EntryRules rules;
  std::string image;  // the service that knows images
  uint64_t resyncMs = 0;
  uint32_t noticeMs = 0;
  bool cleanup = true;
};

// On the loop's thread.
class Registration final : public TaskUser {
 public:
  // All outlive it.
  Registration(Env& env, Host& host, Catalog& catalog, RegistrationSettings settings);
  KJ_DISALLOW_COPY(Registration);

  kj::Promise<void> tasksChanged(const TaskView& tasks) override;
  uint32_t noticedMs() const override { return noticeMs; }

 private:
  // What came of a task when it was last looked at.
  struct Derived {
    uint64_t number = 0;  // of the view
    bool image = false;   // its image was known
    std::vector<ServiceEntry> entries;
  };
  Task<void> change(const TaskView& tasks);
  Task<void> lookAgain(const TaskView& tasks);

  Env& env;
  Host& host;
  const uint32_t noticeMs;
  EntryRules rules;
  ImageFacts images;
  std::map<std::string, Derived> derived;  // by task
  Registrar registrar;
  bool learned = true;  // what images say
  bool looking = false;
  kj::Promise<void> later = nullptr;  // another look at images
  kj::Canceler changes;               // last: what it ends uses all of the above
};

}  // namespace orch::integration::registrator
