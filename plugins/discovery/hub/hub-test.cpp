// The hub over real sockets, asked as classic Swarm's client asks (reference: its token discovery).
#include <catch2/catch.hpp>

#include <fstream>

#include "lib/testing/localhost-certificate.h"
#include "listener.h"
#include "orch/attempt.h"
#include "orch/testing/held-time.h"
#include "orch/testing/plugin-module.h"
#include "orch/testing/test-host.h"

namespace orch::discovery::hub {
namespace {

using Method = kj::HttpMethod;

struct Answer {
  unsigned status = 0;
  std::string text;
  std::string type;
};

// A hub whose time the test moves, and a client.
struct Hubbed {
  explicit Hubbed(kj::Function<void(Config::Builder)> change = [](Config::Builder) {}) {
    auto settings = message.initRoot<Config>();
    change(settings);
    start();
  }
  void start() {
    running = nullptr;
    listener = nullptr;
    auto& made = *hub.emplace(
        kj::heap<Hub>(time, message.getRoot<Config>().asReader(), folder.sub("hub").cStr()));
    made.recover().promise().wait(io.waitScope);
    auto& listening = *listener.emplace(kj::heap<Listener>(time, made));
    listening.open("127.0.0.1:0", nullptr).promise().wait(io.waitScope);
    port = listening.port();
    running = listening.run().promise().eagerlyEvaluate(nullptr);
  }
  // On a connection of its own.
  Answer ask(Method method, const std::string& path, const std::string& body = "") {
    kj::HttpHeaderTable table;
    auto client = kj::newHttpClient(env->timer(), table, env->network(), nullptr);
    kj::HttpHeaders headers(table);
    auto url = kj::str("http://127.0.0.1:", port, path.c_str());
    auto request = client->request(method, url, headers, body.size());
    if (!body.empty()) request.body->write(body.data(), body.size()).wait(io.waitScope);
    request.body = nullptr;
    auto response = request.response.wait(io.waitScope);
    Answer answer;
    answer.status = response.statusCode;
    KJ_IF_MAYBE (type, response.headers->get(kj::HttpHeaderId::CONTENT_TYPE)) {
      answer.type = type->cStr();
    }
    answer.text = response.body->readAllText().wait(io.waitScope).cStr();
    return answer;
  }
  kj::Own<kj::AsyncIoStream> connection() {
    return env->network()
        .parseAddress("127.0.0.1", port)
        .then([](kj::Own<kj::NetworkAddress> address) {
          return address->connect().attach(kj::mv(address));
        })
        .wait(io.waitScope);
  }

