// Files of this host: what `file` reads, and templates themselves.
#pragma once

#include "orch/env.h"
#include "source.h"

namespace orch::integration::templates {

class FileSource final : public Source {
 public:
  // How often a file is looked at. A file that is written in place may be seen half written: then
  // it has another time a moment later.
  static constexpr auto LOOK = 1 * kj::SECONDS;
  static constexpr uint64_t MAX_FILE_BYTES = 1 << 20;

  // `env` outlives it.
  explicit FileSource(Env& env) : env(env) {}

  bool knows(const Query& query) const override { return query.kind == Query::Kind::FILE; }
  Task<void> follow(Query query, Listener& listener) override;

 private:
  Env& env;
};

}  // namespace orch::integration::templates
