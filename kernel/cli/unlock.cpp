// unlock and unlock-key.
#include "unlock.h"

#include <unistd.h>

#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "hidden-input.h"
#include "orch/trust/lock-box.h"
#include "output.h"

namespace orch::cli {

namespace {

constexpr Option KEY_OPTIONS[] = {
    {"-q,--quiet", nullptr, "Print the key alone"},
    {"--rotate", nullptr,
     "Make another key: managers that start again wait for that one from now on"},
};

std::string askForKey(Context& context) {
  if (!isatty(STDIN_FILENO)) return readInput("the unlock key", false);
  HiddenTyping hidden;
  context.out.toErrors("Enter unlock key: "_kj);
  return readInput("the unlock key", true);
}

Task<int> unlock(Context& context) {
  auto key = trust::parseUnlockKey(askForKey(context));
  auto service = co_await context.connection.trust();
  auto request = service.unlockRequest();
  request.setKey(kj::arrayPtr(reinterpret_cast<const kj::byte*>(key.data()), key.size()));
  co_await request.send().ignoreResult();
  context.out.line("This manager is unlocked.");
  co_return 0;
}

Task<int> unlockKey(Context& context) {
  auto requestId = context.env.newId();
  bool rotates = context.args.on("--rotate");
  auto answer = co_await context.connection.change<schema::ClusterControl::UnlockKeyResults>(
      [&](schema::ClusterControl::Client& cluster) {
        auto request = cluster.unlockKeyRequest();
        request.setRequestId(requestId);
        request.setRotate(rotates);
        return request.send();
      },
      "whether there is another key is unknown: look with 'orch unlock-key'");
  schema::ClusterControl::UnlockKeyResults::Reader found = answer;
  if (context.out.wroteJson(capnp::toDynamic(found))) co_return 0;
  if (found.getKey().size() == 0) {
    context.out.error(
        "managers are not locked when they start again; 'orch cluster update --autolock=true' "
        "locks them");
    co_return 1;
  }
  if (context.args.on("--quiet")) {
    context.out.line(found.getKey());
  } else {
    if (rotates) context.out.line("There is another unlock key from now on.");
    printUnlockKey(context.out, found.getKey());
  }
  co_return 0;
}

}  // namespace

void printUnlockKey(Output& out, kj::StringPtr key) {
  if (key.size() == 0) return;
  out.line();
  out.line("A manager that starts again waits for 'orch unlock' with this key:");
  out.line();
  out.line("    ", key);
  out.line();
  out.line("Keep it in a safe place: without it, no manager can be started again.");
}

const Command UNLOCK = {"unlock", "", "Let a locked manager go on, with the key that is asked for",
                        nullptr, unlock};
const Command UNLOCK_KEY = {"unlock-key", "",
                            "Show the key that managers which start again wait for", KEY_OPTIONS,
                            unlockKey};

}  // namespace orch::cli
