#include "constraint.h"

#include <catch2/catch.hpp>

#include <map>

#include "orch/attempt.h"

namespace orch::filter::constraint {
namespace {

const std::map<std::string, std::string, std::less<>> ATTRIBUTES = {
    {"node.hostname", "Web-7"},      {"node.role", "worker"},           {"node.ip", "10.1.2.3"},
    {"node.labels.zone", "eu-west"}, {"node.labels.cores", "16"},       {"node.labels.disk", "2g"},
    {"engine.labels.os", "Debian"},  {"node.labels.note", "a && b, c)"}};

Expression parse(const std::string& text) { return Expression::parse(text, CONSTRAINT.dialect()); }

bool isMet(const char* text) {
  return parse(text).isMetBy([](std::string_view key) {
    auto it = ATTRIBUTES.find(key);
    return it == ATTRIBUTES.end() ? std::string() : it->second;
  });
}

std::string parseError(const std::string& text) {
  auto parsed = attemptNow([&] { return parse(text).keys(); });
  return parsed.ok() ? "" : parsed.message().cStr();
}

TEST_CASE("constraint: swarm mode's", "[filter]") {
  CHECK(isMet("node.role==worker"));
  CHECK(isMet("node.role == WORKER"));
  CHECK(isMet("node.role=worker"));
  CHECK_FALSE(isMet("node.role!=worker"));
  CHECK(isMet("node.labels.nothing!=x"));
  CHECK_FALSE(isMet("node.labels.nothing==x"));
  CHECK(isMet("node.ip==10.1.2.3"));
  CHECK(isMet("node.ip==10.1.0.0/16"));
  CHECK_FALSE(isMet("node.ip==10.2.0.0/16"));
  CHECK(isMet("node.ip!=10.2.0.0/16"));
  CHECK_FALSE(isMet("node.ip==10.1.2.3/nonsense"));
}

TEST_CASE("constraint: classic Swarm's", "[filter]") {
  CHECK(isMet("node.hostname==web-*"));
  CHECK(isMet("node.hostname==*7"));
  CHECK_FALSE(isMet("node.hostname==eb-*"));
  CHECK_FALSE(isMet("node.hostname!=web*"));
  CHECK(isMet("node.labels.nothing==*"));
  CHECK(isMet("node.labels.zone==/^eu-(west|north)$/"));
  CHECK(isMet("node.labels.zone==/west/"));
  CHECK_FALSE(isMet("node.labels.zone==/WEST/"));
  CHECK(isMet("node.labels.zone==/(?i)WEST/"));
  CHECK_FALSE(isMet("node.labels.zone!=/w.st/"));
  // A dot is a dot outside of them.
  CHECK_FALSE(isMet("node.labels.zone==eu.wes*"));
}

TEST_CASE("constraint: more than both", "[filter]") {
  CHECK(isMet("node.labels.zone in (us, eu-*, asia)"));
  CHECK_FALSE(isMet("node.labels.zone not in (us,eu-west)"));
  CHECK(isMet("node.labels.cores > 8"));
  CHECK(isMet("node.labels.cores >= 16"));
  CHECK_FALSE(isMet("node.labels.cores < 16"));
  CHECK(isMet("node.labels.disk>1500m"));
  CHECK_FALSE(isMet("node.labels.zone > 1"));
  CHECK_FALSE(isMet("node.labels.nothing < 1"));
  CHECK(isMet("node.labels.zone exists"));
  CHECK(isMet("node.labels.nothing not exists"));
  CHECK(isMet("node.role==manager || node.labels.cores>8 && engine.labels.os==debian"));
  CHECK_FALSE(isMet("(node.role==manager || node.labels.cores>8) && engine.labels.os==alpine"));
  CHECK(isMet("( ( node.role == worker ) )"));
  CHECK(isMet("node.labels.note=='a && b, c)'"));
  CHECK(isMet("node.labels.note in (x, \"a && b, c)\")"));
  CHECK(isMet("node.labels.note=='a && b, c)' && node.role==worker"));
  CHECK_FALSE(isMet("node.labels.note=='a*'"));
}

TEST_CASE("constraint: what is wrong is said with its column", "[filter]") {
  CHECK(parseError("") ==
        "usage: the constraint '' expects a key such as node.labels.zone at column 1");
  CHECK(parseError("node.role") ==
        "usage: the constraint 'node.role' expects one of ==, !=, <, <=, >, >=, in, not in, "
        "exists, not exists at column 10");
  CHECK(parseError("node.role==") ==
        "usage: the constraint 'node.role==' expects a value at column 12");
  CHECK(parseError("==x").find("at column 1") != std::string::npos);
  CHECK(parseError("node.labels.n > many") ==
        "usage: the constraint 'node.labels.n > many' expects a number or a size such as 16g at "
        "column 17");
  CHECK(parseError("a in (b").find("expects ',' or ')' at column 8") != std::string::npos);
  CHECK(parseError("a in b").find("expects '(' at column 6") != std::string::npos);
  CHECK(parseError("a not b").find("expects 'in' or 'exists' at column 7") != std::string::npos);
  CHECK(parseError("a==b &&").find("at column 8") != std::string::npos);
  CHECK(parseError("a==b)").find("expects '&&', '||' or the end at column 5") != std::string::npos);
  CHECK(parseError("(a==b").find("expects ')' at column 6") != std::string::npos);
  CHECK(parseError("a=='b").find("the end of the quotes") != std::string::npos);
  CHECK(parseError("a==/b").find("expects '/' at column 6") != std::string::npos);
  CHECK(parseError("a==/(/").find("a regular expression (missing ): () at column 4") !=
        std::string::npos);
  CHECK(parseError(std::string(21, '(')).find("fewer parentheses") != std::string::npos);
  CHECK(parseError("a==~b").find("ends in a weight, as ' ~ 10', at column 4") != std::string::npos);
  CHECK(parseError(std::string(1025, 'a')).find("at most 1024") != std::string::npos);
}

TEST_CASE("constraint: says which keys it asks for, and whether it is plain", "[filter]") {
  CHECK(parse("a==b && (c exists || d<1 || a==c)").keys() ==
        std::vector<std::string>{"a", "c", "d"});
  std::string key, value;
  CHECK(parse("node.labels.zone == b").isPlain(key, value));
  CHECK(key == "node.labels.zone");
  CHECK(value == "b");
  for (auto text : {"a!=b", "a==b*", "a==/b/", "a in (b, c)", "a==b && c==d", "a>1"}) {
    CHECK_FALSE(parse(text).isPlain(key, value));
  }
}

}  // namespace
}  // namespace orch::filter::constraint
