// Asks other servers what is none of the cluster's names, for many clients at once: a server that
// never answers delays only those who ask it. On the answering thread.
#pragma once

#include <kj/async-io.h>
#include <kj/async-unix.h>
#include <kj/function.h>
#include <kj/timer.h>

#include <map>
#include <string>
#include <vector>

#include "answer-cache.h"
#include "message.h"
#include "orch/task.h"
#include "servers.h"

namespace orch::network::dns {

// A message over TCP has its length before it. Empty at the stream's end.
Task<Bytes> readMessage(kj::AsyncInputStream& stream);
Task<void> writeMessage(kj::AsyncOutputStream& stream, Bytes message);

// For whom is asked: a task. Outlives what is asked for it.
class Asker final {
 public:
  // `inside`: the task's namespace, kept by the caller.
  Asker(std::string taskId, int inside) : taskId(kj::mv(taskId)), inside(inside) {}

  // The task's own, asked from where it is. Empty: the host's, asked from the host.
  std::vector<Server> servers;

 private:
  friend class Forwarder;
  kj::AutoCloseFd newSocket(int family, int type);
  const std::string taskId;
  const int inside;
  // UDP sockets in the namespace that nobody has used yet: making one takes a thread, so they are
  // made several at a time.
  std::map<int, std::vector<kj::AutoCloseFd>> stock;  // by family
  size_t underWay = 0;
};

class Forwarder final {
 public:
  // Questions that wait for an answer, all together and of one task; past it: SERVFAIL.
  static constexpr size_t MOST_UNDER_WAY = 4096;
  static constexpr size_t MOST_OF_ONE = 512;
  // A server that was silent is asked after the others for so long.
  static constexpr kj::Duration SILENCE = 30 * kj::SECONDS;

  struct Parts {
    kj::LowLevelAsyncIoProvider& io;
    kj::UnixEventPort& port;
    kj::Timer& timer;
  };
  // `complain` is told that no server answered.
  Forwarder(Parts parts, std::string resolvConf, kj::Duration timeout,
            kj::Function<void()> complain);
  KJ_DISALLOW_COPY(Forwarder);

  // Always an answer: the first that a server gives, in turn; NXDOMAIN if there is no server at
  // all, so that a resolver goes on with its search list at once (REFUSED lets musl wait for five
  // seconds, SERVFAIL lets it give the search up); SERVFAIL if none answers.
  Task<Bytes> ask(Asker& asker, Bytes query, bool tcp);

 private:
  Task<Bytes> askInTurn(Asker& asker, std::vector<Server> servers, Bytes query, bool tcp);
  Task<Bytes> askByUdp(Asker& asker, Server server, Bytes query);
  Task<Bytes> askByTcp(Asker& asker, Server server, Bytes query);
  std::vector<Server> serversOf(const Asker& asker);
  bool wasSilent(const Server& server);

  Parts parts;
  HostServers host;
  uint64_t generation = 0;
  const kj::Duration timeout;
  kj::Function<void()> complain;
  AnswerCache cache;
  std::map<Server, kj::TimePoint> silent;
  size_t underWay = 0;
  Bytes scratch;  // where an answer is received
};

}  // namespace orch::network::dns
