#include "unavailable.h"

#include "orch/fail.h"
#include "value.h"

namespace orch::cli {

namespace {

// Of service create and update. One that ends with `-` stands for all that begin with it.
constexpr kj::StringPtr LATER_FLAGS[] = {
    "--placement-pref"_kj,
    "--placement-pref-add"_kj,
    "--placement-pref-rm"_kj,
    "--health-"_kj,
    "--secret"_kj,
    "--secret-add"_kj,
    "--secret-rm"_kj,
    "--config"_kj,
    "--config-add"_kj,
    "--config-rm"_kj,
    "--rollback"_kj,
    "--rollback-"_kj,
    "--max-concurrent"_kj,
    "--generic-resource"_kj,
    "--generic-resource-add"_kj,
    "--generic-resource-rm"_kj,
    "--credential-spec"_kj,
    "--memory-swappiness"_kj,
};

bool among(kj::StringPtr choices, kj::StringPtr value) {
  kj::StringPtr rest = choices;
  while (rest.size() > 0) {
    auto bar = rest.findFirst('|').orDefault(rest.size());
    if (value == kj::heapString(rest.begin(), bar)) return true;
    rest = rest.slice(kj::min(bar + 1, rest.size()));
  }
  return false;
}

}  // namespace

kj::String unavailableFlag(kj::StringPtr path, kj::StringPtr flag) {
  if (flag == "--format") return kj::str("'--format' is not available; use --json");
  if (path != "service create" && path != "service update") return kj::String();
  for (auto later : LATER_FLAGS) {
    if (flag == later || (later.endsWith("-") && flag.startsWith(later))) {
      return kj::str("'", flag, "' is not available yet");
    }
  }
  return kj::String();
}

kj::String unavailableCommand(kj::StringPtr noun, kj::StringPtr verb) {
  if (noun == "service" && verb == "rollback") {
    return kj::str(
        "'orch service rollback' is not available yet; 'orch service update' with what it was "
        "before does it");
  }
  return kj::String();
}

unsigned parseAvailable(kj::StringPtr flag, kj::StringPtr value, kj::StringPtr choices,
                        kj::StringPtr later) {
  if (among(later, value)) {
    fail(kj::str("usage: ", flag, " ", value, " is not available yet; use ", choices));
  }
  return parseChoice(flag, value, choices);
}

}  // namespace orch::cli
