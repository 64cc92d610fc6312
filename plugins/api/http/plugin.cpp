#include "orch/plugin.h"

#include "api-site.h"
#include "config.capnp.h"
#include "orch/attempt.h"
#include "orch/fail.h"
#include "readings.h"
#include "server.h"

namespace orch::api::http {
namespace {

Config::Reader checked(Config::Reader settings) {
  bool loopback = false;
  auto problem = problemOf(settings.getListen().cStr(), loopback);
  if (!problem.empty()) fail(kj::str("listen: ", problem.c_str()));
  for (auto path :
       {settings.getCertificateFile(), settings.getKeyFile(), settings.getTokenFile()}) {
    if (path.size() == 0 || path.startsWith("/")) continue;
    fail(kj::str("certificateFile, keyFile and tokenFile: '", path, "' is no absolute path"));
  }
  if ((settings.getCertificateFile().size() > 0) != (settings.getKeyFile().size() > 0)) {
    fail(kj::str("certificateFile and keyFile belong together; accepted: both or none"));
  }
  if (!loopback && settings.getTokenFile().size() == 0 && !settings.getOpen()) {
    fail(kj::str("listen: '", settings.getListen(),
                 "' lets other hosts read everything; give a 'tokenFile', or say 'open = true'"));
  }
  constexpr unsigned MAX_HOSTS = 32;
  if (settings.getHosts().size() > MAX_HOSTS) {
    fail(kj::str("hosts: ", settings.getHosts().size(), " are too many; at most ", MAX_HOSTS));
  }
  return settings;
}

struct Secrets {
  std::string certificate, key, tokens;
};

std::string textOf(kj::StringPtr text) { return text.cStr(); }

// Blocks.
std::string readPem(const kj::Filesystem& files, const std::string& path, const char* key) {
  auto read = attemptNow([&] {
    auto absolute = kj::Path(nullptr).evalNative(path.c_str());
    return files.getRoot().openFile(absolute)->readAllText();
  });
  if (!read.ok()) fail(kj::str(key, ": cannot read '", path.c_str(), "'"));
  return read.value().cStr();
}

class HttpApi final : public PluginInstance {
 public:
  HttpApi(Env& env, Host& host, Config::Reader settings)
      : env(env),
        host(host),
        settings(checked(settings)),
        readings(env, host, settings.getRequestMs() * kj::MILLISECONDS),
        changes(env, host, settings.getRequestMs() * kj::MILLISECONDS),
        site(env, readings, changes, settings) {}

  Task<Services> start() override {
    NetSettings net;
    net.listen = settings.getListen().cStr();
    net.maxConnections = settings.getMaxConnections();
    net.requestMs = settings.getRequestMs();
    co_await readSecrets(net);
    co_await events.start(host);
    site.setEvents(events);
    site.setServer(server.emplace(env, site, std::move(net)));
    host.log().info("api.http listens", {{"address", settings.getListen()}});
    co_return Services();
  }
  Task<void> stop() override {
    server = nullptr;
    co_return;
  }

 private:
  Task<void> readSecrets(NetSettings& net) {
    auto read = [&files = env.files(), certificate = textOf(settings.getCertificateFile()),
                 key = textOf(settings.getKeyFile()), tokens = textOf(settings.getTokenFile())] {
      Secrets secrets;
      if (!certificate.empty()) {
        secrets.certificate = readPem(files, certificate, "certificateFile");
        secrets.key = readPem(files, key, "keyFile");
      }
      if (!tokens.empty()) secrets.tokens = readTokenFile(tokens);
      return secrets;
    };
    auto secrets = co_await env.workers().run(kj::mv(read));
    net.certificate = std::move(secrets.certificate);
    net.key = std::move(secrets.key);
    if (settings.getTokenFile().size() == 0) co_return;
    site.setTokens(Tokens::parse(secrets.tokens, settings.getTokenFile().cStr()));
  }

  Env& env;
  Host& host;
  Config::Reader settings;
  Readings readings;
  Changes changes;
  EventCounts events;
  ApiSite site;
  kj::Maybe<Server> server;
};

}  // namespace
}  // namespace orch::api::http

ORCH_PLUGIN("api", "http", "1.0.0", orch::api::http::HttpApi, orch::api::http::Config,
            orch::Calls{"cluster", "kernel"})
