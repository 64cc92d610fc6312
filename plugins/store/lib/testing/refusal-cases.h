// What is wrong with servers that speak HTTP, or with how they are reached. Their `Backend` has
// beside the rest
//   secureServers(env, scope, name, certificates)   one that shows `server`, and wants to see a
//                                                   certificate as well
// and its Options have ca, cert and key.
#pragma once

#include <catch2/catch.hpp>

#include <fstream>

#include "http/testing/certificates.h"
#include "lib/testing/refusals.h"
#include "orch/testing/sockets.h"

namespace orch::store {

// One server that speaks nothing but TLS, and settings that suit it.
template <typename Backend>
struct SecureServer {
  // For what `names` says and so many days, as Certificates takes them.
  explicit SecureServer(kj::StringPtr name, const std::string& names = "IP:127.0.0.1", int days = 1)
      : testName(kj::str(Backend::SHORT, "-", name)), made(*loop.env, loop.scope, testName) {
    made.sign("server", names, days);
    made.sign("client", "DNS:orch");
    servers = Backend::secureServers(*loop.env, loop.scope, testName, made);
    good.endpoints = Backend::endpoints(*servers);
    good.ca = made.file("ca.pem");
    good.cert = made.file("client.pem");
    good.key = made.file("client.key");
  }
  std::string refusal(const typename Backend::Options& options) {
    return refusalOf<Backend>(loop, options);
  }
  kj::String testName;
  TestLoop loop;
  http::Certificates made;
  kj::Own<typename Backend::Servers> servers;
  typename Backend::Options good;
};

template <typename Backend>
void trustsWhomItWasToldTo() {
  SecureServer<Backend> all("tls");
  auto& made = all.made;
  auto good = all.good;
  CHECK(all.refusal(good) == "");
  auto several = good;
  several.ca = made.file("several.pem");
  std::ofstream together(several.ca);
  for (auto name : {"stranger.pem", "ca.pem"}) together << std::ifstream(made.file(name)).rdbuf();
  together.close();
  CHECK(all.refusal(several) == "");
  auto isolated = good;
  isolated.isolation = testing::Isolation::PROCESS;
  {
    TestNode<Backend> node(*all.loop.env, all.loop.scope, kj::str(all.testName, "-isolated"),
                           isolated);
    conformance::Bench(node).mustCommit("isolated", {newObject("a")});
  }
  good.timeoutMs = 1500;
  auto url = Backend::endpoint(*all.servers, 0);
  auto start = Backend::TITLE + (" at '" + url) + "' does not answer: cannot connect: ";
  auto bad = good;
  bad.ca = made.file("stranger.pem");
  CHECK(says(all.refusal(bad), start + "its certificate is not signed by who is in 'ca'"));
  bad.ca = made.file("damaged.pem");
  std::ofstream(bad.ca) << std::ifstream(good.ca).rdbuf() << "-----BEGIN CERTIFICATE-----\nMII=\n";
  CHECK(says(all.refusal(bad), "ca: one of the certificates in the file is damaged"));
  bad = good;
  bad.ca = "";
  CHECK(says(all.refusal(bad), "its certificate is not signed by"));
  bad = good;
  bad.cert = bad.key = "";
  CHECK(says(all.refusal(bad), "it refuses the certificate in 'cert', or wants one"));
  bad = good;
  bad.ca = made.file("none.pem");
  CHECK(says(all.refusal(bad), start + "ca: cannot read '" + made.file("none.pem") + "'"));
  bad = good;
  bad.key = made.file("client.csr");
  CHECK(says(all.refusal(bad), start + "key: the file holds no such thing in PEM"));
  bad = good;
  bad.endpoints = {"http" + url.substr(5)};
  CHECK(says(all.refusal(bad), "'http://127.0.0.1:"));
}

template <typename Backend>
void endpointsOfNobodyAreNamed() {
  OneNode<Backend> all("elsewhere");
  auto options = all.node.options;
  CHECK(refusalOf<Backend>(all.loop, options) == "");
  options.timeoutMs = 1500;
  auto url = Backend::endpoint(all.servers, 0);
  auto plain = options;
  plain.endpoints = {"https" + url.substr(4)};
  auto said = refusalOf<Backend>(all.loop, plain);
  CAPTURE(said);
  CHECK((says(said, "it does not speak TLS; use http://") ||
         says(said, "reset by peer; if it does not speak TLS, use http://")));
  all.servers.kill();
  CHECK(refusalOf<Backend>(all.loop, options) ==
        Backend::TITLE + (" at '" + url) + "' does not answer: cannot connect: Connection refused" +
            Backend::NO_QUORUM);
}

template <typename Backend>
void theSilentIsLeftForAnother() {
  OneNode<Backend> all("silent");
  auto options = all.node.options;
  CHECK(refusalOf<Backend>(all.loop, options) == "");
  auto port = testing::freePort();
  auto silent = testing::serverIn("", port);
  options.endpoints.insert(options.endpoints.begin(), "http://127.0.0.1:" + std::to_string(port));
  options.timeoutMs = 2000;
  CHECK(refusalOf<Backend>(all.loop, options) == "");
}

}  // namespace orch::store
