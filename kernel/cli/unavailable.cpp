#include "unavailable.h"

#include "orch/fail.h"
#include "value.h"

namespace orch::cli {

namespace {

struct Word {
  const char* docker;  // one that ends with `*` stands for all that begin with it
  const char* answer;  // what follows `'orch DOCKER' `; empty: it is not available yet
};

constexpr const char* CONFIGS =
    "is not available yet; 'orch config show' and its like are about the manifest of the node";
constexpr const char* MANIFEST =
    "is not needed: a plugin is an entry of the manifest and a file; 'orch config reload' takes "
    "both up";
// Longer ones before those that they begin with.
constexpr Word COMMAND_WORDS[] = {
    {"attach", "is 'orch task attach TASK' here"},
    {"build", "is not available: build elsewhere, then 'orch image import PATH'"},
    {"commit", ""},
    {"compose*", ""},
    {"config create", CONFIGS},
    {"config inspect", CONFIGS},
    {"config ls", CONFIGS},
    {"config rm", CONFIGS},
    {"container stats", "is 'orch stats' here"},
    {"container top", "is 'orch task top TASK' here"},
    {"cp", ""},
    {"create", "is 'orch service create IMAGE [COMMAND]' here"},
    {"exec", "is 'orch task exec TASK COMMAND' here"},
    {"image build", "is not available: build elsewhere, then 'orch image import PATH'"},
    {"image load", "is 'orch image import PATH' here"},
    {"image push", ""},
    {"image save", ""},
    {"image tag", ""},
    {"images", "is 'orch image ls' here"},
    {"import", "is 'orch image import PATH NAME' here"},
    {"inspect",
     "is 'orch service inspect NAME' here; 'orch task inspect', 'orch node inspect', 'orch image "
     "inspect' and 'orch network inspect' for the others"},
    {"kill", "is 'orch service scale SERVICE=0' here"},
    {"load", "is 'orch image import PATH' here"},
    {"logs", "is 'orch service logs SERVICE|TASK' here"},
    {"network connect", "is 'orch service update --network-add NETWORK SERVICE' here"},
    {"network disconnect", "is 'orch service update --network-rm NETWORK SERVICE' here"},
    {"pause", ""},
    {"plugin disable", MANIFEST},
    {"plugin enable", MANIFEST},
    {"plugin install", MANIFEST},
    {"plugin rm", MANIFEST},
    {"plugin set", MANIFEST},
    {"plugin upgrade", MANIFEST},
    {"port", "is 'orch service ls' here: its last column"},
    {"ps", "is 'orch task ls' here; of one service: 'orch service ps SERVICE'"},
    {"pull", "is 'orch image pull IMAGE' here"},
    {"push", ""},
    {"rename", "is not available: a service keeps its name"},
    {"restart", "is 'orch service update --force SERVICE' here"},
    {"rm", "is 'orch service rm SERVICE' here"},
    {"rmi", "is 'orch image rm IMAGE' here"},
    {"run",
     "is 'orch service create IMAGE [COMMAND]' here; what ends by itself wants "
     "--mode replicated-job"},
    {"save", ""},
    {"scale", "is 'orch service scale SERVICE=REPLICAS' here"},
    {"search", ""},
    {"secret*", ""},
    {"stack*", ""},
    {"start", "is 'orch service scale SERVICE=REPLICAS' here"},
    {"stop", "is 'orch service scale SERVICE=0' here; 'orch service rm SERVICE' ends it for good"},
    {"swarm init",
     "is 'orch init' here; a node does it at its first start, unless autoInit is false"},
    {"swarm ca", "is 'orch ca' here"},
    {"swarm join", "is 'orch join' here"},
    {"swarm join-token", "is 'orch join-token worker' here"},
    {"swarm leave", "is 'orch leave' here"},
    {"swarm update", "is 'orch cluster update' here"},
    {"swarm unlock", "is 'orch unlock' here"},
    {"swarm unlock-key", "is 'orch unlock-key' here"},
    {"swarm*", ""},
    {"system df", "is 'orch image ls' here"},
    {"system events", "is 'orch events' here"},
    {"system info", "is 'orch info' here"},
    {"system prune", "is 'orch image prune' here"},
    {"tag", ""},
    {"unpause", ""},
    {"update", "is 'orch service update SERVICE' here"},
    {"volume create",
     "is not needed: a volume is made with the first task that mounts it, 'orch "
     "service create --mount source=NAME,target=PATH IMAGE'"},
    {"volume update", ""},
    {"wait", "is 'orch service create' without --detach here: it waits"},
};

constexpr const char* MOUNT = "is --mount type=bind,source=PATH,target=PATH here";

// Of service create and update, and of `docker run`.
constexpr Word FLAG_WORDS[] = {
    {"--add-host", "is --host NAME:ADDRESS here"},
    {"--config*", ""},
    {"--cpus", "is --limit-cpu here"},
    {"--credential-spec", ""},
    {"--device*", ""},
    {"--expose", "is not needed: tasks reach each other on all ports"},
    {"--link", "is not available: tasks reach each other by the address of their network"},
    {"--memory", "is --limit-memory here"},
    {"--memory-reservation", "is --reserve-memory here"},
    {"--memory-swappiness", ""},
    {"--net", "is --network here"},
    {"--pids-limit", "is --limit-pids here"},
    {"--privileged", "is not available; --cap-add gives single rights"},
    {"--restart", "is --restart-condition here"},
    {"--rm", "is not needed: what ended is removed by itself"},
    {"--rollback", "is 'orch service rollback SERVICE' here"},
    {"--secret*", ""},
    {"--security-opt", ""},
    {"--stop-timeout", "is --stop-grace-period here"},
    {"--tmpfs", "is --mount type=tmpfs,target=PATH here"},
    {"--volume", MOUNT},
    {"-c", "is not available; --limit-cpu limits the cores"},
    {"-h", "is --hostname here"},
    {"-m", "is --limit-memory here"},
    {"-v", MOUNT},
};

// Of docker's `swarm init`, `swarm update` and `swarm ca`.
constexpr Word CLUSTER_FLAG_WORDS[] = {
    {"--external-ca", "is for 'orch init' and 'orch ca --rotate' here"},
};

// What the table has of `typed`, with `'PREFIX TYPED'` before it.
kj::String answer(kj::ArrayPtr<const Word> words, kj::StringPtr prefix, kj::StringPtr typed) {
  for (auto& word : words) {
    kj::StringPtr name = word.docker;
    bool all = name.endsWith("*");
    auto begin = kj::heapString(name.begin(), name.size() - all);
    if (all ? !typed.startsWith(begin) : typed != name) continue;
    return kj::str("'", prefix, typed, "' ",
                   word.answer[0] == '\0' ? "is not available yet" : word.answer);
  }
  return kj::String();
}

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

kj::String unavailableCommand(kj::ArrayPtr<const kj::String> words) {
  // docker's own longer names of the same.
  if (words.size() > 1 && words[0] == "container") {
    if (words[1] == "ls") return answer(COMMAND_WORDS, "orch ", "ps");
    auto both = answer(COMMAND_WORDS, "orch ", kj::str(words[0], " ", words[1]));
    if (both.size() > 0) return both;
    words = words.slice(1, words.size());
  }
  if (words.size() > 1) {
    auto both = answer(COMMAND_WORDS, "orch ", kj::str(words[0], " ", words[1]));
    if (both.size() > 0) return both;
  }
  return words.size() > 0 ? answer(COMMAND_WORDS, "orch ", words[0]) : kj::String();
}

kj::String unavailableFlag(kj::StringPtr path, kj::StringPtr flag) {
  if (path == "init" || path == "cluster update" || path == "ca") {
    return answer(CLUSTER_FLAG_WORDS, "", flag);
  }
  if (path != "service create" && path != "service update") return kj::String();
  return answer(FLAG_WORDS, "", flag);
}

kj::Array<kj::StringPtr> answersOfCommands() {
  return KJ_MAP(word, COMMAND_WORDS) { return kj::StringPtr(word.answer); };
}

unsigned parseAvailable(kj::StringPtr flag, kj::StringPtr value, kj::StringPtr choices,
                        kj::StringPtr later) {
  if (among(later, value)) {
    fail(kj::str("usage: ", flag, " ", value, " is not available yet; use ", choices));
  }
  return parseChoice(flag, value, choices);
}

}  // namespace orch::cli
