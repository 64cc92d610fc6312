// Answers in the namespaces of all tasks of the node. On the answering thread, as all that it owns.
#pragma once

#include <kj/async-io.h>
#include <kj/async-unix.h>
#include <kj/function.h>

#include <map>
#include <string>
#include <vector>

#include "forwarder.h"
#include "responder.h"
#include "tables.h"
#include "task-end.h"
#include "udp-batch.h"

namespace orch::network::dns {

// What a task may ask for.
struct TaskNames {
  std::vector<std::string> networks;  // ids, the first one first
  std::vector<Server> servers;        // empty: the host's
  bool closed = false;                // nobody is asked what is none of these names
};

struct ServerSettings {
  std::string resolvConf;
  kj::Duration timeout = 2 * kj::SECONDS;
  uint32_t ttlSeconds = 5;
};

class AnsweringServer final {
 public:
  // `complain(id, reason)` is called for what an administrator should know, possibly often.
  using Complain = kj::Function<void(const char* id, kj::String reason)>;
  AnsweringServer(Forwarder::Parts parts, const ServerSettings& settings, Complain complain);
  ~AnsweringServer() noexcept(false);
  KJ_DISALLOW_COPY(AnsweringServer);

  void update(schema::NetworkChange::Reader change) { tables.apply(change); }
  void serve(const std::string& taskId, TaskEnd end, TaskNames names);
  void change(const std::string& taskId, TaskNames names);
  // Closes the sockets; the namespace is given back. Null: not served.
  kj::Maybe<kj::AutoCloseFd> release(const std::string& taskId);
  // Where a task's questions have to be led, in its namespace. Null: not served.
  struct Ear {
    kj::AutoCloseFd inside;
    uint16_t udpPort = 0;
    uint16_t tcpPort = 0;
  };
  kj::Maybe<Ear> earOf(const std::string& taskId) const;

 private:
  class TaskServer;
  Forwarder::Parts parts;
  Complain complain;
  Tables tables;
  Responder responder;
  Forwarder forwarder;
  UdpBatch batch;
  std::map<std::string, kj::Own<TaskServer>> tasks;
};

}  // namespace orch::network::dns
