#include "config.capnp.h"
#include "lib/testing/strategy-promises.h"

namespace orch::scheduler::spread {
namespace {

TEST_CASE("spread: keeps the promises of a scheduler in both isolations", "[scheduler]") {
  checkPromises<Config>("scheduler.spread");
}

}  // namespace
}  // namespace orch::scheduler::spread
