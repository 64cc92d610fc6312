// Lines that somebody else causes: whoever writes them decides how often that is, and the log does
// not grow with it.
#pragma once

#include "kernel/log/logger.h"
#include "orch/env.h"
#include "orch/log-limit.h"

namespace orch::log {

// On the loop. `env` and `logger` outlive it.
class LimitedLog final {
 public:
  // `atOnce`: lines of one kind, before it is one per LogLimit::PERIOD_MS.
  LimitedLog(Env& env, Logger& logger, uint32_t atOnce) : env(env), logger(logger), limit(atOnce) {}

  // `kind`: with `message`, what is counted together. A line after others that were left out says
  // how many.
  void write(schema::LogLevel level, kj::StringPtr message, kj::StringPtr kind, LogFields fields) {
    if (level < logger.level()) return;
    auto untold = limit.admit(kj::str(message, ' ', kind).cStr(), env.timer().now());
    if (!untold.has_value()) return;
    if (*untold > 0) fields.emplace_back("moreLikeIt", kj::str(*untold));
    logger.write(level, message, fields);
  }

 private:
  Env& env;
  Logger& logger;
  LogLimit limit;
};

// What is told of those who were refused.
class Refusals final {
 public:
  Refusals(Env& env, Logger& logger) : log(env, logger, LogLimit::AT_ONCE) {}

  // Nothing in `kind` is the stranger's own words.
  void tell(kj::StringPtr message, kj::StringPtr kind, LogFields fields) {
    log.write(schema::LogLevel::WARN, message, kind, kj::mv(fields));
  }

 private:
  LimitedLog log;
};

}  // namespace orch::log
