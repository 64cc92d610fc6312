#include "kernel/log/logger.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>

namespace orch::log {

namespace {

constexpr char DELETE = 0x7f;

void addEscaped(std::string& out, char c) {
  static constexpr char DIGITS[] = "0123456789abcdef";
  auto byte = static_cast<unsigned char>(c);
  if (c == '\n') {
    out += "\\n";
  } else if (c == '\t') {
    out += "\\t";
  } else if (c == '\r') {
    out += "\\r";
  } else if (byte < ' ' || c == DELETE) {
    out += "\\x";
    out += DIGITS[byte >> 4];
    out += DIGITS[byte & 15];
  } else {
    out += c;
  }
}

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
  std::atomic<schema::LogLevel> level;
  std::shared_ptr<spdlog::logger> logger;  // shared with spdlog, which hands it out by value
};

Logger::Logger(const std::string& name, schema::LogLevel minimum) : impl(std::make_unique<Impl>()) {
  impl->logger =
      std::make_shared<spdlog::logger>(name, std::make_shared<spdlog::sinks::stderr_sink_mt>());
  impl->logger->set_pattern("%Y-%m-%dT%H:%M:%S.%fZ %l %n  %v", spdlog::pattern_time_type::utc);
  setLevel(minimum);
}

Logger::~Logger() = default;

void Logger::write(schema::LogLevel level, kj::StringPtr message, const LogFields& fields) {
  auto at = translated(level);
  if (!impl->logger->should_log(at)) return;
  std::string line;
  for (char c : message) addEscaped(line, c);
  for (auto& [key, value] : fields) {
    line += ' ';
    for (char c : key) addEscaped(line, c);
    line += '=';
    line += logValue(value);
  }
  impl->logger->log(at, "{}", line);
}

void Logger::setLevel(schema::LogLevel level) {
  impl->level = level;
  impl->logger->set_level(translated(level));
}

schema::LogLevel Logger::level() const { return impl->level; }

schema::LogLevel levelNamed(const std::string& word) {
  if (word == "trace") return schema::LogLevel::TRACE;
  if (word == "debug") return schema::LogLevel::DEBUG;
  if (word == "warn") return schema::LogLevel::WARN;
  if (word == "error") return schema::LogLevel::ERROR;
  return schema::LogLevel::INFO;
}

std::string logValue(kj::StringPtr text) {
  bool plain = text.size() > 0;
  // Bytes above 0x7f are UTF-8.
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    plain = plain && byte > ' ' && c != DELETE && c != '"' && c != '=';
  }
  if (plain) return text.cStr();
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    addEscaped(out, c);
  }
  return out + "\"";
}

}  // namespace orch::log
