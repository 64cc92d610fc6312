#include "orch/conformance/network-conformance.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <kj/debug.h>
#include <net/if.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <utility>

#include "calls.h"
#include "orch/testing/sockets.h"

namespace orch::conformance {

namespace {

using testing::acceptFrom;
using testing::connectTo;
using testing::serverIn;
using testing::socketIn;
using Ids = std::vector<std::string>;

constexpr uint16_t SERVED_PORT = 8080;
// A task's end as it was answered.
struct Attached {
  std::string taskId;
  std::string path;
  std::string address;
  std::string gateway;
  bool operator==(const Attached&) const = default;
};

Attached attachedOf(schema::Endpoint::Reader endpoint) {
  return {endpoint.getTaskId().cStr(), endpoint.getNamespacePath().cStr(),
          endpoint.getAddress().cStr(), endpoint.getGateway().cStr()};
}

// One check's view of the subject.
class NodeSteps final {
 public:
  explicit NodeSteps(NetworkSubject& subject) : subject(subject) {}

  kj::Promise<Attached> attachLater(kj::StringPtr taskId) {
    auto call = subject.driver().attachRequest();
    call.setTaskId(taskId);
    return call.send().then([](auto&& answer) { return attachedOf(answer.getEndpoint()); });
  }
  Attached attach(const std::string& taskId) { return attachLater(taskId.c_str()).wait(scope()); }
  kj::Promise<void> attachOnly(kj::StringPtr taskId) { return attachLater(taskId).ignoreResult(); }
  kj::Promise<void> detachLater(kj::StringPtr taskId) {
    auto call = subject.driver().detachRequest();
    call.setTaskId(taskId);
    return call.send().ignoreResult();
  }
  void detach(const std::string& taskId) { detachLater(taskId.c_str()).wait(scope()); }
  // By id.
  std::vector<Attached> retain(const Ids& taskIds) {
    auto call = subject.driver().retainRequest();
    auto list = call.initTaskIds(taskIds.size());
    for (size_t i = 0; i < taskIds.size(); ++i) list.set(i, taskIds[i].c_str());
    auto answer = call.send().wait(scope());
    std::vector<Attached> kept;
    for (auto endpoint : answer.getEndpoints()) kept.push_back(attachedOf(endpoint));
    std::sort(kept.begin(), kept.end(),
              [](auto& one, auto& other) { return one.taskId < other.taskId; });
    return kept;
  }
  capnp::Response<schema::NetworkDriver::InfoResults> info() {
    return subject.driver().infoRequest().send().wait(scope());
  }
  uint32_t drain(const std::string& taskId) {
    auto call = subject.driver().drainRequest();
    call.setTaskId(taskId.c_str());
    return call.send().wait(scope()).getOpen();
  }
  void restart() {
    subject.crash();
    subject.run();
  }
  // The node and the plugin's figures have these tasks and no other.
  void requireOnly(const Ids& taskIds) {
    subject.untilOnly(taskIds);
    auto used = info().getUsed();
    KJ_REQUIRE(used == taskIds.size(), "`used` is not how many addresses tasks have", used,
               taskIds.size());
  }
  kj::WaitScope& scope() { return subject.waitScope(); }

