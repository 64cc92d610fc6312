// Writing a plugin: derive from PluginInstance, name it in ORCH_PLUGIN, done.
//
//   class Spread final : public orch::PluginInstance {
//    public:
//     Spread(orch::Env& env, orch::Host& host, Config::Reader settings);
//     orch::Task<orch::Services> start() override;
//   };
//   ORCH_PLUGIN("scheduler", "spread", "1.0.0", Spread, Config, "store")
//
// After the settings' type stands what it asks for, in any order: kinds or plugins that must run
// first (texts), and beside them
//   orch::Calls{"image", "dispatcher"}       services that it calls when they are there
//   orch::Capabilities{CAP_NET_ADMIN}        what it may do as root in a process of its own
//   orch::Keeps{orch::HOST_MOUNTS}           see descriptor.h
//   orch::Everything{}                       all capabilities, all that one can keep: for runtimes,
//                                            whose containers get what they have
// Nobody else's service is handed out to it, and in a process of its own it has no other rights,
// unless its entry in the manifest grants them.
//
// The same file runs in the kernel and in a process of its own. No mutable statics: many kernels of
// one test process share one mapping.
#pragma once

#include <capnp/message.h>
#include <linux/capability.h>

#include <initializer_list>

#include "orch/abi.h"
#include "orch/descriptor.h"
#include "orch/env.h"
#include "orch/host.h"
#include "orch/schema/plugin.capnp.h"
#include "orch/task.h"

namespace orch {

// The services that a started plugin offers, by name.
class Services {
 public:
  Services& add(kj::StringPtr name, capnp::Capability::Client capability) {
    entries.add(Entry{kj::str(name), kj::mv(capability), nullptr});
    return *this;
  }
  // Other hosts may have it too, as `peers` opens it for each of them.
  Services& add(kj::StringPtr name, capnp::Capability::Client capability,
                schema::PeerService::Client peers) {
    entries.add(Entry{kj::str(name), kj::mv(capability), kj::mv(peers)});
    return *this;
  }
  Services& addForPeers(kj::StringPtr name, schema::PeerService::Client peers) {
    entries.add(Entry{kj::str(name), nullptr, kj::mv(peers)});
    return *this;
  }
  struct Entry {
    kj::String name;
    kj::Maybe<capnp::Capability::Client> capability;
    kj::Maybe<schema::PeerService::Client> peers;
  };
  kj::Vector<Entry> entries;
};

// The constructor is `configure`: it checks its settings (KJ_REQUIRE names the one that is wrong)
// and touches nothing outside. `settings` and the references outlive the instance. Then `recover`,
// `start` and at last `stop`, once each.
class PluginInstance {
 public:
  virtual ~PluginInstance() noexcept(false) {}
  virtual Task<void> recover() { co_return; }
  virtual Task<Services> start() = 0;
  virtual Task<void> stop() { co_return; }
};

using MakeInstance = kj::Own<PluginInstance> (*)(Env&, Host&, capnp::AnyPointer::Reader settings);

// The Plugin capability around an instance. `env` outlives it.
schema::Plugin::Client newPlugin(Env& env, MakeInstance make);
// Runs a plugin over the connected Unix socket `fd` until the other end closes it. The exit status.
int servePlugin(int fd, MakeInstance make);

struct Calls {
  constexpr Calls(std::initializer_list<const char*> services) : services(services) {}
  std::initializer_list<const char*> services;
};
struct Capabilities {
  constexpr Capabilities(std::initializer_list<int> numbers) : numbers(numbers) {}
  std::initializer_list<int> numbers;  // CAP_…
};
struct Keeps {
  uint64_t rights;
};
struct Everything {};

namespace descriptor {
template <size_t N>
constexpr void put(char (&target)[N], const char* text) {
  size_t i = 0;
  for (; text[i] != '\0'; ++i) target[i] = text[i];  // too long: not a constant expression
  for (; i < N; ++i) target[i] = '\0';
}
// More than there is room for is not a constant expression.
constexpr void add(char (&list)[MAX_REQUIRES][64], const char* name) {
  int i = 0;
  while (list[i][0] != '\0') ++i;
  put(list[i], name);
}
constexpr void ask(PluginDescriptor& d, const char* name) { add(d.requires_, name); }
constexpr void ask(PluginDescriptor& d, const Calls& calls) {
  for (auto* name : calls.services) add(d.calls, name);
}
constexpr void ask(PluginDescriptor& d, const Capabilities& wanted) {
  for (int number : wanted.numbers) d.capabilities |= uint64_t{1} << number;
}
constexpr void ask(PluginDescriptor& d, const Keeps& keeps) { d.keeps |= keeps.rights; }
constexpr void ask(PluginDescriptor& d, const Everything&) {
  d.capabilities = ~uint64_t{0};
  d.keeps = HOST_MOUNTS | NEW_PRIVILEGES;
}
template <typename... Asked>
constexpr PluginDescriptor make(const char* kind, const char* name, const char* version,
                                uint64_t settingsType, const Asked&... asked) {
  PluginDescriptor d{};
  for (int i = 0; i < 8; ++i) d.magic[i] = DESCRIPTOR_MAGIC[i];
  d.size = sizeof(PluginDescriptor);
  d.version = DESCRIPTOR_VERSION;
  put(d.abiId, ORCH_ABI_ID);
  put(d.sdkVersion, ORCH_VERSION);
  d.capnpVersion = CAPNP_VERSION;
  d.settingsType = settingsType;
  put(d.kind, kind);
  put(d.name, name);
  put(d.pluginVersion, version);
  (ask(d, asked), ...);
  return d;
}
}  // namespace descriptor
}  // namespace orch

// The descriptor and the two exported symbols. Once per plugin, outside of any namespace.
#define ORCH_PLUGIN(KIND, NAME, VERSION, INSTANCE, SETTINGS, ...)                             \
  extern "C" __attribute__((                                                                  \
      section(".orch.plugin"), used,                                                          \
      visibility("default"))) constinit const orch::PluginDescriptor orch_plugin_descriptor = \
      orch::descriptor::make(KIND, NAME, VERSION,                                             \
                             capnp::typeId<SETTINGS>() __VA_OPT__(, ) __VA_ARGS__);           \
  static kj::Own<orch::PluginInstance> orchMakeInstance(orch::Env& env, orch::Host& host,     \
                                                        capnp::AnyPointer::Reader settings) { \
    return kj::heap<INSTANCE>(env, host, settings.getAs<SETTINGS>());                         \
  }                                                                                           \
  extern "C" __attribute__((visibility("default"))) void orch_plugin_create(                  \
      orch::Env& env, orch::schema::Plugin::Client* out) {                                    \
    *out = orch::newPlugin(env, &orchMakeInstance);                                           \
  }                                                                                           \
  extern "C" __attribute__((visibility("default"))) int orch_plugin_serve(int fd) {           \
    return orch::servePlugin(fd, &orchMakeInstance);                                          \
  }
