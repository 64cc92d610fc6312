// What is told of those who were refused: they decide how often that is, and the log does not grow
// with it.
#pragma once

#include "kernel/log/logger.h"
#include "orch/env.h"
#include "orch/log-limit.h"

namespace orch::log {

// On the loop. `env` and `logger` outlive it.
class Refusals final {
 public:
  Refusals(Env& env, Logger& logger) : env(env), logger(logger) {}

  // `kind`: with `message`, what is counted together; nothing in it is the stranger's own words. A
  // line after others that were left out says how many.
  void tell(kj::StringPtr message, kj::StringPtr kind, LogFields fields) {
    auto untold = limit.admit(kj::str(message, ' ', kind).cStr(), env.timer().now());
    if (!untold.has_value()) return;
    if (*untold > 0) fields.emplace_back("moreLikeIt", kj::str(*untold));
    logger.write(schema::LogLevel::WARN, message, fields);
  }

 private:
  Env& env;
  Logger& logger;
  LogLimit limit;
};

}  // namespace orch::log
