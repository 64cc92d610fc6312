// orch itself as one who answers: the tasks of the cluster, or of this node, that serve.
#pragma once

#include <map>
#include <set>

#include "lib/task-watch.h"
#include "orch-catalog.h"
#include "orch/env.h"
#include "orch/host.h"
#include "source.h"
#include "watches.h"

namespace orch::integration::templates {

struct OrchSettings {
  bool answers = false;
  // Of the whole cluster, which managers know; else of this node.
  bool whole = true;
  uint32_t noticeMs = 0;  // see TaskUser::noticedMs
};

// A task stops only when what was rendered without it is in its place, and its command was run.
class OrchSource final : public Source, public TaskUser {
 public:
  // Nodes are asked for again when they are others than before, and this often.
  static constexpr kj::Duration LOOK_AT_NODES = 30 * kj::SECONDS;

  // All outlive it.
  OrchSource(Env& env, Host& host, OrchSettings settings);
  ~OrchSource() noexcept(false) { end(); }
  // Before anything is asked: who is told of its answers. Outlives it, or its `end`.
  void answerFor(Watches& watches) { told = watches; }
  // Nothing of the host is touched from then on.
  void end();

  bool knows(const Query& query) const override;
  Task<void> follow(Query query, Listener& listener) override;

  kj::Promise<void> tasksChanged(const TaskView& tasks) override;
  void tasksUnknown(kj::StringPtr reason) override;
  uint32_t noticedMs() const override { return listeners.empty() ? 0 : settings.noticeMs; }

 private:
  void begin();
  Task<void> change(const TaskView& tasks);
  // Who the nodes of these tasks are, if one of them is not known.
  Task<void> meet(std::set<std::string> ids);
  Task<void> keepNodes();
  Task<void> look();
  Task<void> readNodes();
  Task<void> readOwn();
  void derive();
  void tellAll();

  Env& env;
  Host& host;
  const OrchSettings settings;
  bool ended = false;
  kj::Maybe<Watches&> told;
  kj::Maybe<kj::Own<TaskWatch>> watch;  // from the first question on
  kj::Maybe<const TaskView&> known;     // of that
  OrchNodes nodes;
  std::vector<OrchEntry> entries;
  std::map<Listener*, Query> listeners;
  std::string trouble;  // why nothing was told yet; empty: it was
  kj::Promise<void> looking = nullptr;
  kj::Canceler changes;
};

}  // namespace orch::integration::templates
