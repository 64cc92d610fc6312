#include "config.capnp.h"
#include "lib/testing/strategy-promises.h"

namespace orch::scheduler::random {
namespace {

TEST_CASE("random: keeps the promises of a scheduler in both isolations", "[scheduler]") {
  checkPromises<Config>("scheduler.random");
}

}  // namespace
}  // namespace orch::scheduler::random
