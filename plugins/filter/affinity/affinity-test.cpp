#include "affinity.h"

#include <capnp/message.h>
#include <catch2/catch.hpp>

#include "orch/attempt.h"

namespace orch::filter::affinity {
namespace {

using Subject = schema::Rule::Subject;

struct Described {
  capnp::MallocMessageBuilder message;
  schema::Rule::Builder rule = message.initRoot<schema::Rule>();
  std::string error;

  explicit Described(kj::StringPtr text) {
    auto done = attemptNow([&] {
      auto expression = Expression::parse(text.cStr(), AFFINITY.dialect());
      AFFINITY.describe(text, expression, rule);
    });
    if (!done.ok()) error = done.message().cStr();
  }
};

TEST_CASE("affinity: what is equal is near, what is not is away", "[filter]") {
  CHECK(Described("service==web").rule.getSubject() == Subject::NEAR);
  CHECK(Described("image in (a, b)").rule.getSubject() == Subject::NEAR);
  CHECK(Described("service!=web").rule.getSubject() == Subject::AWAY);
  CHECK(Described("image not in (a, b)").rule.getSubject() == Subject::AWAY);
  CHECK(Described("labels.x not exists").rule.getSubject() == Subject::AWAY);
}

TEST_CASE("affinity: keys of services, and what to say of others", "[filter]") {
  Described all("service==a && image==b && labels.c==d && service.labels.e==f");
  REQUIRE(all.rule.getKeys().size() == 4);
  CHECK(all.rule.getKeys()[0] == "service.name");
  CHECK(all.rule.getKeys()[1] == "service.image");
  CHECK(all.rule.getKeys()[2] == "container.labels.c");
  CHECK(all.rule.getKeys()[3] == "service.labels.e");
  CHECK(Described("container==x").error ==
        "usage: the affinity 'container==x' has the unknown key 'container'; there are service, "
        "image, labels.KEY (of containers) and service.labels.KEY");
  CHECK(Described("service").error.find("the affinity 'service' expects one of ==") !=
        std::string::npos);
  CHECK(Described("service!=a && image==b").error.find("give each part an --affinity") !=
        std::string::npos);
}

}  // namespace
}  // namespace orch::filter::affinity
