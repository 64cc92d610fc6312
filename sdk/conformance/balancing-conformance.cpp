#include <errno.h>
#include <kj/debug.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>
#include <thread>

#include "orch/attempt.h"
#include "orch/conformance/leg-conformance.h"
#include "orch/testing/sockets.h"

namespace orch::conformance {

namespace {

using testing::connectTo;
using testing::readyOf;
using testing::socketIn;
using Got = std::vector<int>;

constexpr const char* GATEWAY = "10.0.1.1";
constexpr uint32_t A_VNI = 4097;
constexpr uint16_t WEB = 80;
constexpr uint16_t NAMES = 53;

// Told to both hosts, and plugged.
struct Balanced {
  Balanced(LegSubject& subject, int count) : team(subject, "red", A_VNI, count) {
    tellAll(subject, team.everybody());
    team.join();
  }
  ServiceTeam team;
};

// Of the kind that the subject's networks are used by.
kj::AutoCloseFd tcpIn(const LegSubject& subject, const std::string& path) {
  return socketIn(path, false, subject.ipv6);
}
kj::AutoCloseFd udpIn(const LegSubject& subject, const std::string& path) {
  return socketIn(path, true, subject.ipv6);
}

void requireGot(const Got& got, const Got& wanted, kj::StringPtr what) {
  if (got == wanted) return;
  auto text = [](const Got& all) {
    kj::String line = kj::str("");
    for (int one : all) line = kj::str(line, " ", one);
    return line;
  };
  KJ_FAIL_REQUIRE(what, "so many for each, and not right:", text(got), "instead of", text(wanted));
}

void requireRefusedAtOnce(LegSubject& subject, ServiceTeam& team) {
  int error = connectTo(tcpIn(subject, team.clientPath()), team.vip(), WEB);
  KJ_REQUIRE(error == ECONNREFUSED, "where nobody serves a connection is refused at once", error);
  auto asking = udpIn(subject, team.clientPath());
  KJ_REQUIRE(connectTo(asking, team.vip(), NAMES) == 0);
  KJ_SYSCALL(send(asking, "hello", 5, 0));
  error = testing::readErrorOf(asking);
  KJ_REQUIRE(error == ECONNREFUSED, "where nobody serves a datagram is refused at once", error);
}

void turnsAreExact(LegSubject& subject) {
  Balanced here(subject, 6);
  const Got even{200, 200, 200, 200, 200, 200, 0};
  constexpr auto what =
      "connections go round the tasks, each in its turn, from the client's address";
  requireGot(here.team.connectMany(1200), even, what);
  requireGot(here.team.askMany(1200), even, what);
}

void whoServesNoMoreGetsNone(LegSubject& subject) {
  Balanced here(subject, 3);
  auto& team = here.team;
  requireGot(team.connectMany(30), {10, 10, 10, 0}, "all serve");
  tellAll(subject, team.news({true, false, true}));
  requireGot(team.connectMany(10), {5, 0, 5, 0}, "who serves no more gets no new connection");
  requireGot(team.askMany(10), {5, 0, 5, 0}, "who serves no more gets no new datagram");
  tellAll(subject, team.everybody());
  requireGot(team.connectMany(9), {3, 3, 3, 0}, "who serves again has his turn again");
}

void udpGoesElsewhere(LegSubject& subject) {
  Balanced here(subject, 3);
  auto& team = here.team;
  auto client = udpIn(subject, team.clientPath());
  KJ_REQUIRE(connectTo(client, team.vip(), NAMES) == 0);
  auto first = testing::askUdp(client, team.answering());
  KJ_REQUIRE(first.server >= 0, "a datagram to the virtual address comes, and its answer does");
  KJ_REQUIRE(first.address == team.seenFrom(), "it comes from the client's address",
             first.address.c_str());
  KJ_REQUIRE(testing::askUdp(client, team.answering()).server == first.server,
             "datagrams from one port go to the same task");
  std::vector<bool> serving(3, true);
  serving[first.server] = false;
  tellAll(subject, team.news(serving));
  auto second = testing::askUdp(client, team.answering());
  KJ_REQUIRE(second.server >= 0 && second.server != first.server,
             "UDP goes elsewhere with the next packet", second.server, first.server);
}

void reachesItself(LegSubject& subject) {
  Balanced here(subject, 2);
  auto& team = here.team;
  auto own = team.serverPath(0);
  auto gateway = subject.used(GATEWAY);
  auto expected = [&](int server) {
    return server == 0 ? gateway : subject.used(ServiceTeam::addressOf(0));
  };
  for (int i = 0; i < 4; ++i) {
    auto socket = tcpIn(subject, own);
    int error = connectTo(socket, team.vip(), WEB);
    int turn = error == 0 ? readyOf(team.listening()) : -1;
    KJ_REQUIRE(turn >= 0, "a task reaches itself and others by its service's address", error);
    auto peer = testing::acceptFrom(team.listening()[turn]);
    KJ_REQUIRE(peer.address == expected(turn), "a task that reaches itself sees the gateway's",
               peer.address.c_str());
    KJ_REQUIRE(testing::talk(socket, peer.fd), "a connection carries messages both ways");
    auto asking = udpIn(subject, own);
    KJ_REQUIRE(connectTo(asking, team.vip(), NAMES) == 0);
    auto asked = testing::askUdp(asking, team.answering());
    KJ_REQUIRE(asked.server >= 0, "a task reaches itself and others by UDP too");
    KJ_REQUIRE(asked.address == expected(asked.server),
               "a task that reaches itself sees the gateway's", asked.address.c_str());
  }
  KJ_REQUIRE(connectTo(tcpIn(subject, own), gateway, WEB) == ECONNREFUSED,
             "the gateway is still itself for who has reached himself");
  tellAll(subject, team.news({true, false}));
  auto socket = tcpIn(subject, own);
  KJ_REQUIRE(connectTo(socket, team.vip(), WEB) == 0, "a task that serves alone reaches itself");
}

void nobodyServes(LegSubject& subject) {
  Balanced here(subject, 3);
  auto& team = here.team;
  tellAll(subject, team.news({false, false, false}));
  requireRefusedAtOnce(subject, team);
  tellAll(subject, team.news({false, true, false}));
  requireGot(team.connectMany(2), {0, 2, 0, 0}, "until somebody serves");
  requireGot(team.askMany(2), {0, 2, 0, 0}, "until somebody serves");
}

void openOnesOutliveServing(LegSubject& subject) {
  Balanced here(subject, 3);
  auto& team = here.team;
  tellAll(subject, team.news({false, true, false}));
  auto client = tcpIn(subject, team.clientPath());
  KJ_REQUIRE(connectTo(client, team.vip(), WEB) == 0 && readyOf(team.listening()) == 1);
  auto peer = testing::acceptFrom(team.listening()[1]);
  tellAll(subject, team.news({true, false, true}));
  requireGot(team.connectMany(4), {2, 0, 2, 0}, "who serves no more gets no new connection");
  KJ_REQUIRE(testing::talk(client, peer.fd), "what is open goes on as long as the task is there");
  tellAll(subject, {{}, {}, {}, false, {{"red", team.serverId(1), "", "", team.hostOf(1)}}});
  unplugLater(subject, team.hostOf(1), "red", team.serverId(1)).wait(subject.waitScope());
  send(client, "hello", 5, MSG_NOSIGNAL);
  KJ_REQUIRE(readyOf({client}) == 0, "whoever has a connection to a task that is gone hears of it");
  int error = testing::readErrorOf(client);
  KJ_REQUIRE(error == ECONNRESET, "whoever has a connection to a task that is gone is told", error);
}

void changeLosesNothing(LegSubject& subject) {
  constexpr int CHANGES = 20;
  Balanced here(subject, 2);
  auto& team = here.team;
  tellAll(subject, team.news({true, false}));
  std::atomic<bool> over = false;
  Got all(3);
  kj::Maybe<kj::Exception> failure;
  std::thread connecting([&] {
    auto done = attemptNow([&] {
      while (!over && all[2] == 0) {
        auto got = team.connectMany(10);
        for (size_t i = 0; i < all.size(); ++i) all[i] += got[i];
      }
    });
    if (!done.ok()) failure = kj::mv(done.error());
  });
  auto changing = attemptNow([&] {
    for (int i = 0; i < CHANGES; ++i) tellAll(subject, team.news({i % 2 != 0, i % 2 == 0}));
  });
  over = true;
  connecting.join();
  KJ_IF_MAYBE (exception, failure) kj::throwFatalException(kj::mv(*exception));
  if (!changing.ok()) kj::throwFatalException(kj::mv(changing.error()));
  KJ_REQUIRE(all[2] == 0, "while one comes for another no connection is lost", all[0], all[1],
             all[2]);
  KJ_REQUIRE(all[0] + all[1] > 0, "there were connections");
}

void largeMessages(LegSubject& subject) {
  Balanced here(subject, 2);
  auto& team = here.team;
  std::string large(4000, 'x');
  for (int i = 0; i < 2; ++i) {
    auto socket = udpIn(subject, team.clientPath());
    KJ_REQUIRE(connectTo(socket, team.vip(), NAMES) == 0);
    KJ_SYSCALL(send(socket, large.data(), large.size(), 0));
    int turn = readyOf(team.answering());
    KJ_REQUIRE(turn >= 0, "a message larger than a packet comes");
    int server = team.answering()[turn];
    char got[5000];
    sockaddr_storage from = {};
    socklen_t size = sizeof(from);
    auto* peer = reinterpret_cast<sockaddr*>(&from);
    auto bytes = recvfrom(server, got, sizeof(got), 0, peer, &size);
    KJ_REQUIRE(bytes == ssize_t(large.size()), "a message larger than a packet comes whole", bytes);
    KJ_SYSCALL(sendto(server, got, large.size(), 0, peer, size));
    KJ_REQUIRE(readyOf({socket}) == 0, "an answer larger than a packet comes");
    bytes = recv(socket, got, sizeof(got), 0);
    KJ_REQUIRE(bytes == ssize_t(large.size()), "an answer larger than a packet comes whole", bytes);
  }
}

void goneServiceReachesNobody(LegSubject& subject) {
  Balanced here(subject, 2);
  auto& team = here.team;
  requireGot(team.connectMany(2), {1, 1, 0}, "all serve");
  tellAll(subject, team.news({true, true}, false));
  KJ_REQUIRE(connectTo(tcpIn(subject, team.clientPath()), team.vip(), WEB) != 0,
             "at the address of a service that is gone there is nobody");
  tellAll(subject, team.everybody());
  requireGot(team.connectMany(2), {1, 1, 0}, "a service that is back has its tasks");
}

void restartKeepsConnections(LegSubject& subject) {
  Balanced here(subject, 3);
  auto& team = here.team;
  std::vector<kj::AutoCloseFd> clients;
  std::vector<testing::Accepted> peers(3);
  for (int i = 0; i < 3; ++i) {
    clients.push_back(tcpIn(subject, team.clientPath()));
    KJ_REQUIRE(connectTo(clients[i], team.vip(), WEB) == 0);
    int turn = readyOf(team.listening());
    KJ_REQUIRE(turn >= 0);
    peers[i] = testing::acceptFrom(team.listening()[turn]);
  }
  subject.crash(0);
  requireGot(team.connectMany(6), {2, 2, 2, 0},
             "without the plugin connections go round as before");
  subject.run(0);
  // One serves no more since.
  tell(subject, 0, team.news({true, false, true}));
  retain(subject, 0, {"red-client", team.serverId(0), team.serverId(2)});
  requireGot(team.connectMany(6), {3, 0, 3, 0}, "after a restart what is told is in force");
  for (int i = 0; i < 3; ++i) {
    KJ_REQUIRE(testing::talk(clients[i], peers[i].fd), "a restart ends no connection");
  }
}

void networksBalanceApart(LegSubject& subject) {
  ServiceTeam red(subject, "red", A_VNI, 2), blue(subject, "blue", A_VNI + 1, 2);
  auto news = red.everybody(), more = blue.everybody();
  news.networks.push_back(more.networks[0]);
  news.peers.insert(news.peers.end(), more.peers.begin(), more.peers.end());
  news.services.push_back(more.services[0]);
  tellAll(subject, news);
  red.join();
  blue.join();
  constexpr auto what = "networks with the same addresses balance among their own";
  requireGot(red.connectMany(4), {2, 2, 0}, what);
  requireGot(blue.connectMany(4), {2, 2, 0}, what);
  requireGot(red.askMany(4), {2, 2, 0}, what);
}

const LegCheck BALANCING_CHECKS[] = {
    {"twelve hundred connections are two hundred for each of six", turnsAreExact},
    {"who serves no more gets no new connections, until he serves again", whoServesNoMoreGetsNone},
    {"UDP goes elsewhere as soon as he who was asked serves no more", udpGoesElsewhere},
    {"a task reaches itself and others by its service's address", reachesItself},
    {"a service that nobody serves refuses at once, until somebody does", nobodyServes},
    {"open connections to a task outlive its serving, not the task", openOnesOutliveServing},
    {"no connection is lost while one task comes for another", changeLosesNothing},
    {"a message larger than a packet comes whole, there and back", largeMessages},
    {"at the address of a service that is gone there is nobody", goneServiceReachesNobody},
    {"a run takes over the services of the one before", restartKeepsConnections},
    {"networks with the same addresses balance among their own", networksBalanceApart},
};

}  // namespace

kj::ArrayPtr<const LegCheck> balancingChecks() { return BALANCING_CHECKS; }

}  // namespace orch::conformance
