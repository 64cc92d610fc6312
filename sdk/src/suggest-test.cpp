#include "orch/suggest.h"

#include <catch2/catch.hpp>

namespace orch {
namespace {

TEST_CASE("suggestion: the nearest name if it is near", "[sdk]") {
  kj::StringPtr known[] = {"service"_kj, "node"_kj, "network"_kj, "plugin"_kj};
  CHECK(suggestion("servce", known) == "; did you mean 'service'?");
  CHECK(suggestion("servcie", known) == "; did you mean 'service'?");
  CHECK(suggestion("noed", known) == "; did you mean 'node'?");
  for (auto far : {"bananas", "login", "", "n", "images"}) {
    INFO(far);
    CHECK(suggestion(far, known) == "");
  }
}

TEST_CASE("suggestion: all that begin with what was typed, unless they are many", "[sdk]") {
  kj::StringPtr known[] = {"--env-add"_kj, "--env-rm"_kj, "--replicas"_kj, "--replicas-most"_kj};
  CHECK(suggestion("--replica", known) == "; did you mean '--replicas'?");
  CHECK(suggestion("--env", known) == "; there are '--env-add', '--env-rm'");
  kj::StringPtr verbs[] = {"create"_kj, "rm"_kj};
  CHECK(suggestion("creat", verbs, "service ") == "; did you mean 'service create'?");
  kj::StringPtr many[] = {"aaa-01"_kj, "aaa-02"_kj, "aaa-03"_kj, "aaa-04"_kj,
                          "aaa-05"_kj, "aaa-06"_kj, "aaa-07"_kj};
  CHECK(suggestion("aaa", many) == "");
}

}  // namespace
}  // namespace orch
