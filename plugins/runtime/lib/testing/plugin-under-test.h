// What a plugin says of itself to the cases that it shares.
#pragma once

#include <capnp/message.h>

#include "oci-plugin.h"
#include "oci-subject.h"

namespace orch::runtime {

// `Config` are its settings, which OPTIONS reads.
template <typename Config, Options (*OPTIONS)(typename Config::Reader)>
struct OciPluginUnderTest {
  static kj::Own<PluginInstance> make(Env& env, Host& host, capnp::AnyPointer::Reader settings) {
    return kj::heap<OciPlugin>(env, host, OPTIONS(settings.getAs<Config>()));
  }
  static kj::Own<capnp::MallocMessageBuilder> settings(kj::StringPtr cgroupParent,
                                                       kj::StringPtr program) {
    auto message = kj::heap<capnp::MallocMessageBuilder>();
    auto config = message->initRoot<Config>();
    config.setCgroupParent(cgroupParent);
    config.setLogCheckMs(100);
    if (program.size() > 0) {
      config.setProgram(program);
      config.setCommandTimeoutMs(500);
      config.setPrepareTimeoutMs(1500);
    }
    return message;
  }
  static schema::Plugin::Client configure(testing::TestHost& host, schema::Plugin::Client plugin,
                                          capnp::MessageBuilder& settings, kj::WaitScope& scope) {
    return host.configure(kj::mv(plugin), settings.getRoot<Config>().asReader(), scope);
  }
  static PluginUnderTest named(kj::StringPtr name) { return {&make, name, &settings, &configure}; }
};

}  // namespace orch::runtime
