#include "orch/conformance/leg-conformance.h"

#include <errno.h>
#include <kj/debug.h>
#include <net/if.h>
#include <poll.h>

#include <tuple>

#include "calls.h"
#include "orch/attempt.h"
#include "orch/testing/sockets.h"

namespace orch::conformance {

namespace {

using testing::connectTo;
using testing::socketIn;

constexpr uint16_t PORT = 8080;
const Net RED{"red", 4097};
const Net BLUE{"blue", 4098};
const Mate ONE{"red", "one", "web", "10.0.1.11", 0};
const Mate TWO{"red", "two", "web", "10.0.1.12", 1};
const Mate THREE{"red", "three", "web", "10.0.1.13", 0};
const News NEWS{{RED}, {ONE, TWO, THREE}};

// One check's view of the subject.
class LegSteps final {
 public:
  explicit LegSteps(LegSubject& subject) : subject(subject) {}

  void plugMate(const Mate& mate, const std::string& device = "eth1") {
    plug(subject, mate.host, mate.network, mate.taskId, mate.address, device);
  }
  kj::Promise<void> plugMateLater(const Mate& mate) {
    return plugCall(subject, mate.host, mate.network, mate.taskId, mate.address)
        .send()
        .ignoreResult();
  }
  kj::Promise<void> unplugMateLater(const Mate& mate) {
    return unplugLater(subject, mate.host, mate.network, mate.taskId);
  }
  void unplugMate(const Mate& mate) { unplugMateLater(mate).wait(scope()); }
  void restart(int host) {
    subject.crash(host);
    subject.run(host);
  }
  // Both ways.
  void requireReach(const Mate& one, const Mate& two, kj::StringPtr what) {
    auto here = subject.namespaceOf(one.taskId), there = subject.namespaceOf(two.taskId);
    for (auto& [from, to, address] :
         {std::tuple(here, there, two.address), std::tuple(there, here, one.address)}) {
      KJ_REQUIRE(testing::reaches(from, to, address), what, address.c_str());
      auto used = subject.used(address);  // networks with IPv6 have both
      KJ_REQUIRE(testing::reaches(from, to, used), what, used.c_str());
    }
  }
  // 0: there is none.
  unsigned indexOf(const Mate& mate, const char* device) {
    unsigned index = 0;
    testing::insideOf(subject.namespaceOf(mate.taskId), [&] { index = if_nametoindex(device); });
    return index;
  }
  bool hasDevice(const Mate& mate, const char* device) { return indexOf(mate, device) != 0; }
  // It goes with its other end, by the system and a little later.
  void untilNoDevice(const Mate& mate, const char* device, kj::StringPtr what) {
    for (int waitedMs = 0; hasDevice(mate, device); ++waitedMs) {
      KJ_REQUIRE(waitedMs < testing::PATIENCE_MS, what, device);
      poll(nullptr, 0, 1);
    }
  }
  kj::WaitScope& scope() { return subject.waitScope(); }

