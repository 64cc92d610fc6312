// A session with a ZooKeeper, kept up over whatever happens to its servers: the C client's
// single-threaded library, driven by the loop. So no KJ object meets another thread, and an answer
// wakes nobody but the loop. Its deadlines (session, connecting) are real time, also where a test
// holds the Env's timer: the library reads the clock itself.
#pragma once

#include <kj/function.h>
#include <kj/timer.h>

#include <map>
#include <string>
#include <vector>

#include "orch/env.h"
#include "orch/task.h"
#include "zookeeper/address.h"
#include "zookeeper/answer.h"
#include "zookeeper/socket-watch.h"

struct _zhandle;
struct ACL_vector;

namespace orch::zookeeper {

struct ClientSettings {
  std::vector<Server> servers;             // at least one; asked in no order
  kj::Duration session = 4 * kj::SECONDS;  // what is asked for; servers have bounds of their own
  std::string user;                        // of the scheme `digest`; empty: everybody
  std::string password;
  bool leaves = false;                // the session ends by itself when the client goes
  std::string setting = "endpoints";  // of whoever reads what is wrong with `servers`
};

// On the loop. A session whose servers do not answer for as long as it lasts is given up, and a new
// one is asked for: the server that comes back may be an older copy, which a session that has seen
// more is never let in to.
class Client final {
 public:
  // `env` outlives it. The connection is made at once.
  Client(Env& env, ClientSettings settings);
  ~Client() noexcept(false);
  KJ_DISALLOW_COPY(Client);

  // Settles when there is a session on a connection; waits without end for it.
  kj::Promise<void> connected();
  bool isConnected() const { return up; }
  // Counts the sessions: what was seen in one need not be so in the next.
  uint64_t session() const { return sessions; }
  // ZooKeeper's own number of this session; 0: there is none.
  int64_t sessionId() const;
  // Ends the session, and asks this server for the next ones only if all others are left, too, for
  // a minute: what it answers is wrong, for what `why` says. Answers its address.
  std::string leave(std::string why);

  // All are sent at once and in order, and are answered in order. Without a connection they say
  // LOST and nothing was sent. A silent server is left after two thirds of the session's time.
  kj::Promise<Read> get(const std::string& path);
  kj::Promise<Listing> children(const std::string& path);
  kj::Promise<Done> multi(const Multi& request);
  kj::Promise<Done> create(const std::string& path, std::string_view value,
                           Lives lives = Lives::FOR_EVER);
  kj::Promise<Done> set(const std::string& path, std::string_view value,
                        int32_t version = Multi::ANY_VERSION);
  kj::Promise<Done> remove(const std::string& path, int32_t version = Multi::ANY_VERSION);

  // `changed` settles when it is no longer sure that what was read is still so: after the first
  // change, or when the session has ended. A connection that breaks is no reason: the servers tell
  // of what happened meanwhile.
  template <typename T>
  struct Watched {
    kj::Promise<T> read;
    kj::Promise<void> changed;
  };
  Watched<Read> watch(const std::string& path);
  Watched<Listing> watchChildren(const std::string& path);
  // The same for a node that there is not yet, whose making is the change; nothing of it but the
  // code is read.
  Watched<Read> watchMade(const std::string& path);

  // `ZooKeeper at '10.0.0.1:2181', '10.0.0.2:2181'`
  std::string name() const;
  // A sentence: that it does not answer, why, and what to do.
  std::string lostText() const;
  // A sentence: that it refuses what was asked, and what to do.
  std::string refusalText(Code code) const;
  // Throws one of these: DISCONNECTED where asking again may help, else FAILED.
  [[noreturn]] void failWith(Code code) const;

  // Told when the connection is there and when it is lost.
  kj::Function<void(bool up)> turned = [](bool) {};

 private:
  struct Callbacks;
  Task<void> run();
  Task<std::string> resolve();
  std::string withoutLeft(const std::string& servers);
  void open(const std::string& servers);
  Task<void> drive();
  Task<void> turn();
  void close();
  void setUp(bool now);
  void kick();
  // Why the server that is being asked does not answer.
  void note(int error);
  void fired(uint64_t watch);
  const ACL_vector* access() const;
  template <typename T, typename F>
  kj::Promise<T> start(F&& send);
  template <typename T, typename F>
  Watched<T> startWatched(F&& send, Code needed);

  Env& env;
  const ClientSettings settings;
  kj::Timer& timer;  // the real one
  _zhandle* handle = nullptr;
  SocketWatch socket;
  int fd = -1;  // the library's
  uint64_t sessions = 0;
  bool up = false;
  bool ended = false;  // this session, for good
  std::string trouble = "it has not been asked yet";
  std::map<std::string, kj::TimePoint> left;  // servers, and until when
  kj::Own<kj::PromiseFulfiller<void>> connecting;
  kj::ForkedPromise<void> connection = nullptr;
  kj::Own<kj::PromiseFulfiller<void>> kicker;
  std::map<uint64_t, kj::Own<kj::PromiseFulfiller<void>>> watches;
  uint64_t nextWatch = 1;
  kj::Promise<void> running = nullptr;
};

}  // namespace orch::zookeeper
