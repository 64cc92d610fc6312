// Joining a cluster whose manager stands at a port of this test: what is wrong is found before the
// manager is asked.
#include "kernel/trust/join.h"

#include <catch2/catch.hpp>

#include "kernel/rpc/peer-gateway.h"
#include "kernel/trust/peer-listener.h"
#include "orch/attempt.h"
#include "orch/testing/held-time.h"
#include "orch/testing/test-authority.h"

namespace orch::trust {
namespace {

// The same world by a clock of its own.
class OtherClock final : public testing::EnvAround, private kj::Clock {
 public:
  using EnvAround::EnvAround;
  kj::Duration ahead = 0 * kj::SECONDS;

  const kj::Clock& clock() override { return *this; }
  kj::Date now() const override { return real.clock().now() + ahead; }
};

class CountingJoin final : public schema::Join::Server {
 public:
  CountingJoin(testing::TestAuthority& authority, uint32_t& asked)
      : authority(authority), asked(asked) {}
  kj::Promise<void> join(JoinContext context) override {
    ++asked;
    auto params = context.getParams();
    if (params.getSecret() != "secret") fail(kj::str("the token is not valid"));
    auto certificate = authority.sign(params.getRequest().cStr(), "orch-worker", "node1");
    context.getResults().setCertificate(certificate.c_str());
    return kj::READY_NOW;
  }

 private:
  testing::TestAuthority& authority;
  uint32_t& asked;
};

class JoinGateway final : public schema::Gateway::Server {
 public:
  explicit JoinGateway(schema::Join::Client join) : join(kj::mv(join)) {}
  kj::Promise<void> service(ServiceContext context) override {
    context.getResults().setCapability(join);
    return kj::READY_NOW;
  }

 private:
  schema::Join::Client join;
};

struct JoinFixture {
  explicit JoinFixture(kj::StringPtr name)
      : folder(name),
        io(kj::setupAsyncIo()),
        env(newSystemEnv(io)),
        here(*env),
        logger("kernel", schema::LogLevel::ERROR),
        refusals(*env, logger),
        authority(folder, "own"),
        listener(*env, refusals, shown(), [this](schema::Peer::Reader) {
          return kj::heap<JoinGateway>(kj::heap<CountingJoin>(authority, asked));
        }) {
    listener.open(kj::str("127.0.0.1:0")).wait(io.waitScope);
  }
  Shown shown() {
    auto keys = newKeyRequest();
    return {{authority.certificate(), "", ""},
            authority.sign(keys.request, "orch-manager", "n1", "manager.orch"),
            keys.key};
  }
  kj::String token(kj::StringPtr secret = "secret") {
    return kj::str("ORCHTKN-1-", digestOf(authority.certificate()).c_str(), "-", secret);
  }
  // Why it was refused, or what it is now.
  std::string join(kj::String token, Addresses own = {"127.0.0.1:0", ""}) {
    auto at = kj::str("127.0.0.1:", listener.port());
    auto joining = joinCluster(here, kj::mv(token), {at.cStr()}, kj::mv(own));
    auto joined = attempt(kj::mv(joining)).wait(io.waitScope);
    if (!joined.ok()) return joined.message().cStr();
    return holderOf(joined.value().certificate).id;
  }

  testing::TestFolder folder;
  kj::AsyncIoContext io;
  kj::Own<Env> env;
  OtherClock here;
  log::Logger logger;
  log::Refusals refusals;
  testing::TestAuthority authority;
  uint32_t asked = 0;
  PeerListener listener;
};

TEST_CASE("join: a token becomes a certificate", "[trust]") {
  JoinFixture f("join");
  CHECK(f.join(f.token()) == "node1");
  CHECK(f.asked == 1);
  CHECK_THAT(f.join(f.token("other")), Catch::EndsWith("': the token is not valid"));
}

TEST_CASE("join: what is wrong here is found before a manager is asked", "[trust]") {
  JoinFixture f("join-wrong");
  constexpr auto YEAR = 365 * kj::DAYS;
  f.here.ahead = YEAR;
  CHECK_THAT(f.join(f.token()), Catch::Contains("the authority of the cluster has expired at ") &&
                                    Catch::EndsWith("; is the clock right?"));
  f.here.ahead = 0 * kj::SECONDS - YEAR;
  CHECK_THAT(f.join(f.token()),
             Catch::Contains("the authority of the cluster is not valid before "));
  f.here.ahead = 0 * kj::SECONDS;
  auto taken = kj::str("127.0.0.1:", f.listener.port());
  for (auto& own : {Addresses{taken.cStr(), ""}, Addresses{"127.0.0.1:0", taken.cStr()}}) {
    CHECK_THAT(f.join(f.token(), own),
               Catch::Contains(kj::str("cannot listen at '", taken,
                                       "': Address already in use; is another program using")
                                   .cStr()));
  }
  CHECK_THAT(f.join(f.token(), {"192.0.2.1", ""}),
             Catch::Contains("cannot listen at '192.0.2.1:2377': Cannot assign requested address"));
  auto other = kj::str("ORCHTKN-1-", std::string(64, '0').c_str(), "-secret");
  CHECK_THAT(f.join(kj::mv(other)),
             Catch::EndsWith("it is of another cluster than the token, or its authority has been "
                             "replaced since; nothing was sent to it"));
  CHECK(f.asked == 0);
}

}  // namespace
}  // namespace orch::trust
