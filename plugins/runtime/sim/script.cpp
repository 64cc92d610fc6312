#include "script.h"

#include <cstdlib>

#include "orch/fail.h"

namespace orch::runtime::sim {

namespace {

kj::Duration duration(kj::StringPtr name, kj::StringPtr text) {
  char* end;
  uint64_t number = strtoull(text.cStr(), &end, 10);
  kj::StringPtr unit = end;
  bool digits = end != text.cStr() && text[0] >= '0' && text[0] <= '9';
  if (digits && unit == "ms") return number * kj::MILLISECONDS;
  if (digits && unit == "s") return number * kj::SECONDS;
  if (digits && unit == "m") return number * kj::MINUTES;
  if (digits && number == 0 && unit == "") return 0 * kj::SECONDS;
  fail(kj::str(name, "=", text, " is no duration: use 250ms, 5s, 2m or 0"));
}

std::vector<std::string> linesOf(kj::StringPtr text) {
  std::vector<std::string> lines;
  std::string rest = text.cStr();
  for (size_t end; (end = rest.find('\n')) != std::string::npos; rest.erase(0, end + 1)) {
    lines.push_back(rest.substr(0, end));
  }
  lines.push_back(rest);
  return lines;
}

int exitCode(kj::StringPtr name, kj::StringPtr value) {
  char* end;
  long code = strtol(value.cStr(), &end, 10);
  if (*end != '\0' || value.size() == 0 || code < 0 || code > 255) {
    fail(kj::str(name, "=", value, " is no exit code: use 0 to 255"));
  }
  return static_cast<int>(code);
}

uint64_t cores(kj::StringPtr name, kj::StringPtr value) {
  char* end;
  double number = strtod(value.cStr(), &end);
  bool known = *end == '\0' && value.size() > 0 && number >= 0 && number <= 1e6;
  if (!known) fail(kj::str(name, "=", value, " is no number of cores: use 0.5 or 2"));
  return static_cast<uint64_t>(number * 1e9);
}

int64_t bytes(kj::StringPtr name, kj::StringPtr value) {
  char* end;
  int64_t number = strtoll(value.cStr(), &end, 10);
  if (*end != '\0' || value.size() == 0 || number < 0) {
    fail(kj::str(name, "=", value, " is no number of bytes: use 1048576"));
  }
  return number;
}

void setField(Script& script, kj::StringPtr name, kj::StringPtr value) {
  if (name == "SIM_RUN") script.run = duration(name, value);
  if (name == "SIM_CREATE_DELAY") script.createDelay = duration(name, value);
  if (name == "SIM_START_DELAY") script.startDelay = duration(name, value);
  if (name == "SIM_FAIL_CREATE") script.failCreate = value.cStr();
  if (name == "SIM_FAIL_START") script.failStart = value.cStr();
  if (name == "SIM_IGNORE_TERM") script.ignoresTerm = value == "1";
  if (name == "SIM_OUTPUT") script.output = linesOf(value);
  if (name == "SIM_ERRORS") script.errors = linesOf(value);
  if (name == "SIM_EXIT") script.exitCode = exitCode(name, value);
  if (name == "SIM_CPU") script.cpuNanos = cores(name, value);
  if (name == "SIM_MEMORY") script.memoryBytes = bytes(name, value);
  if (name == "SIM_CHECKS") {
    script.checks.clear();
    std::string rest = std::string(value.cStr()) + ",";
    for (size_t end; (end = rest.find(',')) != std::string::npos; rest.erase(0, end + 1)) {
      script.checks.push_back(exitCode(name, rest.substr(0, end).c_str()));
    }
  }
}

}  // namespace

Script parseScript(schema::ContainerRequest::Reader request) {
  Script script;
  script.output = {kj::str("simulated ", request.getTaskName()).cStr()};
  for (auto environment : {request.getImage().getEnv(), request.getSpec().getEnv()}) {
    for (auto entry : environment) {
      KJ_IF_MAYBE (equals, entry.findFirst('=')) {
        setField(script, kj::heapString(entry.begin(), *equals), entry.slice(*equals + 1));
      }
    }
  }
  return script;
}

}  // namespace orch::runtime::sim
