// What is answered to which path. README.md has the table.
#pragma once

#include "changes.h"
#include "config.capnp.h"
#include "documents.h"
#include "event-counts.h"
#include "readings.h"
#include "server.h"
#include "task-digest.h"
#include "tokens.h"

namespace orch::api::http {

class ApiSite final : public Site {
 public:
  // All outlive it.
  ApiSite(Env& env, Readings& readings, Changes& changes, Config::Reader settings);
  // Streams at once: each is told of every event by itself.
  static constexpr size_t MAX_STREAMS = 64;
  ~ApiSite() noexcept(false) override {}

  // From now on each request needs one.
  void setTokens(Tokens known) { tokens = kj::mv(known); }
  // Whose figures are among the metrics.
  void setServer(const Server& counted) { server = &counted; }
  void setEvents(const EventCounts& counted) { eventCounts = &counted; }
  Task<void> serve(Exchange& exchange) override;

 private:
  struct Words;
  bool isAddressed(const Request& request) const;
  kj::Maybe<Answer> refusalOf(const Request& request) const;
  kj::Promise<void> route(Exchange& exchange, const Words& words);
  kj::Promise<void> routeCluster(Exchange& exchange, const Words& words);
  kj::Promise<void> routeChange(Exchange& exchange, const Words& words);
  kj::Promise<void> routeOne(Exchange& exchange, const Words& words);
  Task<void> plugins(Exchange& exchange);
  Task<void> metrics(Exchange& exchange);
  Task<void> usage(Exchange& exchange);
  Task<void> rows(Exchange& exchange, bool all);
  Task<void> streamed(Task<void> stream);

  Env& env;
  Readings& readings;
  Changes& changes;
  Config::Reader settings;
  TaskDigests digests;
  kj::Maybe<Tokens> tokens;
  const Server* server = nullptr;
  const EventCounts* eventCounts = nullptr;
  size_t streams = 0;
};

}  // namespace orch::api::http
