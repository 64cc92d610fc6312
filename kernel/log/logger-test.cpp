#include "kernel/log/logger.h"

#include <catch2/catch.hpp>

namespace orch::log {
namespace {

TEST_CASE("log: a value is plain, quoted or escaped, and always one line", "[log]") {
  CHECK(logValue("web-1") == "web-1");
  CHECK(logValue("größer") == "größer");
  CHECK(logValue("") == "\"\"");
  CHECK(logValue("two words") == "\"two words\"");
  CHECK(logValue("a=\"b\"") == "\"a=\\\"b\\\"\"");
  CHECK(logValue("one\ntwo\tthree\r") == "\"one\\ntwo\\tthree\\r\"");
  CHECK(logValue("\x1b[2J\x7f\x01") == "\"\\x1b[2J\\x7f\\x01\"");
}

}  // namespace
}  // namespace orch::log
