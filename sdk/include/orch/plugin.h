// Writing a plugin: derive from PluginInstance, name it in ORCH_PLUGIN, done.
//
//   class Spread final : public orch::PluginInstance {
//    public:
//     Spread(orch::Env& env, orch::Host& host, Config::Reader settings);
//     orch::Task<orch::Services> start() override;
//   };
//   ORCH_PLUGIN("scheduler", "spread", "1.0.0", Spread, Config, "store")
//
// The same file runs in the kernel and in a process of its own. No mutable statics: many kernels of
// one test process share one mapping.
#pragma once

#include <capnp/message.h>

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
    entries.add(Entry{kj::str(name), kj::mv(capability)});
    return *this;
  }
  struct Entry {
    kj::String name;
    capnp::Capability::Client capability;
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

namespace descriptor {
template <size_t N>
constexpr void put(char (&target)[N], const char* text) {
  size_t i = 0;
  for (; text[i] != '\0'; ++i) target[i] = text[i];  // too long: not a constant expression
  for (; i < N; ++i) target[i] = '\0';
}
template <typename... Requires>
constexpr PluginDescriptor make(const char* kind, const char* name, const char* version,
                                uint64_t settingsType, Requires... requirements) {
  static_assert(sizeof...(Requires) <= MAX_REQUIRES);
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
  int i = 0;
  (put(d.requires_[i++], requirements), ...);
  return d;
}
}  // namespace descriptor
}  // namespace orch

// The descriptor and the two exported symbols. Once per plugin, outside of any namespace. After the
// settings' type: kinds or plugins that must run before this one starts.
#define ORCH_PLUGIN(KIND, NAME, VERSION, INSTANCE, SETTINGS, ...)                             \
  extern "C" __attribute__((section(".orch.plugin"), used, visibility("default")))            \
  const orch::PluginDescriptor orch_plugin_descriptor = orch::descriptor::make(               \
      KIND, NAME, VERSION, capnp::typeId<SETTINGS>() __VA_OPT__(, ) __VA_ARGS__);             \
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
