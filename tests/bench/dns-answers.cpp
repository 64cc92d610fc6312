// How many DNS answers one core gives: usage: orch-bench-dns [SECONDS [SERVICES [TASKS]]]
// The plugin's own answering thread, a network of so many services with a virtual address and as
// many without one, of so many tasks each, and a client in a task's namespace that keeps 64 queries
// under way. Prints answers per second, and per second of the answering thread's time, which is
// what one core could give if the client left it alone. Needs root.
#include <arpa/inet.h>
#include <capnp/message.h>
#include <kj/async-io.h>
#include <kj/debug.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "answering-thread.h"
#include "lib/netns.h"

namespace orch::network::dns {
namespace {

constexpr size_t UNDER_WAY = 64;

double secondsOf(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

double residentBytes() {
  unsigned long all = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> all >> resident;
  return static_cast<double>(resident) * sysconf(_SC_PAGESIZE);
}

void fill(schema::NetworkChange::Builder change, unsigned services, unsigned tasks) {
  change.setComplete(true);
  auto network = change.initNetworks(1)[0];
  network.initMeta().setId("n");
  network.setName("bench");
  network.setSubnet("10.0.0.0/8");
  auto list = change.initServices(2 * services);
  auto peers = change.initPeers(2 * services * tasks);
  Ipv4 next = (10u << 24) + (1u << 16);
  for (unsigned i = 0; i < 2 * services; ++i) {
    auto name = kj::str(i < services ? "vip" : "rr", i % services);
    list[i].setNetwork("n");
    list[i].setServiceId(name);
    list[i].setName(name);
    if (i < services) list[i].setAddress(ipv4Text((10u << 24) + i + 2));
    for (unsigned j = 0; j < tasks; ++j) {
      auto peer = peers[i * tasks + j];
      peer.setNetwork("n");
      peer.setTaskId(kj::str(name, "-", j));
      peer.setServiceId(name);
      peer.setName(kj::str(name, ".", j));
      peer.setAddress(ipv4Text(next++));
      peer.setServing(true);
    }
  }
}

Bytes queryOf(const std::string& name) {
  Bytes query{0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, uint8_t(name.size())};
  query.insert(query.end(), name.begin(), name.end());
  for (uint8_t byte : {0, 0, 1, 0, 1}) query.push_back(byte);
  return query;
}

// For so long: sends as many as come back. Then waits for the last.
uint64_t askAll(int fd, const char* prefix, unsigned services, double seconds) {
  double until = secondsOf(CLOCK_MONOTONIC) + seconds;
  bool stop = false;
  uint64_t asked = 0, answered = 0;
  uint8_t answer[2048];
  while (!stop || answered < asked) {
    stop = secondsOf(CLOCK_MONOTONIC) >= until;
    while (!stop && asked - answered < UNDER_WAY) {
      auto query = queryOf(prefix + std::to_string(asked++ % services));
      KJ_SYSCALL(send(fd, query.data(), query.size(), 0));
    }
    if (recv(fd, answer, sizeof(answer), 0) <= 0) break;  // one was lost
    for (++answered; recv(fd, answer, sizeof(answer), MSG_DONTWAIT) > 0;) ++answered;
  }
  return answered;
}

void measure(kj::WaitScope& scope, AnsweringThread& thread, int fd, const char* prefix,
             unsigned services, double seconds) {
  auto busy = [&] {
    return thread.run([](AnsweringServer&) { return secondsOf(CLOCK_THREAD_CPUTIME_ID); })
        .wait(scope);
  };
  uint64_t answered = 0;
  double from = secondsOf(CLOCK_MONOTONIC), used = busy();
  std::thread client([&] { answered = askAll(fd, prefix, services, seconds); });
  client.join();
  used = busy() - used;
  double took = secondsOf(CLOCK_MONOTONIC) - from;
  printf("%-4s %9.0f answers/s, %9.0f per second of the thread's time (%.1f us each)\n", prefix,
         answered / took, answered / used, used / answered * 1e6);
}

int run(double seconds, unsigned services, unsigned tasks) {
  auto io = kj::setupAsyncIo();
  ServerSettings settings;
  AnsweringThread thread(settings, [](const char* id, kj::String reason) {
    fprintf(stderr, "%s: %s\n", id, reason.cStr());
  });
  capnp::MallocMessageBuilder message;
  auto change = message.initRoot<schema::NetworkChange>();
  fill(change, services, tasks);
  double before = secondsOf(CLOCK_MONOTONIC);
  auto bytes = residentBytes();
  thread.run([&](AnsweringServer& server) { server.update(change.asReader()); }).wait(io.waitScope);
  printf("%u tasks told in %.1f ms, %.1f MiB\n", 2 * services * tasks,
         (secondsOf(CLOCK_MONOTONIC) - before) * 1e3, (residentBytes() - bytes) / 1048576.0);

  auto made = makeNamespace();
  made.inside->run(linkUp(1));
  int client = -1;
  inNamespace(made.handle.get(),
              [&] { KJ_SYSCALL(client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)); });
  kj::AutoCloseFd fd(client);
  auto end = openTaskEnd(kj::mv(made.handle));
  thread.run([&](AnsweringServer& server) {
          server.serve("task", kj::mv(end), {{"n"}, {}});
        })
      .wait(io.waitScope);
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_port = htons(53);
  to.sin_addr.s_addr = htonl(0x7f00000b);
  KJ_SYSCALL(connect(client, reinterpret_cast<sockaddr*>(&to), sizeof(to)));
  timeval patience = {1, 0};
  KJ_SYSCALL(setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)));
  for (auto* prefix : {"vip", "rr"}) measure(io.waitScope, thread, fd, prefix, services, seconds);
  return 0;
}

}  // namespace
}  // namespace orch::network::dns

int main(int argc, char** argv) {
  auto number = [&](int i, int otherwise) { return argc > i ? atoi(argv[i]) : otherwise; };
  return orch::network::dns::run(number(1, 5), static_cast<unsigned>(number(2, 1000)),
                                 static_cast<unsigned>(number(3, 5)));
}