  testing::TestFolder folder{"discovery-hub"};
  kj::AsyncIoContext io = kj::setupAsyncIo();
  kj::Own<Env> env = newSystemEnv(io);
  testing::HeldTime time{*env, io.waitScope};
  capnp::MallocMessageBuilder message;
  kj::Maybe<kj::Own<Hub>> hub;
  kj::Maybe<kj::Own<Listener>> listener;
  unsigned port = 0;
  kj::Promise<void> running = nullptr;
};

TEST_CASE("hub: answers what classic Swarm's client asks", "[discovery]") {
  Hubbed hub;
  auto created = hub.ask(Method::POST, "/v1/clusters");
  CHECK(created.status == 200);
  REQUIRE(created.text.size() == 32);
  auto cluster = "/v1/clusters/" + created.text;
  auto empty = hub.ask(Method::GET, cluster);
  CHECK(empty.status == 200);
  CHECK(empty.text == "[]");
  CHECK(empty.type == "application/json");
  CHECK(hub.ask(Method::POST, cluster + "?ttl=60", "10.0.0.2:2375").status == 200);
  CHECK(hub.ask(Method::POST, cluster, "10.0.0.1:2375").status == 200);  // for 180 s
  CHECK(hub.ask(Method::GET, cluster).text == R"(["10.0.0.1:2375","10.0.0.2:2375"])");
  hub.time.advance(60 * kj::SECONDS);
  CHECK(hub.ask(Method::GET, cluster).text == R"(["10.0.0.1:2375"])");
  hub.time.advance(120 * kj::SECONDS);
  CHECK(hub.ask(Method::GET, cluster).text == "[]");
  CHECK(hub.ask(Method::GET, "/v1/clusters/0123").status == 404);
  CHECK(hub.ask(Method::POST, "/v1/clusters/0123?ttl=60", "10.0.0.1:1").status == 404);
}

TEST_CASE("hub: keeps role, digest and node for those who ask, and takes entries away",
          "[discovery]") {
  Hubbed hub;
  auto cluster = "/v1/clusters/" + hub.ask(Method::POST, "/v1/clusters").text;
  CHECK(hub.ask(Method::POST, cluster + "?ttl=60&role=manager&digest=ab%3Acd&node=n1",
                "[2001:DB8::0:1]:2377\n")
            .status == 200);
  CHECK(hub.ask(Method::GET, cluster + "?details=1").text ==
        R"([{"address":"[2001:db8::1]:2377","role":"manager","clusterDigest":"ab:cd",)"
        R"("nodeId":"n1"}])");
  CHECK(hub.ask(Method::DELETE, cluster, "[2001:db8::1]:2377").status == 200);
  CHECK(hub.ask(Method::GET, cluster).text == "[]");
}

TEST_CASE("hub: what cannot be right is refused, and nothing changes", "[discovery]") {
  Hubbed hub;
  auto cluster = "/v1/clusters/" + hub.ask(Method::POST, "/v1/clusters").text;
  struct Row {
    Method method;
    std::string path;
    std::string body;
    unsigned status;
  };
  const Row rows[] = {
      {Method::POST, cluster + "?ttl=60", "", 400},
      {Method::POST, cluster + "?ttl=60", "10.0.0.1", 400},
      {Method::POST, cluster + "?ttl=60", "10.0.0.[1:9]:1", 400},
      {Method::POST, cluster + "?ttl=60", "\"><script>:1", 400},
      {Method::POST, cluster + "?ttl=0", "10.0.0.1:1", 400},
      {Method::POST, cluster + "?ttl=86401", "10.0.0.1:1", 400},
      {Method::POST, cluster + "?ttl=-1", "10.0.0.1:1", 400},
      {Method::POST, cluster + "?ttl=1s", "10.0.0.1:1", 400},
      {Method::POST, cluster + "?ttl=99999999999999999999", "10.0.0.1:1", 400},
      {Method::POST, cluster + "?ttl=60&role=king", "10.0.0.1:1", 400},
      {Method::POST, cluster + "?ttl=60&node=%22", "10.0.0.1:1", 400},
      {Method::POST, cluster + "?ttl=60", std::string(600, 'a') + ":1", 413},
      {Method::PUT, cluster, "10.0.0.1:1", 405},
      {Method::GET, "/v1/clusters", "", 405},
      {Method::GET, "/", "", 404},
      {Method::GET, "/v1/clusters/a/b", "", 404},
      {Method::GET, "/v2/clusters/a", "", 404},
      {Method::GET, "/v1/clusters/..%2f", "", 404},
  };
  for (auto& row : rows) {
    INFO(row.path << " " << row.body);
    CHECK(hub.ask(row.method, row.path, row.body).status == row.status);
  }
  CHECK(hub.ask(Method::GET, cluster).text == "[]");
}

TEST_CASE("hub: tokens outlive a restart, and entries come back by their beat", "[discovery]") {
  Hubbed hub;
  auto cluster = "/v1/clusters/" + hub.ask(Method::POST, "/v1/clusters").text;
  auto second = "/v1/clusters/" + hub.ask(Method::POST, "/v1/clusters").text;
  CHECK(cluster != second);
  hub.ask(Method::POST, cluster + "?ttl=60", "10.0.0.1:1");
  hub.start();
  CHECK(hub.ask(Method::GET, cluster).text == "[]");
  CHECK(hub.ask(Method::GET, second).status == 200);
  hub.ask(Method::POST, cluster + "?ttl=60", "10.0.0.1:1");
  CHECK(hub.ask(Method::GET, cluster).text == R"(["10.0.0.1:1"])");
}

TEST_CASE("hub: a token that cannot be kept is not given out, and a damaged list is refused",
          "[discovery]") {
  Hubbed hub;
  auto kept = hub.ask(Method::POST, "/v1/clusters").text;
  {
    std::ofstream damaged(hub.folder.sub("hub/clusters").cStr());
    damaged << "nonsense";
  }
  auto again = attempt(hub.hub
                           .emplace(kj::heap<Hub>(hub.time, hub.message.getRoot<Config>(),
                                                  hub.folder.sub("hub").cStr()))
                           ->recover())
                   .promise()
                   .wait(hub.io.waitScope);
  REQUIRE(!again.ok());
  CHECK(std::string(again.message().cStr()).find("clusters") != std::string::npos);
}

TEST_CASE("hub: one client is held to a rate, and clusters to a number", "[discovery]") {
  Hubbed hub([](Config::Builder settings) {
    settings.setCreatesPerMinute(3);
    settings.setMaxClusters(4);
    settings.setRequestsPerSecond(20);
  });
  for (int i = 0; i < 3; ++i) CHECK(hub.ask(Method::POST, "/v1/clusters").status == 200);
  CHECK(hub.ask(Method::POST, "/v1/clusters").status == 429);
  hub.time.advance(40 * kj::SECONDS);
  CHECK(hub.ask(Method::POST, "/v1/clusters").status == 200);
  CHECK(hub.ask(Method::POST, "/v1/clusters").status == 507);
  unsigned refused = 0;
  for (int i = 0; i < 60; ++i) {
    if (hub.ask(Method::GET, "/v1/clusters/x").status == 429) ++refused;
  }
  CHECK(refused > 10);
  hub.time.advance(10 * kj::SECONDS);
  CHECK(hub.ask(Method::GET, "/v1/clusters/x").status == 404);
}

TEST_CASE("hub: half a request is given up, and other clients are served meanwhile",
          "[discovery]") {
  Hubbed hub;
  auto cluster = "/v1/clusters/" + hub.ask(Method::POST, "/v1/clusters").text;
  std::vector<kj::Own<kj::AsyncIoStream>> slow;
  for (int i = 0; i < 20; ++i) {
    slow.push_back(hub.connection());
    auto half =
        i % 2 == 0 ? "POST "_kj : "POST /v1/clusters/x HTTP/1.1\r\nContent-Length: 9\r\n\r\na"_kj;
    slow.back()->write(half.begin(), half.size()).wait(hub.io.waitScope);
  }
  CHECK(hub.ask(Method::GET, cluster).status == 200);
  hub.time.advance(Hub::REQUEST_TIME);
  for (auto& stream : slow) {
    char buffer[256];
    auto ended = attempt(stream->tryRead(buffer, sizeof(buffer), sizeof(buffer)));
    kj::mv(ended).promise().wait(hub.io.waitScope);  // comes back: the other end has closed
  }
  CHECK(hub.ask(Method::GET, cluster).status == 200);
}

TEST_CASE("hub: with a certificate it speaks HTTPS, and one who only connects harms nobody",
          "[discovery]") {
  testing::TestFolder folder("discovery-hub-tls");
  auto io = kj::setupAsyncIo();
  auto env = newSystemEnv(io);
  testing::HeldTime time(*env, io.waitScope);
  capnp::MallocMessageBuilder message;
  Hub hub(time, message.initRoot<Config>().asReader(), folder.path().cStr());
  Listener listener(time, hub);
  kj::TlsKeypair pair{kj::TlsPrivateKey(LOCALHOST_KEY), kj::TlsCertificate(LOCALHOST_CERTIFICATE)};
  kj::TlsContext::Options options;
  options.defaultKeypair = pair;
  listener.open("127.0.0.1:0", kj::heap<kj::TlsContext>(options)).promise().wait(io.waitScope);
  auto running = listener.run().promise().eagerlyEvaluate(nullptr);

  auto silent = env->network()
                    .parseAddress("127.0.0.1", listener.port())
                    .wait(io.waitScope)
                    ->connect()
                    .wait(io.waitScope);
  kj::TlsContext::Options trusting;
  kj::TlsCertificate certificate(LOCALHOST_CERTIFICATE);
  trusting.useSystemTrustStore = false;
  trusting.trustedCertificates = kj::arrayPtr(&certificate, 1);
  kj::TlsContext context(trusting);
  auto network = context.wrapNetwork(env->network());
  kj::HttpHeaderTable table;
  auto client = kj::newHttpClient(env->timer(), table, env->network(), *network);
  auto url = kj::str("https://localhost:", listener.port(), "/v1/clusters");
  auto request = client->request(Method::POST, url, kj::HttpHeaders(table), uint64_t(0));
  request.body = nullptr;
  auto response = request.response.wait(io.waitScope);
  CHECK(response.statusCode == 200);
  CHECK(response.body->readAllText().wait(io.waitScope).size() == 32);
  time.advance(Listener::HANDSHAKE_TIME);
  char byte;
  CHECK(silent->tryRead(&byte, 1, 1).wait(io.waitScope) == 0);
}

TEST_CASE("hub: settings that are wrong are refused by key", "[discovery]") {
  auto io = kj::setupAsyncIo();
  auto env = newSystemEnv(io);
  auto problem = [&](kj::Function<void(Config::Builder)> change) {
    testing::TestFolder folder("discovery-hub-settings");
    testing::PluginModule module(*env, ORCH_MODULE, testing::Isolation::KERNEL, io.waitScope);
    testing::TestHost host(folder.path(), folder.path(), "discovery.hub");
    capnp::MallocMessageBuilder message;
    auto settings = message.initRoot<Config>();
    change(settings);
    std::string text;
    KJ_IF_MAYBE (error, kj::runCatchingExceptions([&] {
                   host.configure(module.plugin(), settings.asReader(), io.waitScope);
                   module.plugin().recoverRequest().send().wait(io.waitScope);
                   module.plugin().startRequest().send().wait(io.waitScope);
                 })) {
      text = plainText(*error).cStr();
    }
    return text;
  };
  CHECK(problem([](auto s) { s.setListen("here"); }).starts_with("listen: 'here' is no address"));
  CHECK(problem([](auto s) { s.setKeyFile("/k"); }).starts_with("certificateFile and keyFile"));
  CHECK(problem([](auto s) {
          s.setKeyFile("/nowhere/k");
          s.setCertificateFile("/nowhere/c");
        }) == "certificateFile: cannot read '/nowhere/c'");
  testing::TestFolder folder("discovery-hub-pem");
  auto chain = folder.sub("chain.pem");
  auto key = folder.sub("key.pem");
  std::ofstream(chain.cStr()) << LOCALHOST_CERTIFICATE;
  std::ofstream(key.cStr()) << LOCALHOST_KEY;
  auto withFiles = [&](kj::StringPtr certificateFile, kj::StringPtr keyFile) {
    return problem([&](auto s) {
      s.setCertificateFile(certificateFile);
      s.setKeyFile(keyFile);
      s.setListen("192.0.2.1:2378");  // no host has it: of TEST-NET-1
    });
  };
  CHECK(withFiles(key, chain).starts_with("certificateFile and keyFile are no certificate"));
  CHECK(withFiles(chain, key).starts_with("cannot listen on '192.0.2.1:2378': "));
}

}  // namespace
}  // namespace orch::discovery::hub
