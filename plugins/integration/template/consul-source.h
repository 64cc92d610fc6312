// A consul, asked by blocking queries.
#pragma once

#include "consul/client.h"
#include "orch/semaphore.h"
#include "source.h"

namespace orch::integration::templates {

class ConsulSource final : public Source {
 public:
  // Of questions that consul keeps at the same time, each over a connection of its own: an agent
  // takes 200 connections of a host unless it is told otherwise. Where there are more questions
  // they take turns.
  static constexpr unsigned MAX_KEPT = 150;
  // Of one answer, as consul writes it.
  static constexpr size_t MAX_ANSWER_BYTES = 16 << 20;

  // consul is asked again after a failure at 1 s, 2 s, 4 s …, up to 30 s; at once by the next
  // endpoint, if there are several. `env` outlives it.
  ConsulSource(Env& env, consul::ClientSettings settings)
      : env(env), settings(std::move(settings)) {}

  bool knows(const Query& query) const override;
  Task<void> follow(Query query, Listener& listener) override;

 private:
  // What is asked, and what was answered last.
  struct Place {
    std::string path;
    uint64_t index = 0;  // 0: there is no answer
    uint64_t sum = 0;    // of it
    bool found = false;
  };
  // A client that nobody else has for now.
  class Borrowed;
  Task<void> look(const Query& query, Place& place, Listener& listener);
  Task<std::string> agentNode(consul::Client& client);
  Task<consul::Reply> ask(const Query& query, Place& place);

  Env& env;
  const consul::ClientSettings settings;
  Semaphore places{MAX_KEPT, "templates ask consul for too much at once"_kj};
  // Those with a connection, mostly. One that has failed asks the next endpoint from then on.
  std::vector<kj::Own<consul::Client>> idle;
  size_t followed = 0;
};

}  // namespace orch::integration::templates
