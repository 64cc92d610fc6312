#include "service-change.h"

#include "logins.h"
#include "value.h"

namespace orch::cli {

namespace {

constexpr const char* MOODS[] = {
    "able",   "agile",  "amber", "ample",   "bold",   "brave",  "brisk", "bright",
    "calm",   "clear",  "cool",  "crisp",   "daring", "deft",   "eager", "early",
    "fair",   "fancy",  "fast",  "fine",    "fond",   "free",   "fresh", "gentle",
    "glad",   "golden", "grand", "happy",   "hardy",  "honest", "jolly", "keen",
    "kind",   "lively", "loyal", "lucid",   "lucky",  "mellow", "merry", "mild",
    "neat",   "nimble", "noble", "patient", "plain",  "polite", "proud", "quick",
    "quiet",  "rapid",  "ready", "sharp",   "silent", "smart",  "snug",  "solid",
    "steady", "stout",  "sunny", "swift",   "tidy",   "vivid",  "warm",  "wise"};
constexpr const char* BIRDS[] = {
    "auk",    "avocet", "bittern", "bunting", "condor", "coot",   "cormorant", "crake",
    "crane",  "crow",   "curlew",  "dipper",  "diver",  "dove",   "dunlin",    "eagle",
    "egret",  "eider",  "falcon",  "finch",   "fulmar", "gannet", "godwit",    "goose",
    "grebe",  "grouse", "gull",    "harrier", "hawk",   "heron",  "hobby",     "hoopoe",
    "ibis",   "jay",    "kestrel", "kite",    "knot",   "lark",   "linnet",    "magpie",
    "martin", "merlin", "osprey",  "ouzel",   "owl",    "petrel", "pipit",     "plover",
    "puffin", "quail",  "rail",    "raven",   "robin",  "rook",   "ruff",      "shrike",
    "siskin", "snipe",  "stork",   "swallow", "swan",   "teal",   "tern",      "wren"};
static_assert(std::size(MOODS) == 64 && std::size(BIRDS) == 64);

}  // namespace

void printWarnings(Output& out, capnp::List<capnp::Text>::Reader warnings) {
  for (auto warning : warnings) out.error(kj::str("warning: ", warning));
}

void addLogin(Context& context, kj::StringPtr image, schema::RegistryLogin::Builder login) {
  if (!context.args.on("--with-registry-auth") || findLogin(image, login)) return;
  context.out.error(kj::str("warning: there is no login for the registry of '", image,
                            "'; 'orch login' makes one"));
}

uint64_t verifyMs(const Arguments& args) {
  constexpr uint64_t DEFAULT_MS = 5000;
  constexpr uint64_t MOST_MS = 24ull * 3600 * 1000;
  return args.given("--verify") ? parseDurationMs("--verify", args.text("--verify"), MOST_MS)
                                : DEFAULT_MS;
}

bool hasAim(schema::Service::Reader service) {
  auto job = service.getJob();
  bool runs = job.getIteration() > 0 && job.getEndedAtNs() == 0;
  return service.getSpec().getSchedule().size() == 0 || runs;
}

Task<int> finishChange(Context& context, kj::Vector<Wait> waits) {
  context.out.flush();
  if (context.args.on("--detach")) co_return context.status;
  for (auto& wait : waits) {
    wait.quiet = context.out.json || context.args.on("--quiet");
    int result = co_await waitFor(context, kj::mv(wait));
    context.status = kj::max(context.status, result);
  }
  co_return context.status;
}

kj::String inventedName(uint64_t random) {
  return kj::str(MOODS[random % 64], "_", BIRDS[random / 64 % 64], random / 4096 % 100);
}

}  // namespace orch::cli
