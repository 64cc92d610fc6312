// Servers that speak TLS. `Plugin` is as for test-backend.h, with `caFile` among its Options, and
// has
//   secureServers(env, scope, testName, certificates)      which show `server`
#pragma once

#include "http/testing/certificates.h"
#include "lib/testing/test-backend.h"

namespace orch::discovery {

template <typename Plugin>
void trustsWhomItWasToldTo(kj::StringPtr testName) {
  conformance::SeenByWatch seen, wary;  // sinks are let go of by the last turn of the loop
  Loop loop;
  http::Certificates made(*loop.env, loop.scope, testName);
  made.sign("server", "IP:127.0.0.1");
  auto servers = Plugin::secureServers(*loop.env, loop.scope, testName, made);
  typename Plugin::Options options;
  options.uri = Plugin::uriOf(*servers, "lab");
  options.caFile = made.file("ca.pem");
  TestBackend<Plugin> plugin(loop, options);
  auto watching = plugin.watch(seen);
  loop.until("the entry", [&] { return plugin.put("10.0.0.1:1").empty(); });
  loop.until("the list", [&] { return shows(seen, {"10.0.0.1:1"}); });
  options.caFile = made.file("stranger.pem");
  TestBackend<Plugin> stranger(loop, options);
  auto second = stranger.watch(wary);
  loop.until("the failure", [&] { return !wary.failures.empty(); });
  CHECK(wary.failures[0].find("its certificate is not signed by who is in") != std::string::npos);
}

}  // namespace orch::discovery
