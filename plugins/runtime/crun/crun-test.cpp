#include "crun.h"

#include <capnp/message.h>
#include <catch2/catch.hpp>

#include "oci-plugin.h"
#include "oci-subject.h"

namespace orch::runtime {

namespace {

kj::Own<PluginInstance> make(Env& env, Host& host, capnp::AnyPointer::Reader settings) {
  return kj::heap<OciPlugin>(env, host, crun::options(settings.getAs<crun::Config>()));
}

kj::Own<capnp::MallocMessageBuilder> settings(kj::StringPtr cgroupParent, kj::StringPtr program) {
  auto message = kj::heap<capnp::MallocMessageBuilder>();
  auto config = message->initRoot<crun::Config>();
  config.setCgroupParent(cgroupParent);
  config.setLogCheckMs(100);
  if (program.size() > 0) {
    config.setProgram(program);
    config.setCommandTimeoutMs(500);
    config.setPrepareTimeoutMs(1500);
  }
  return message;
}

schema::Plugin::Client configure(testing::TestHost& host, schema::Plugin::Client plugin,
                                 capnp::MessageBuilder& settings, kj::WaitScope& scope) {
  return host.configure(kj::mv(plugin), settings.getRoot<crun::Config>().asReader(), scope);
}

}  // namespace

const PluginUnderTest PLUGIN_UNDER_TEST = {&make, "crun", &settings, &configure};

TEST_CASE("crun: keeps the contract of a runtime", "[runtime][root][cgroup]") {
  OciSubject subject("contract", 8 << 20);
  conformance::runtimeContract(subject);
}

}  // namespace orch::runtime
