// A scheduler that looks around: its `open` fails with what it sees of what the id of its first
// node names: a file of /proc/self, a link there, "services", or a service that it tries to reach.
#include "orch/plugin.h"

#include <unistd.h>

#include <climits>
#include <fstream>
#include <sstream>

#include "config.capnp.h"
#include "orch/fail.h"
#include "orch/schema/scheduler.capnp.h"

namespace orch::test::curious {
namespace {

class Curious final : public schema::Scheduler::Server {
 public:
  explicit Curious(Host& host) : host(host) {}
  kj::Promise<void> open(OpenContext context) override {
    return look(kj::str(context.getParams().getNodes()[0].getId()));
  }

 private:
  Task<void> look(kj::String wish) {
    auto path = kj::str("/proc/self/", wish);
    char link[PATH_MAX] = {};
    if (readlink(path.cStr(), link, sizeof(link) - 1) > 0) fail(kj::str(link));
    if (access(path.cStr(), R_OK) == 0) {
      std::stringstream content;
      content << std::ifstream(path.cStr(), std::ios::binary).rdbuf();
      auto text = content.str();
      for (auto& c : text) c = c == '\0' ? ' ' : c;
      fail(kj::str(text.c_str()));
    }
    if (wish == "services") {
      auto request = host.client().servicesRequest();
      auto answer = co_await request.send();
      fail(kj::str(kj::delimited(answer.getNames(), " "_kj)));
    }
    auto request = host.client().serviceRequest();
    request.setName(wish);
    co_await request.send().ignoreResult();
    fail(kj::str("reached"));
  }
  Host& host;
};

class Plugin final : public PluginInstance {
 public:
  Plugin(Env&, Host& host, Config::Reader) : host(host) {}
  Task<Services> start() override {
    Services services;
    services.add(host.node().instance, schema::Scheduler::Client(kj::heap<Curious>(host)));
    co_return kj::mv(services);
  }

 private:
  Host& host;
};

}  // namespace
}  // namespace orch::test::curious

ORCH_PLUGIN("test", "curious", "1.0.0", orch::test::curious::Plugin, orch::test::curious::Config,
            "scheduler", orch::Calls{"other.one"}, orch::Capabilities{CAP_CHOWN, CAP_NET_ADMIN})