 private:
  LegSubject& subject;
};

// A connection that is open, and has to stay so.
struct OpenLeg {
  OpenLeg(LegSubject& subject, const Mate& from, const Mate& to) {
    auto server = testing::serverIn(subject.namespaceOf(to.taskId), PORT, false, subject.ipv6);
    client = socketIn(subject.namespaceOf(from.taskId), false, subject.ipv6);
    int error = connectTo(client, subject.used(to.address), PORT);
    KJ_REQUIRE(error == 0, "tasks of a network reach each other", error);
    peer = testing::acceptFrom(server);
    KJ_REQUIRE(peer.address == subject.used(from.address), "a task sees the other's address",
               peer.address.c_str());
    require("a connection carries messages both ways");
  }
  void require(kj::StringPtr what) { KJ_REQUIRE(testing::talk(client, peer.fd), what); }
  kj::AutoCloseFd client;
  testing::Accepted peer;
};

// ---- legs ---------------------------------------------------------------------------------------

void tasksOfHostsReachEachOther(LegSubject& subject) {
  LegSteps steps(subject);
  tellAll(subject, NEWS);
  for (auto& mate : {ONE, TWO, THREE}) steps.plugMate(mate);
  steps.requireReach(ONE, TWO, "tasks of two hosts reach each other");
  steps.requireReach(ONE, THREE, "tasks of one host reach each other");
  OpenLeg(subject, ONE, TWO);
  auto path = subject.namespaceOf("one");
  KJ_REQUIRE(steps.hasDevice(ONE, "eth1"), "the leg's device has the name that was asked for");
  auto gateway = subject.used("10.0.1.1");
  KJ_REQUIRE(connectTo(socketIn(path, false, subject.ipv6), gateway, PORT) == ECONNREFUSED,
             "the gateway is there");
  KJ_REQUIRE(connectTo(socketIn(path, true), SOMEWHERE, PORT) == ENETUNREACH,
             "a leg has a route to its network, and no other");
  subject.untilOnly(0, {"red one", "red three"});
  subject.untilOnly(1, {"red two"});
}

void doneAlreadyIsDone(LegSubject& subject) {
  LegSteps steps(subject);
  for (int again = 0; again < 2; ++again) {
    tellAll(subject, NEWS);
    steps.plugMate(ONE);
    steps.plugMate(TWO);
  }
  OpenLeg open(subject, ONE, TWO);
  auto device = steps.indexOf(ONE, "eth1");
  tellAll(subject, NEWS);
  steps.plugMate(ONE);
  open.require("what is done already changes nothing");
  KJ_REQUIRE(steps.indexOf(ONE, "eth1") == device, "what is done already changes nothing");
  for (int again = 0; again < 2; ++again) {
    steps.unplugMate(ONE);
    steps.unplugMate(TWO);
  }
  steps.unplugMate({"red", "never-there", "", "", 0});
  steps.unplugMate({"unknown", "one", "", "", 0});
  for (int host = 0; host < 2; ++host) subject.untilOnly(host, {});
  steps.plugMate(ONE);
  steps.plugMate(TWO);
  steps.requireReach(ONE, TWO, "who is plugged again is reached again");
  steps.unplugMate(ONE);
  steps.untilNoDevice(ONE, "eth1", "an unplug takes the device away");
}

void networksDoNotMeet(LegSubject& subject) {
  LegSteps steps(subject);
  Mate blueOne{"blue", "one", "web", "10.0.1.21", 0},
      blueTwo{"blue", "four", "web", "10.0.1.12", 1};
  tellAll(subject, {{RED, BLUE}, {ONE, TWO, {"blue", "five", "web", "10.0.1.11", 0}, blueTwo}});
  for (auto& mate : {ONE, TWO, blueTwo, Mate{"blue", "five", "web", "10.0.1.11", 0}}) {
    steps.plugMate(mate);
  }
  auto red = testing::serverIn(subject.namespaceOf("two"), PORT, false, subject.ipv6);
  auto blue = testing::serverIn(subject.namespaceOf("four"), PORT, false, subject.ipv6);
  for (auto& from : {"one", "five"}) {
    auto client = socketIn(subject.namespaceOf(from), false, subject.ipv6);
    KJ_REQUIRE(connectTo(client, subject.used("10.0.1.12"), PORT) == 0,
               "tasks of a network reach each other");
    int reached = testing::readyOf({red, blue});
    KJ_REQUIRE(reached == (from == std::string("one") ? 0 : 1),
               "networks with the same addresses do not meet", from, reached);
    testing::acceptFrom(reached == 0 ? red : blue);
  }
  steps.plugMate(blueOne, "eth2");
  KJ_REQUIRE(steps.hasDevice(ONE, "eth1") && steps.hasDevice(ONE, "eth2"),
             "a task has a leg in each of its networks");
  subject.untilOnly(0, {"blue five", "blue one", "red one"});
  steps.unplugMate(ONE);
  steps.untilNoDevice(ONE, "eth1", "an unplug takes the device away");
  KJ_REQUIRE(steps.hasDevice(ONE, "eth2"), "an unplug leaves the task's other legs");
  subject.untilOnly(0, {"blue five", "blue one"});
}

void refusesWhatCannotBe(LegSubject& subject) {
  LegSteps steps(subject);
  requireRefused(steps.scope(), "a network that nobody has told of", "red",
                 steps.plugMateLater(ONE));
  subject.untilOnly(0, {});
  tellAll(subject, NEWS);
  steps.plugMate(ONE);
  OpenLeg open(subject, ONE, ONE);
  auto refused = [&](kj::StringPtr what, kj::StringPtr named,
                     kj::FunctionParam<void(schema::LegRequest::Builder)> change) {
    auto call = plugCall(subject, 0, "red", "three", "10.0.1.13");
    change(call.getLeg());
    requireRefused(steps.scope(), what, named, call.send().ignoreResult());
    subject.untilOnly(0, {"red one"});
  };
  for (auto id : badIds()) {
    refused(kj::str("the network's id '", id, "'"), id, [&](auto leg) { leg.setNetwork(id); });
    refused(kj::str("the task's id '", id, "'"), id, [&](auto leg) { leg.setTaskId(id); });
    steps.unplugMate({id.cStr(), "one", "", "", 0});
    steps.unplugMate({"red", id.cStr(), "", "", 0});
  }
  for (auto device : {"", "sixteen-letters-", "lo"}) {
    refused(kj::str("the device '", device, "'"), device, [&](auto leg) { leg.setDevice(device); });
  }
  for (auto address : {"", "10.0.1.13", "10.0.1.13/33", "10.0.1.13/", "10.0.1.x/24", "/24"}) {
    refused(kj::str("the address '", address, "'"), address,
            [&](auto leg) { leg.setAddress(address); });
  }
  refused("a namespace that is not there", "red",
          [&](auto leg) { leg.setNamespacePath("/nowhere/at-all"); });
  News bad = NEWS;
  bad.peers.push_back({"red", "four", "web", "no address", 1});
  bad.gonePeers.push_back(ONE);
  auto outcome = attemptNow([&] { tell(subject, 0, bad); });
  KJ_REQUIRE(!outcome.ok(), "was not refused: a peer without an address");
  open.require("what is refused changes nothing");
  subject.untilOnly(0, {"red one"});
}

void peersAreFollowed(LegSubject& subject) {
  LegSteps steps(subject);
  tellAll(subject, NEWS);
  steps.plugMate(ONE);
  steps.plugMate(TWO);
  steps.requireReach(ONE, TWO, "tasks of two hosts reach each other");
  // Its address goes to another task, on the other host.
  Mate here{"red", "four", "web", TWO.address, 0};
  steps.unplugMate(TWO);
  steps.plugMate(here);
  tellAll(subject, {{}, {here}, {}, false, {TWO}});
  steps.requireReach(ONE, here, "an address that goes from one host to another is followed");
  Mate back{"red", "five", "web", TWO.address, 1};
  steps.unplugMate(here);
  steps.plugMate(back);
  tellAll(subject, {{}, {back}, {}, false, {here}});
  steps.requireReach(ONE, back, "an address that goes from one host to another is followed");
}

void goneNetworksLeaveNothing(LegSubject& subject) {
  LegSteps steps(subject);
  for (bool complete : {true, false}) {
    tellAll(subject, NEWS);
    steps.plugMate(ONE);
    steps.plugMate(THREE);
    News gone{{}, {}, {}, complete};
    if (!complete) gone.goneNetworks = {"red"};
    tell(subject, 0, gone);
    subject.untilOnly(0, {});
    steps.untilNoDevice(ONE, "eth1", "a network goes with all that is in it");
    requireRefused(steps.scope(), "a network that is gone", "red", steps.plugMateLater(ONE));
  }
}

// ---- after a crash ------------------------------------------------------------------------------

void retainKeepsLegs(LegSubject& subject) {
  LegSteps steps(subject);
  for (bool toldFirst : {false, true}) {
    tellAll(subject, NEWS);
    for (auto& mate : {ONE, TWO, THREE}) steps.plugMate(mate);
    OpenLeg open(subject, ONE, TWO);
    subject.crash(0);
    open.require("tasks go on talking without the plugin");
    subject.run(0);
    if (toldFirst) tell(subject, 0, NEWS);
    retain(subject, 0, {"one", "unknown"});
    open.require("tasks that are kept go on talking");
    subject.untilOnly(0, {"red one"});
    steps.untilNoDevice(THREE, "eth1", "the legs of all others are taken away");
    if (!toldFirst) tell(subject, 0, NEWS);
    steps.plugMate(ONE);
    steps.plugMate(THREE);
    open.require("who has a leg after a restart is plugged already");
    steps.requireReach(THREE, TWO, "after a restart others are plugged as before");
    retain(subject, 0, {});
    subject.untilOnly(0, {});
  }
}

void lostNamespacesAreGivenUp(LegSubject& subject) {
  LegSteps steps(subject);
  tellAll(subject, NEWS);
  steps.plugMate(ONE);
  steps.plugMate(THREE);
  subject.endNamespace("one");
  steps.unplugMate(ONE);
  subject.untilOnly(0, {"red three"});
  subject.crash(0);
  subject.endNamespace("three");
  subject.run(0);
  tell(subject, 0, NEWS);
  retain(subject, 0, {"three"});
  subject.untilOnly(0, {});
}

void crashMidwayLeavesWholeLegs(LegSubject& subject) {
  if (!subject.crashesMidway()) return;
  constexpr int MATES = 4;
  LegSteps steps(subject);
  News news = NEWS;
  std::vector<Mate> mates;
  for (int i = 0; i < MATES; ++i) {
    auto id = std::to_string(i);
    mates.push_back({"red", "task" + id, "web", "10.0.1.3" + id, 0});
    news.peers.push_back(mates.back());
  }
  tell(subject, 1, news);
  steps.plugMate(TWO);
  for (int answered = 0; answered <= MATES; ++answered) {
    for (bool plugged : {false, true}) {
      tell(subject, 0, news);
      for (auto& mate : mates) {
        if (plugged) steps.plugMate(mate);
      }
      kj::Vector<kj::Promise<void>> calls;
      for (auto& mate : mates) {
        auto call = plugged ? steps.unplugMateLater(mate) : steps.plugMateLater(mate);
        calls.add(call.eagerlyEvaluate(nullptr));
      }
      subject.driver(0).routesRequest().send().wait(steps.scope());
      for (int i = 0; i < answered; ++i) calls[i].wait(steps.scope());
      steps.restart(0);
      retain(subject, 0, {"task0", "task1"});
      tell(subject, 0, news);
      steps.plugMate(mates[0]);
      steps.requireReach(mates[0], TWO, "after a crash a leg is plugged as ever");
      retain(subject, 0, {});
      subject.untilOnly(0, {});
    }
  }
}

void droppedCallsLeaveNoLegs(LegSubject& subject) {
  LegSteps steps(subject);
  tellAll(subject, NEWS);
  steps.plugMate(THREE);
  steps.plugMate(TWO);
  OpenLeg open(subject, THREE, TWO);
  for (int moment = 0; moment < MOMENTS; ++moment) {
    auto drop = [&](kj::Promise<void> call) { dropAt(moment, steps.scope(), kj::mv(call)); };
    drop(steps.plugMateLater(ONE));
    steps.unplugMate(ONE);
    subject.untilOnly(0, {"red three"});
    drop(steps.plugMateLater(ONE));
    steps.plugMate(ONE);
    steps.requireReach(ONE, TWO, "who is plugged twice, once for nobody, is reached");
    drop(steps.unplugMateLater(ONE));
    steps.plugMate(ONE);
    steps.requireReach(ONE, TWO, "who is plugged behind an unplug is reached");
    drop(steps.unplugMateLater(ONE));
    steps.unplugMate(ONE);
    subject.untilOnly(0, {"red three"});
    open.require("a call for one task changed another's leg");
  }
}

// ---- questions ----------------------------------------------------------------------------------

void checkAgreesWithNews(LegSubject& subject) {
  LegSteps steps(subject);
  tellAll(subject, {{RED, BLUE}, NEWS.peers, {{"red", "web", "10.0.1.2"}}});
  steps.plugMate(ONE);
  steps.plugMate({"blue", "four", "web", "10.0.1.11", 0});
  auto look = [&](kj::StringPtr network, std::vector<std::string> members) {
    auto call = subject.driver(0).checkRequest();
    call.setNetwork(network);
    auto answer = call.send().wait(steps.scope());
    if (answer.getFindings().size() > 0) {
      KJ_FAIL_REQUIRE("something is found where nobody changed anything", answer.getFindings()[0]);
    }
    std::vector<std::string> told;
    for (auto one : answer.getMembers()) {
      told.push_back(kj::str(one.getNetwork(), " ", one.getId()).cStr());
    }
    KJ_REQUIRE(told == members, "`members` are who has a leg", network, told.size());
    return answer.getThings();
  };
  auto all = look("", {"blue four", "red one"});
  auto red = look("red", {"red one"});
  KJ_REQUIRE(red > 0 && red < all, "`things` counts those of the networks that were asked for");
  look("unknown", {});
  auto answer = subject.driver(0).routesRequest().send().wait(steps.scope());
  for (auto route : answer.getRoutes()) {
    KJ_REQUIRE(route.findFirst('/') != nullptr, "`routes` are as 10.0.0.0/8", route);
  }
}

const LegCheck LEG_CHECKS[] = {
    {"tasks of one host, and of two, reach each other", tasksOfHostsReachEachOther},
    {"what is done already is done", doneAlreadyIsDone},
    {"networks with the same addresses do not meet", networksDoNotMeet},
    {"what cannot be is refused and changes nothing", refusesWhatCannotBe},
    {"an address that goes from one host to another is followed", peersAreFollowed},
    {"a network that is gone leaves nothing", goneNetworksLeaveNothing},
    {"after a crash those legs are kept whose tasks are named", retainKeepsLegs},
    {"a task whose namespace has ended is given up", lostNamespacesAreGivenUp},
    {"a run that ended anywhere leaves nothing that stays", crashMidwayLeavesWholeLegs},
    {"a call that nobody waits for leaves no leg behind", droppedCallsLeaveNoLegs},
    {"a check finds nothing where nobody changed anything", checkAgreesWithNews},
};

}  // namespace

kj::ArrayPtr<const LegCheck> legChecks() { return LEG_CHECKS; }

}  // namespace orch::conformance
