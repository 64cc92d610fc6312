#include "zookeeper/client.h"

#include <kj/debug.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <zookeeper/zookeeper.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "orch/fail.h"

namespace orch::zookeeper {

namespace {

// Before the next session is asked for.
constexpr kj::Duration RENEW_PAUSE = 20 * kj::MILLISECONDS;
constexpr kj::Duration RESOLVE_PAUSE = 1 * kj::SECONDS;
// A server that was left may have been mended by then.
constexpr kj::Duration LEFT_FOR = 1 * kj::MINUTES;
// After a connection could not be made; where all servers fail the library waits longer by itself.
constexpr kj::Duration FAILED_PAUSE = 5 * kj::MILLISECONDS;
// Answers that are taken before the loop is given to others.
constexpr int ANSWERS_AT_ONCE = 32;

// The library would write lines to stderr, several a second while a server is away. Its callback is
// not told whose line it is; what went wrong is in errno as well.
void ignoreLog(const char*) {}

Code codeOf(int number) { return static_cast<Code>(number); }

// What one call is waiting for. The library calls back exactly once, also when it is closed.
template <typename T>
struct Call {
  kj::Own<kj::PromiseFulfiller<T>> fulfiller;
  std::vector<zoo_op_result_t> results;  // of a transaction: the library writes there
};
template <typename T>
std::unique_ptr<Call<T>> taken(const void* data) {
  return std::unique_ptr<Call<T>>(static_cast<Call<T>*>(const_cast<void*>(data)));
}

size_t failedOf(const std::vector<zoo_op_result_t>& results) {
  for (size_t i = 0; i < results.size(); ++i) {
    // Those before the one that failed say that they succeeded, those after it that they were not
    // tried.
    bool failed = results[i].err != ZOK && results[i].err != ZRUNTIMEINCONSISTENCY;
    if (failed) return i;
  }
  return results.size();
}

// Of all addresses that the names have; `why` says which name has none.
struct Resolved {
  std::string servers;
  std::string why;
};
Resolved resolveAll(const std::vector<Server>& servers) {
  Resolved all;
  for (auto& server : servers) {
    addrinfo wanted = {};
    wanted.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    int error = getaddrinfo(server.host.c_str(), nullptr, &wanted, &found);
    if (error != 0) {
      all.why = "the name '" + server.host + "' has no address: " + gai_strerror(error);
      continue;
    }
    for (auto* one = found; one != nullptr; one = one->ai_next) {
      char text[NI_MAXHOST];
      if (getnameinfo(one->ai_addr, one->ai_addrlen, text, sizeof(text), nullptr, 0,
                      NI_NUMERICHOST) != 0) {
        continue;
      }
      if (!all.servers.empty()) all.servers.push_back(',');
      all.servers += Server{text, server.port}.text();
    }
    freeaddrinfo(found);
  }
  return all;
}

}  // namespace

struct Client::Callbacks {
  static Client& of(zhandle_t* handle) {
    return *static_cast<Client*>(const_cast<void*>(zoo_get_context(handle)));
  }
  static void session(zhandle_t* handle, int type, int state, const char*, void*) {
    if (type != ZOO_SESSION_EVENT) return;
    auto& client = of(handle);
    if (state == ZOO_EXPIRED_SESSION_STATE || state == ZOO_AUTH_FAILED_STATE) {
      client.ended = true;
      client.trouble = state == ZOO_AUTH_FAILED_STATE ? "it refuses 'user' and its password"
                                                      : "the session has expired";
    }
    client.setUp(state == ZOO_CONNECTED_STATE);
  }
  // Told of the session too, which uses up no watch.
  static void node(zhandle_t* handle, int type, int, const char*, void* watch) {
    if (type != ZOO_SESSION_EVENT) of(handle).fired(reinterpret_cast<uintptr_t>(watch));
  }
  static void data(int rc, const char* value, int size, const Stat* stat, const void* data) {
    Read read;
    read.code = codeOf(rc);
    if (rc == ZOK) {
      if (size > 0) read.value.assign(value, size);  // -1: a node without any
      read.version = stat->version;
      read.owner = stat->ephemeralOwner;
      read.changedAt = stat->mzxid;
    }
    taken<Read>(data)->fulfiller->fulfill(kj::mv(read));
  }
  static void exists(int rc, const Stat*, const void* data) {
    Read read;
    read.code = codeOf(rc);
    taken<Read>(data)->fulfiller->fulfill(kj::mv(read));
  }
  static void names(int rc, const String_vector* strings, const void* data) {
    Listing listing;
    listing.code = codeOf(rc);
    for (int i = 0; rc == ZOK && i < strings->count; ++i) {
      listing.names.emplace_back(strings->data[i]);
    }
    taken<Listing>(data)->fulfiller->fulfill(kj::mv(listing));
  }
  static void done(int rc, const void* data) {
    auto call = taken<Done>(data);
    call->fulfiller->fulfill(Done{codeOf(rc), failedOf(call->results)});
  }
  static void created(int rc, const char*, const void* data) { done(rc, data); }
  static void changed(int rc, const Stat*, const void* data) { done(rc, data); }
};

Client::Client(Env& env, ClientSettings given)
    : env(env),
      settings(kj::mv(given)),
      timer(env.eventPort().getTimer()),
      socket(env.eventPort()) {
  zoo_set_debug_level(ZOO_LOG_LEVEL_WARN);  // of the whole process, the same for everybody
  setUp(false);
  running = run().promise().eagerlyEvaluate([](kj::Exception&& e) { KJ_LOG(ERROR, e); });
}
Client::~Client() noexcept(false) {
  running = nullptr;
  turned = [](bool) {};
  close();
}

void Client::setUp(bool now) {
  bool turns = now != up;
  if (now && !up) connecting->fulfill();
  if (!now && (up || connecting.get() == nullptr)) {
    auto pair = kj::newPromiseAndFulfiller<void>();
    connecting = kj::mv(pair.fulfiller);
    connection = pair.promise.fork();
  }
  up = now;
  if (turns) turned(now);
}

kj::Promise<void> Client::connected() { return connection.addBranch(); }

int64_t Client::sessionId() const {
  return handle == nullptr ? 0 : zoo_client_id(handle)->client_id;
}

std::string Client::leave(std::string why) {
  std::string server = handle == nullptr ? "" : zoo_get_current_server(handle);
  if (server.empty()) return "a server";
  left.insert_or_assign(server, timer.now() + LEFT_FOR);
  trouble = server + " " + why;
  ended = true;
  setUp(false);
  kick();
  return server;
}

std::string Client::withoutLeft(const std::string& servers) {
  std::erase_if(left, [&](auto& one) { return one.second <= timer.now(); });
  std::string good;
  for (size_t from = 0; from < servers.size();) {
    auto end = std::min(servers.find(',', from), servers.size());
    auto server = servers.substr(from, end - from);
    if (left.count(server) == 0) good += (good.empty() ? "" : ",") + server;
    from = end + 1;
  }
  return good.empty() ? servers : good;
}

void Client::kick() {
  if (kicker.get() != nullptr) kicker->fulfill();
}

void Client::note(int error) {
  if (error == 0) return;
  std::string server = zoo_get_current_server(handle);
  const char* why = strerror(error);
  // What the library says when it reads the end of the connection.
  if (error == EHOSTDOWN) why = "it breaks off the connection";
  if (error == ETIMEDOUT) why = "it says nothing";
  trouble = (server.empty() ? "" : server + ": ") + why;
}

void Client::fired(uint64_t watch) {
  auto found = watches.find(watch);
  if (found == watches.end()) return;
  found->second->fulfill();
  watches.erase(found);
}

Task<std::string> Client::resolve() {
  auto resolving = env.workers().run([servers = settings.servers] { return resolveAll(servers); });
  auto all = co_await resolving;
  if (all.servers.empty()) trouble = all.why;
  co_return kj::mv(all.servers);
}

void Client::open(const std::string& servers) {
  ended = false;
  int sessionMs = static_cast<int>(settings.session / kj::MILLISECONDS);
  handle = zookeeper_init2(servers.c_str(), &Callbacks::session, sessionMs, nullptr, this,
                           ZOO_NO_LOG_CLIENTENV, &ignoreLog);
  if (handle == nullptr) {
    trouble = std::string("it cannot be asked: ") + strerror(errno);
    return;
  }
  ++sessions;
  // Names were made addresses by a thread of this Env's; the library would do it on the loop.
  zoo_set_servers_resolution_delay(handle, -1);
  if (settings.user.empty()) return;
  auto login = settings.user + ":" + settings.password;
  zoo_add_auth(handle, "digest", login.data(), static_cast<int>(login.size()), nullptr, nullptr);
}

void Client::close() {
  if (handle != nullptr) {
    auto* old = handle;
    handle = nullptr;
    // The library takes leave of a server that it can reach.
    if (settings.leaves && fd >= 0) ::shutdown(fd, SHUT_RDWR);
    fd = -1;
    zookeeper_close(old);
    socket.observe(-1);
  }
  setUp(false);
  auto all = kj::mv(watches);
  watches.clear();
  for (auto& [id, watch] : all) watch->fulfill();
}

Task<void> Client::run() {
  for (;;) {
    auto servers = co_await resolve();
    if (servers.empty()) {
      co_await timer.afterDelay(RESOLVE_PAUSE);
      continue;
    }
    open(withoutLeft(servers));
    if (handle != nullptr) co_await drive();
    close();
    co_await timer.afterDelay(RENEW_PAUSE);
  }
}

Task<void> Client::drive() {
  auto lastUp = timer.now();
  while (!ended) {
    co_await turn();
    auto now = timer.now();
    auto session = kj::max(settings.session, zoo_recv_timeout(handle) * kj::MILLISECONDS);
    if (up) lastUp = now;
    if (now - lastUp > session) ended = true;
  }
}

Task<void> Client::turn() {
  auto kicked = kj::newPromiseAndFulfiller<void>();
  kicker = kj::mv(kicked.fulfiller);
  fd = -1;
  int interest = 0;
  timeval left = {};
  errno = 0;
  bool asked = zookeeper_interest(handle, &fd, &interest, &left) == ZOK;
  if (!asked) {
    note(errno);
    fd = -1;  // closed by now
  }
  socket.observe(fd);
  auto events = static_cast<short>(((interest & ZOOKEEPER_READ) != 0 ? POLLIN : 0) |
                                   ((interest & ZOOKEEPER_WRITE) != 0 ? POLLOUT : 0));
  auto ready = SocketWatch::ready(fd, events);
  if (ready == 0) {
    auto pause = left.tv_sec * kj::SECONDS + left.tv_usec * kj::MICROSECONDS;
    if (!asked) pause = kj::max(pause, FAILED_PAUSE);
    auto due = timer.afterDelay(pause);
    auto any = socket.wait(events).exclusiveJoin(kj::mv(due)).exclusiveJoin(kj::mv(kicked.promise));
    co_await any;
    ready = SocketWatch::ready(fd, events);
  } else {
    co_await timer.afterDelay(0 * kj::SECONDS);  // others' turn
  }
  auto processing = [&] {
    int flags = ((ready & POLLIN) != 0 ? ZOOKEEPER_READ : 0) |
                ((ready & POLLOUT) != 0 ? ZOOKEEPER_WRITE : 0);
    errno = 0;
    int outcome = zookeeper_process(handle, flags);
    if (outcome == ZCONNECTIONLOSS) note(errno);
    return outcome;
  };
  for (int i = 0; i < ANSWERS_AT_ONCE && !ended; ++i) {
    int outcome = processing();
    if (outcome != ZOK) break;
    ready = SocketWatch::ready(fd, POLLIN);
    if (ready == 0) break;
  }
}

const ACL_vector* Client::access() const {
  return settings.user.empty() ? &ZOO_OPEN_ACL_UNSAFE : &ZOO_CREATOR_ALL_ACL;
}

template <typename T, typename F>
kj::Promise<T> Client::start(F&& send) {
  if (!up) return T();
  auto pair = kj::newPromiseAndFulfiller<T>();
  auto call = std::make_unique<Call<T>>();
  call->fulfiller = kj::mv(pair.fulfiller);
  int outcome = send(*call);
  if (outcome != ZOK) {
    T refused;
    refused.code = codeOf(outcome);
    return kj::mv(refused);
  }
  static_cast<void>(call.release());  // the library's until it calls back
  kick();
  return kj::mv(pair.promise);
}

template <typename T, typename F>
Client::Watched<T> Client::startWatched(F&& send, Code needed) {
  auto id = nextWatch++;
  auto pair = kj::newPromiseAndFulfiller<void>();
  watches[id] = kj::mv(pair.fulfiller);
  auto read = start<T>([&](Call<T>& call) { return send(call, reinterpret_cast<void*>(id)); });
  // With any other answer nothing is watched.
  auto checked = read.then([this, id, needed](T&& got) {
    if (got.code != needed) fired(id);
    return kj::mv(got);
  });
  return {kj::mv(checked), kj::mv(pair.promise)};
}

kj::Promise<Read> Client::get(const std::string& path) {
  return start<Read>(
      [&](auto& call) { return zoo_aget(handle, path.c_str(), 0, &Callbacks::data, &call); });
}
kj::Promise<Listing> Client::children(const std::string& path) {
  return start<Listing>([&](auto& call) {
    return zoo_aget_children(handle, path.c_str(), 0, &Callbacks::names, &call);
  });
}
Client::Watched<Read> Client::watch(const std::string& path) {
  auto send = [&](auto& call, void* id) {
    return zoo_awget(handle, path.c_str(), &Callbacks::node, id, &Callbacks::data, &call);
  };
  return startWatched<Read>(send, Code::OK);
}
Client::Watched<Read> Client::watchMade(const std::string& path) {
  auto send = [&](auto& call, void* id) {
    return zoo_awexists(handle, path.c_str(), &Callbacks::node, id, &Callbacks::exists, &call);
  };
  return startWatched<Read>(send, Code::NO_NODE);
}
Client::Watched<Listing> Client::watchChildren(const std::string& path) {
  auto send = [&](auto& call, void* id) {
    return zoo_awget_children(handle, path.c_str(), &Callbacks::node, id, &Callbacks::names, &call);
  };
  return startWatched<Listing>(send, Code::OK);
}

kj::Promise<Done> Client::multi(const Multi& request) {
  auto& operations = request.operations();
  std::vector<zoo_op_t> ops(operations.size());
  for (size_t i = 0; i < ops.size(); ++i) {
    auto& op = operations[i];
    auto* path = op.path.c_str();
    auto size = static_cast<int>(op.value.size());
    switch (op.kind) {
      case Multi::Op::Kind::CHECK:
        zoo_check_op_init(&ops[i], path, op.version);
        break;
      case Multi::Op::Kind::CREATE:
        zoo_create_op_init(&ops[i], path, op.value.data(), size, access(),
                           op.lives == Lives::WITH_SESSION ? ZOO_EPHEMERAL : ZOO_PERSISTENT,
                           nullptr, 0);
        break;
      case Multi::Op::Kind::SET:
        zoo_set_op_init(&ops[i], path, op.value.data(), size, op.version, nullptr);
        break;
      case Multi::Op::Kind::REMOVE:
        zoo_delete_op_init(&ops[i], path, op.version);
        break;
    }
  }
  return start<Done>([&](Call<Done>& call) {
    call.results.resize(ops.size());
    return zoo_amulti(handle, static_cast<int>(ops.size()), ops.data(), call.results.data(),
                      &Callbacks::done, &call);
  });
}
kj::Promise<Done> Client::create(const std::string& path, std::string_view value, Lives lives) {
  return start<Done>([&](auto& call) {
    return zoo_acreate(handle, path.c_str(), value.data(), static_cast<int>(value.size()), access(),
                       lives == Lives::WITH_SESSION ? ZOO_EPHEMERAL : ZOO_PERSISTENT,
                       &Callbacks::created, &call);
  });
}
kj::Promise<Done> Client::set(const std::string& path, std::string_view value, int32_t version) {
  return start<Done>([&](auto& call) {
    return zoo_aset(handle, path.c_str(), value.data(), static_cast<int>(value.size()), version,
                    &Callbacks::changed, &call);
  });
}
kj::Promise<Done> Client::remove(const std::string& path, int32_t version) {
  return start<Done>([&](auto& call) {
    return zoo_adelete(handle, path.c_str(), version, &Callbacks::done, &call);
  });
}

std::string Client::name() const { return "ZooKeeper at " + namesOf(settings.servers); }

std::string Client::lostText() const {
  return name() + " does not answer: " + trouble +
         "; see that most of its servers run, and that '" + settings.setting + "' names them";
}

std::string Client::refusalText(Code code) const {
  const char* remedy = "";
  if (code == Code::NO_AUTH || code == Code::AUTH_FAILED) {
    remedy = "; 'user' and 'passwordFile' have to be those of who made what is there";
  } else if (static_cast<int>(code) == ZNOTREADONLY) {
    remedy = "; the server that answers has lost the others and is read only";
  }
  return name() + " refuses: " + textOf(code) + remedy;
}

void Client::failWith(Code code) const {
  if (!isLost(code)) fail(kj::str(refusalText(code).c_str()));
  kj::throwFatalException(kj::Exception(kj::Exception::Type::DISCONNECTED, __FILE__, __LINE__,
                                        kj::str(lostText().c_str())));
}

}  // namespace orch::zookeeper
