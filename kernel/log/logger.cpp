#include "kernel/log/logger.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace orch::log {

namespace {
spdlog::level::level_enum translated(schema::LogLevel level) {
  switch (level) {
    case schema::LogLevel::TRACE:
      return spdlog::level::trace;
    case schema::LogLevel::DEBUG:
      return spdlog::level::debug;
    case schema::LogLevel::INFO:
      return spdlog::level::info;
    case schema::LogLevel::WARN:
      return spdlog::level::warn;
    case schema::LogLevel::ERROR:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}
}  // namespace

struct Logger::Impl {
  std::shared_ptr<spdlog::logger> logger;  // shared with spdlog, which hands it out by value
};

Logger::Logger(const std::string& name, schema::LogLevel minimum) : impl(std::make_unique<Impl>()) {
  impl->logger =
      std::make_shared<spdlog::logger>(name, std::make_shared<spdlog::sinks::stderr_sink_mt>());
  impl->logger->set_pattern("%Y-%m-%dT%H:%M:%S.%fZ %l %n  %v", spdlog::pattern_time_type::utc);
  impl->logger->set_level(translated(minimum));
}

Logger::~Logger() = default;

void Logger::write(schema::LogLevel level, kj::StringPtr message, const LogFields& fields) {
  auto at = translated(level);
  if (!impl->logger->should_log(at)) return;
  std::string line = message.cStr();
  for (auto& [key, value] : fields) {
    line += ' ';
    line += key.cStr();
    line += '=';
    line += logValue(value);
  }
  impl->logger->log(at, "{}", line);
}

void Logger::setLevel(schema::LogLevel level) { impl->logger->set_level(translated(level)); }

schema::LogLevel levelNamed(const std::string& word) {
  if (word == "trace") return schema::LogLevel::TRACE;
  if (word == "debug") return schema::LogLevel::DEBUG;
  if (word == "warn") return schema::LogLevel::WARN;
  if (word == "error") return schema::LogLevel::ERROR;
  return schema::LogLevel::INFO;
}

std::string logValue(kj::StringPtr text) {
  bool plain = text.size() > 0;
  for (char c : text) plain = plain && c > ' ' && c != '"' && c != '=';
  if (plain) return text.cStr();
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out + "\"";
}

}  // namespace orch::log
