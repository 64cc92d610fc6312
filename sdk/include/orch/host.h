// What a plugin sees of its kernel: who the node is, other services, the bus and the log.
#pragma once

#include <capnp/capability.h>
#include <kj/string.h>
#include <kj/vector.h>

#include <initializer_list>

#include "orch/schema/plugin.capnp.h"
#include "orch/task.h"

namespace orch {

// One key=value of a log line or an event. Borrows its key; the value is a copy.
struct Field {
  template <typename T>
  Field(kj::StringPtr key, T&& value) : key(key), value(kj::str(kj::fwd<T>(value))) {}
  kj::StringPtr key;
  kj::String value;
};
using Fields = std::initializer_list<Field>;

// Sends log lines to the kernel. The message is constant, the data are fields. A warning or an
// error begins with a stable id: log.error("image.pull-failed", {{"image", name}, {"reason",
// why}}).
class Log {
 public:
  explicit Log(schema::Host::Client host);
  void debug(kj::StringPtr message, Fields fields = {});
  void info(kj::StringPtr message, Fields fields = {});
  void warn(kj::StringPtr message, Fields fields = {});
  void error(kj::StringPtr message, Fields fields = {});
  void setLevel(schema::LogLevel minimum) { level = minimum; }

 private:
  void send(schema::LogLevel at, kj::StringPtr message, Fields fields);
  schema::Host::Client host;
  schema::LogLevel level = schema::LogLevel::INFO;
};

struct NodeFacts {
  kj::String id;
  kj::String name;
  kj::String dataDir;   // survives a reboot; a plugin keeps its things in `dataDir/<its id>`
  kj::String runDir;    // does not: on a tmpfs
  kj::String version;   // of orchd
  kj::String instance;  // this plugin's id, `store.local#agent`; the name of its service
  struct Label {
    kj::String key;
    kj::String value;
  };
  kj::Vector<Label> labels;
  struct Resource {
    kj::String kind;
    uint64_t amount;
    kj::Vector<kj::String> names;  // of a set
  };
  kj::Vector<Resource> resources;
};

// Belongs to one plugin instance and lives as long as it. Used on the loop's thread only.
class Host {
 public:
  Host(schema::Host::Client client, NodeFacts facts);
  KJ_DISALLOW_COPY(Host);

  const NodeFacts& node() const { return facts; }
  Log& log() { return logger; }
  schema::Host::Client client() { return rpc; }

  // A service by name, at once: calls wait until it runs. Give the wait a deadline of your own.
  template <typename T>
  typename T::Client service(kj::StringPtr name) {
    return serviceNamed(name).castAs<T>();
  }
  // Tells everybody who listens. Does not wait.
  void publish(kj::StringPtr topic, kj::StringPtr subject, Fields attributes = {});

 private:
  capnp::Capability::Client serviceNamed(kj::StringPtr name);
  schema::Host::Client rpc;
  NodeFacts facts;
  Log logger;
};

}  // namespace orch
