#include "config.capnp.h"
#include "lib/testing/filter-promises.h"

namespace orch::filter::affinity {
namespace {

const conformance::FilterTable TABLE = {
    .cases = {{"service==web", {"web"}, true},
              {"service==web", {"db"}, false},
              {"service!=web", {"web"}, true},
              {"service!=web", {"db"}, false},
              {"service in (web, db*)", {"db2"}, true},
              {"image!=redis", {"redis:7"}, true},
              {"image==redis:7", {"redis:7@sha256:0123"}, true},
              {"image==registry:5000/a/redis", {"registry:5000/a/redis"}, true},
              {"image==registry", {"registry:5000/a/redis"}, false},
              {"labels.tier exists", {"front"}, true},
              {"labels.tier not exists", {""}, false},
              {"service.labels.a==b || service==c", {"x", "c"}, true}},
    .refused = {"", "service", "service==", "container==x", "labels.==x", "service!=a && image==b",
                "(service!=a || labels.x not in (b, c))"}};

TEST_CASE("affinity: keeps the promises of a filter in both isolations", "[filter]") {
  checkPromises<Config>("filter.affinity", TABLE);
}

}  // namespace
}  // namespace orch::filter::affinity
