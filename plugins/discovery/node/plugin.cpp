#include "orch/plugin.h"

#include "config.capnp.h"
#include "lib/watchers.h"
#include "node-list.h"

namespace orch::discovery::node {
namespace {

class NodePlugin final : public PluginInstance {
 public:
  NodePlugin(Env&, Host& host, Config::Reader settings)
      : host(host), addresses(addressesOf(settings)) {}
  ~NodePlugin() noexcept(false) override { watchers->end(); }

  Task<Services> start() override {
    watchers->present(answerOf(addresses));
    Services services;
    services.add(host.node().instance,
                 newReadOnlyBackend(kj::addRef(*watchers),
                                    kj::str("to change them, edit the manifest and reload it")));
    co_return kj::mv(services);
  }

 private:
  Host& host;
  std::vector<std::string> addresses;
  kj::Own<Watchers> watchers = kj::refcounted<Watchers>();
};

}  // namespace
}  // namespace orch::discovery::node

ORCH_PLUGIN("discovery", "node", "1.0.0", orch::discovery::node::NodePlugin,
            orch::discovery::node::Config)
