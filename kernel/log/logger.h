// The log of a node: one logger per plugin and one for the kernel, each with a level of its own
// that can be changed while it runs. Lines go to stderr, where systemd or a shell picks them up:
//   2026-01-01T12:00:00.123456Z warn image.oci  image.pull-failed image=web reason="no such host"
// spdlog stays inside logger.cpp.
#pragma once

#include <kj/string.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "orch/schema/plugin.capnp.h"

namespace orch::log {

using LogFields = std::vector<std::pair<kj::StringPtr, kj::String>>;

// Thread-safe. Loggers of one name share their level.
class Logger final {
 public:
  // `minimum` is the level of a logger that is new.
  Logger(const std::string& name, schema::LogLevel minimum);
  ~Logger();
  KJ_DISALLOW_COPY(Logger);

  void write(schema::LogLevel level, kj::StringPtr message, const LogFields& fields = {});
  void setLevel(schema::LogLevel level);
  schema::LogLevel level() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl;
};

// "info" → INFO. The manifest has checked the word.
schema::LogLevel levelNamed(const std::string& word);

// `text`, in quotes if it holds a space, a quote or nothing. Control characters are escaped as in C
// (\n, \t, \x1b): what a stranger sends makes no line of its own and moves no cursor.
std::string logValue(kj::StringPtr text);

}  // namespace orch::log
