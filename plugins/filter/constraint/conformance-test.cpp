#include "config.capnp.h"
#include "lib/testing/filter-promises.h"

namespace orch::filter::constraint {
namespace {

const conformance::FilterTable TABLE = {
    .cases = {{"node.role==worker", {"worker"}, true},
              {"node.role==worker", {"Worker"}, true},
              {"node.role!=worker", {"worker"}, false},
              {"node.labels.zone in (a, b*)", {"b2"}, true},
              {"node.labels.zone in (a, b*)", {"c"}, false},
              {"node.labels.zone==/^eu-(west|north)$/", {"eu-north"}, true},
              {"node.labels.zone not exists", {""}, true},
              {"node.labels.zone exists", {""}, false},
              {"node.ip==10.0.0.0/8 && node.cpus > 2", {"10.1.2.3", "4"}, true},
              {"node.ip==10.0.0.0/8 && node.cpus > 2", {"10.1.2.3", "2"}, false},
              {"node.memory >= 16g || node.labels.a==b || node.memory==1", {"1g", "b"}, true}},
    .refused = {"", "node.role", "node.role==", "node.role==/(/", "(node.role==worker", "=="}};

TEST_CASE("constraint: keeps the promises of a filter in both isolations", "[filter]") {
  checkPromises<Config>("filter.constraint", TABLE);
}

}  // namespace
}  // namespace orch::filter::constraint