 private:
  NetworkSubject& subject;
};

// Both ways, TCP and UDP, with the tasks' own addresses.
void requireReach(const Attached& from, const Attached& to) {
  auto server = serverIn(to.path, SERVED_PORT);
  auto client = socketIn(from.path);
  int error = connectTo(client, to.address, SERVED_PORT);
  KJ_REQUIRE(error == 0 && testing::readyOf({server}) == 0,
             "tasks of a network reach each other, by TCP", from.address.c_str(),
             to.address.c_str(), error);
  auto peer = acceptFrom(server);
  KJ_REQUIRE(peer.address == from.address, "a task sees the other's address", peer.address.c_str(),
             from.address.c_str());
  KJ_REQUIRE(testing::talk(client, peer.fd), "a connection carries messages both ways");
  auto udpServer = serverIn(to.path, SERVED_PORT, true);
  auto udpClient = socketIn(from.path, true);
  KJ_REQUIRE(connectTo(udpClient, to.address, SERVED_PORT) == 0);
  auto asked = testing::askUdp(udpClient, {udpServer});
  KJ_REQUIRE(asked.server == 0, "tasks of a network reach each other, by UDP", to.address.c_str());
  KJ_REQUIRE(asked.address == from.address, "a task sees the other's address",
             asked.address.c_str());
}

// A connection that is open, and has to stay so.
struct Open {
  Open(const Attached& from, const Attached& to) {
    auto server = serverIn(to.path, SERVED_PORT);
    client = socketIn(from.path);
    KJ_REQUIRE(connectTo(client, to.address, SERVED_PORT) == 0);
    peer = acceptFrom(server).fd;
    require("a connection carries messages both ways");
  }
  void require(kj::StringPtr what) { KJ_REQUIRE(testing::talk(client, peer), what); }
  kj::AutoCloseFd client;
  kj::AutoCloseFd peer;
};

struct Device {
  std::string name;
  std::string address;
  bool operator==(const Device&) const = default;
};

// Those that are up and have an address, without lo; and whether that is up.
std::vector<Device> devicesIn(const std::string& path, bool& hasLoopback) {
  std::vector<Device> devices;
  hasLoopback = false;
  testing::insideOf(path, [&] {
    ifaddrs* list = nullptr;
    KJ_SYSCALL(getifaddrs(&list));
    KJ_DEFER(freeifaddrs(list));
    for (auto* one = list; one != nullptr; one = one->ifa_next) {
      bool isIpv4 = one->ifa_addr != nullptr && one->ifa_addr->sa_family == AF_INET;
      if (!isIpv4 || (one->ifa_flags & IFF_UP) == 0) continue;
      if (one->ifa_flags & IFF_LOOPBACK) {
        hasLoopback = true;
        continue;
      }
      char text[INET_ADDRSTRLEN];
      auto* address = &reinterpret_cast<sockaddr_in*>(one->ifa_addr)->sin_addr;
      KJ_ASSERT(inet_ntop(AF_INET, address, text, sizeof(text)) != nullptr);
      devices.push_back({one->ifa_name, text});
    }
  });
  return devices;
}

// The numbers of the network's first address and of the one behind its last.
std::pair<uint32_t, uint64_t> rangeOf(kj::StringPtr subnet) {
  auto slash = KJ_REQUIRE_NONNULL(subnet.findFirst('/'), "`subnet` is as in 10.0.1.0/24", subnet);
  auto address = testing::socketAddressOf(kj::str(subnet.slice(0, slash)).cStr(), 0);
  auto prefix = subnet.slice(slash + 1).parseAs<uint32_t>();
  KJ_REQUIRE(prefix <= 32, "`subnet` is as in 10.0.1.0/24", subnet);
  auto first = ntohl(address.sin_addr.s_addr);
  return {first, first + (uint64_t(1) << (32 - prefix))};
}

bool isIn(kj::StringPtr subnet, const std::string& address) {
  auto [first, end] = rangeOf(subnet);
  auto number = ntohl(testing::socketAddressOf(address, 0).sin_addr.s_addr);
  return number >= first && number < end;
}

Ids fillPool(NodeSteps& steps) {
  auto total = steps.info().getTotal();
  kj::Vector<kj::Promise<Attached>> all;
  Ids taskIds;
  for (uint32_t i = 0; i < total; ++i) {
    taskIds.push_back("task" + std::to_string(i));
    all.add(steps.attachLater(taskIds.back().c_str()));
  }
  std::set<std::string> addresses;
  for (auto& one : kj::joinPromises(all.releaseAsArray()).wait(steps.scope())) {
    addresses.insert(one.address);
  }
  KJ_REQUIRE(addresses.size() == total, "`total` tasks have as many addresses, attached at once");
  return taskIds;
}

// ---- what a task gets ---------------------------------------------------------------------------

void saysWhatItIs(NetworkSubject& subject) {
  NodeSteps steps(subject);
  auto info = steps.info();
  KJ_REQUIRE(info.getName().size() > 0 && info.getDriver().size() > 0,
             "it has a name and a driver");
  KJ_REQUIRE(isIn(info.getSubnet(), info.getGateway().cStr()), "the gateway is in the subnet");
  KJ_REQUIRE(info.getUsed() == 0, "nobody has an address before somebody was attached");
  KJ_REQUIRE(info.getTotal() >= NetworkSubject::LEAST_ADDRESSES &&
                 info.getTotal() <= NetworkSubject::MOST_ADDRESSES,
             "the subject's pool is not as it should be for this suite", info.getTotal());
  auto [first, end] = rangeOf(info.getSubnet());
  KJ_REQUIRE(info.getTotal() < end - first, "`total` does not count the gateway's address");
}

void attachGivesAll(NetworkSubject& subject) {
  NodeSteps steps(subject);
  auto one = steps.attach("one");
  auto info = steps.info();
  KJ_REQUIRE(one.taskId == "one", "the endpoint is the task's");
  KJ_REQUIRE(one.gateway == info.getGateway().cStr(), "the endpoint's gateway is the network's");
  KJ_REQUIRE(isIn(info.getSubnet(), one.address) && one.address != one.gateway,
             "the address is one of the subnet, and not the gateway's", one.address.c_str());
  bool hasLoopback;
  auto devices = devicesIn(one.path, hasLoopback);
  KJ_REQUIRE(hasLoopback, "lo is up in the task's namespace");
  KJ_REQUIRE(devices.size() == 1, "the namespace has one device beside lo", devices.size());
  KJ_REQUIRE(devices[0].address == one.address, "the device has the address that was answered",
             devices[0].address.c_str(), one.address.c_str());
  for (auto& address : {one.gateway, std::string(SOMEWHERE)}) {
    auto probe = socketIn(one.path, true);  // it asks for the route, and sends nothing
    int error = connectTo(probe, address, SERVED_PORT);
    KJ_REQUIRE(error == 0, "the namespace has routes to the network and to all else",
               address.c_str(), error);
  }
  steps.requireOnly({"one"});
}

void tasksReachEachOther(NetworkSubject& subject) {
  NodeSteps steps(subject);
  auto one = steps.attach("one"), two = steps.attach("two");
  KJ_REQUIRE(one.address != two.address && one.path != two.path, "each task has its own");
  requireReach(one, two);
  requireReach(two, one);
  requireReach(one, one);
}

void attachTwiceIsOnce(NetworkSubject& subject) {
  NodeSteps steps(subject);
  auto one = steps.attach("one"), two = steps.attach("two");
  Open open(one, two);
  KJ_REQUIRE(steps.attach("one") == one && steps.attach("two") == two,
             "who is attached is answered the same");
  open.require("an attach of who is attached changes nothing");
  steps.requireOnly({"one", "two"});
}

void detachTakesAllAway(NetworkSubject& subject) {
  NodeSteps steps(subject);
  auto one = steps.attach("one"), two = steps.attach("two");
  steps.detach("one");
  steps.requireOnly({"two"});
  KJ_REQUIRE(access(one.path.c_str(), F_OK) != 0, "the namespace's path is gone", one.path.c_str());
  steps.detach("one");
  steps.detach("never-there");
  requireReach(two, steps.attach("one"));
  steps.detach("two");
  steps.detach("one");
  steps.requireOnly({});
}

void refusesBadIds(NetworkSubject& subject) {
  NodeSteps steps(subject);
  auto one = steps.attach("one"), two = steps.attach("two");
  for (auto id : badIds()) {
    requireRefused(steps.scope(), kj::str("attach of '", id, "'"), id, steps.attachOnly(id));
    steps.detachLater(id).wait(steps.scope());
    steps.retain({"one", "two", id.cStr()});
  }
  steps.requireOnly({"one", "two"});
  requireReach(one, two);
}

void callsInTheirOrder(NetworkSubject& subject) {
  NodeSteps steps(subject);
  auto first = steps.attachLater("one");
  auto gone = steps.detachLater("one");
  auto second = steps.attachLater("one");
  first.wait(steps.scope());
  gone.wait(steps.scope());
  auto one = second.wait(steps.scope());
  steps.requireOnly({"one"});
  requireReach(one, steps.attach("two"));
  auto third = steps.attachLater("three");
  auto end = steps.detachLater("three");
  third.wait(steps.scope());
  end.wait(steps.scope());
  steps.requireOnly({"one", "two"});
}

void poolHasAnEnd(NetworkSubject& subject) {
  NodeSteps steps(subject);
  auto taskIds = fillPool(steps);
  steps.requireOnly(taskIds);
  auto known = steps.attach(taskIds[0]);
  auto name = kj::str(steps.info().getName());
  for (int again = 0; again < 2; ++again) {
    requireRefused(steps.scope(), "more tasks than addresses", name, steps.attachOnly("late"));
    steps.requireOnly(taskIds);
    steps.restart();
    KJ_REQUIRE(steps.attach(taskIds[0]) == known, "who is attached is answered the same");
  }
  auto given = steps.attach(taskIds[1]);
  steps.detach(taskIds[1]);
  auto late = steps.attach("late");
  KJ_REQUIRE(late.address == given.address, "an address that was given back is free again");
  requireReach(known, late);
  taskIds[1] = "late";
  steps.requireOnly(taskIds);
}

// ---- after a crash ------------------------------------------------------------------------------

void crashKeepsAll(NetworkSubject& subject) {
  NodeSteps steps(subject);
  auto one = steps.attach("one"), two = steps.attach("two");
  Open open(one, two);
  subject.crash();
  open.require("tasks go on talking without the plugin");
  subject.run();
  open.require("tasks go on talking when the plugin starts");
  steps.requireOnly({"one", "two"});
  auto three = steps.attach("three");
  KJ_REQUIRE(three.address != one.address && three.address != two.address,
             "after a restart nobody gets an address that a task has");
  KJ_REQUIRE(steps.attach("one") == one, "after a restart a task is answered as before");
  KJ_REQUIRE((steps.retain({"one", "three", "two"}) == std::vector<Attached>{one, three, two}),
             "`retain` answers what those have who are kept");
  open.require("tasks that are kept go on talking");
  requireReach(three, one);
}

void retainKeepsTheNamed(NetworkSubject& subject) {
  NodeSteps steps(subject);
  auto one = steps.attach("one"), two = steps.attach("two"), three = steps.attach("three");
  Open open(one, three);
  steps.restart();
  for (int again = 0; again < 2; ++again) {
    KJ_REQUIRE((steps.retain({"one", "three", "unknown"}) == std::vector<Attached>{one, three}),
               "`retain` answers those alone that are named and have something");
    steps.requireOnly({"one", "three"});
    open.require("tasks that are kept go on talking");
  }
  KJ_REQUIRE(access(two.path.c_str(), F_OK) != 0, "the namespace's path is gone", two.path.c_str());
  requireReach(one, steps.attach("two"));
  KJ_REQUIRE(steps.retain({}).empty(), "nobody is kept who is not named");
  steps.requireOnly({});
}

// ---- calls that nobody waits for ----------------------------------------------------------------

void droppedCallsLeaveNothing(NetworkSubject& subject) {
  NodeSteps steps(subject);
  auto other = steps.attach("other");
  for (int moment = 0; moment < MOMENTS; ++moment) {
    auto drop = [&](kj::Promise<void> call) { dropAt(moment, steps.scope(), kj::mv(call)); };
    drop(steps.attachOnly("one"));
    steps.detach("one");
    steps.requireOnly({"other"});
    drop(steps.attachOnly("one"));
    requireReach(other, steps.attach("one"));
    steps.requireOnly({"one", "other"});
    drop(steps.detachLater("one"));
    requireReach(other, steps.attach("one"));
    steps.requireOnly({"one", "other"});
    drop(steps.detachLater("one"));
    steps.detach("one");
    steps.requireOnly({"other"});
    KJ_REQUIRE(steps.attach("other") == other, "a call for one task changed another's endpoint");
  }
}

// Makes the calls for all tasks at once, and ends the run when so many of them are answered.
void crashAmong(NodeSteps& steps, const Ids& taskIds, size_t answered,
                kj::Promise<void> (NodeSteps::*call)(kj::StringPtr)) {
  kj::Vector<kj::Promise<void>> calls;
  for (auto& id : taskIds) {
    calls.add((steps.*call)(id.c_str()).eagerlyEvaluate(nullptr));
  }
  steps.info();  // when it has answered this it has heard of all of them
  if (answered > 0) calls[answered - 1].wait(steps.scope());
  steps.restart();
}

void crashMidwayLeavesWholeOrNothing(NetworkSubject& subject) {
  if (!subject.crashesMidway()) return;
  NodeSteps steps(subject);
  Ids taskIds;
  auto total = steps.info().getTotal();
  for (uint32_t i = 0; i < total; ++i) taskIds.push_back("task" + std::to_string(i));
  // Every one that is kept is whole, and of the others there is nothing.
  auto retainAll = [&] {
    auto kept = steps.retain(taskIds);
    Ids keptIds;
    for (auto& one : kept) {
      KJ_REQUIRE(steps.attach(one.taskId) == one, "after a restart a task is answered as before");
      requireReach(kept[0], one);
      keptIds.push_back(one.taskId);
    }
    steps.requireOnly(keptIds);
  };
  for (size_t answered = 0; answered < total; answered += 1 + total / 4) {
    crashAmong(steps, taskIds, answered, &NodeSteps::attachOnly);
    retainAll();
    fillPool(steps);
    crashAmong(steps, taskIds, answered, &NodeSteps::detachLater);
    retainAll();
    steps.restart();
    KJ_REQUIRE(steps.retain({}).empty(), "nobody is kept who is not named");
    steps.requireOnly({});
  }
}

// ---- questions ----------------------------------------------------------------------------------

void drainCountsWhatIsUnderWay(NetworkSubject& subject) {
  NodeSteps steps(subject);
  auto one = steps.attach("one"), two = steps.attach("two");
  KJ_REQUIRE(steps.drain("unknown") == 0, "a task that is not attached has no connections");
  KJ_REQUIRE(steps.drain("two") == 0, "without a connection none is under way");
  auto server = serverIn(two.path, SERVED_PORT);
  auto client = socketIn(one.path);
  KJ_REQUIRE(connectTo(client, two.address, SERVED_PORT) == 0);
  auto peer = acceptFrom(server);
  char text[] = "hello";
  KJ_SYSCALL(::write(client, text, 5));
  KJ_SYSCALL(::read(peer.fd, text, 5));
  auto open = steps.drain("two");
  KJ_REQUIRE(open == 1, "a connection whose client spoke last is under way", open);
  KJ_REQUIRE(steps.drain("one") == 0, "a connection of a client is none to it");
}

void checkAgreesWithItself(NetworkSubject& subject) {
  NodeSteps steps(subject);
  auto look = [&](kj::StringPtr network) {
    auto call = subject.driver().checkRequest();
    call.setNetwork(network);
    return call.send().wait(steps.scope());
  };
  auto before = look("");
  KJ_REQUIRE(before.getMembers().size() == 0, "nobody is a member who is not attached");
  steps.attach("one");
  steps.attach("two");
  auto answer = look("");
  if (answer.getFindings().size() > 0) {
    KJ_FAIL_REQUIRE("something is found where nobody changed anything", answer.getFindings()[0]);
  }
  std::set<std::string> members;
  for (auto one : answer.getMembers()) members.insert(one.getId().cStr());
  KJ_REQUIRE((members == std::set<std::string>{"one", "two"}), "`members` are who is attached");
  KJ_REQUIRE(answer.getThings() > before.getThings(), "`things` counts what tasks have");
  auto other = look("some-other-network");
  KJ_REQUIRE(other.getMembers().size() == 0 && other.getFindings().size() == 0,
             "of another network there is nothing to say");
  steps.requireOnly({"one", "two"});
}

const NetworkCheck NETWORK_CHECKS[] = {
    {"it says what it is, and how many addresses it has", saysWhatItIs},
    {"a task gets a namespace with a device, the address and routes", attachGivesAll},
    {"two tasks reach each other and themselves", tasksReachEachOther},
    {"who is attached is answered as he is", attachTwiceIsOnce},
    {"a detach takes all away, and gone already is success", detachTakesAllAway},
    {"ids that cannot be are refused and change nothing", refusesBadIds},
    {"calls for one task take effect in their order", callsInTheirOrder},
    {"a pool without a free address says so, and has what is given back", poolHasAnEnd},
    {"after a crash all is there that was", crashKeepsAll},
    {"those are kept that are named, and nothing else", retainKeepsTheNamed},
    {"a call that nobody waits for leaves nothing behind", droppedCallsLeaveNothing},
    {"a run that ended anywhere leaves whole tasks or nothing", crashMidwayLeavesWholeOrNothing},
    {"connections that are under way are counted, and no others", drainCountsWhatIsUnderWay},
    {"a check finds nothing where nobody changed anything", checkAgreesWithItself},
};

}  // namespace

kj::ArrayPtr<const NetworkCheck> networkChecks() { return NETWORK_CHECKS; }

}  // namespace orch::conformance
