#include "orch/plugin.h"

#include "config.capnp.h"
#include "file-source.h"
#include "lib/uri.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::discovery::file {
namespace {

std::string pathOf(Config::Reader settings) {
  auto parsed = attemptNow([&] { return parseFileUri(settings.getUri().cStr()); });
  if (!parsed.ok()) fail(kj::str("uri: ", parsed.message()));
  return kj::mv(parsed.value());
}

class FilePlugin final : public PluginInstance {
 public:
  FilePlugin(Env& env, Host& host, Config::Reader settings)
      : host(host),
        path(pathOf(settings)),
        source(env, path, settings.getPollMs() * kj::MILLISECONDS, *watchers) {}
  ~FilePlugin() noexcept(false) override { watchers->end(); }

  Task<Services> start() override {
    following = source.run().promise().eagerlyEvaluate([this](kj::Exception&& e) {
      watchers->failed(e.getDescription());
      host.log().error("discovery.file-stopped", {{"reason", e.getDescription()}});
    });
    Services services;
    services.add(host.node().instance,
                 newReadOnlyBackend(kj::addRef(*watchers),
                                    kj::str("to change them, edit '", path.c_str(), "'")));
    co_return kj::mv(services);
  }

 private:
  Host& host;
  std::string path;
  kj::Own<Watchers> watchers = kj::refcounted<Watchers>();
  FileSource source;
  kj::Promise<void> following = nullptr;
};

}  // namespace
}  // namespace orch::discovery::file

ORCH_PLUGIN("discovery", "file", "1.0.0", orch::discovery::file::FilePlugin,
            orch::discovery::file::Config)
