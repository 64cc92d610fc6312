#include "config.capnp.h"
#include "lib/testing/strategy-promises.h"

namespace orch::scheduler::binpack {
namespace {

TEST_CASE("binpack: keeps the promises of a scheduler in both isolations", "[scheduler]") {
  checkPromises<Config>("scheduler.binpack");
}

}  // namespace
}  // namespace orch::scheduler::binpack
