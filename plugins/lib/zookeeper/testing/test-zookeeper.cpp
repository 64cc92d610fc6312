#include "zookeeper/testing/test-zookeeper.h"

#include <kj/debug.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "orch/attempt.h"
#include "orch/testing/held-time.h"
#include "orch/testing/sockets.h"

namespace orch::zookeeper {

TestZookeeper::TestZookeeper(Env& env, kj::WaitScope& scope, kj::StringPtr testName, size_t size,
                             std::vector<std::string> lines)
    : env(env), scope(scope), folder(testName), lines(std::move(lines)), servers(size) {
  for (auto& server : servers) {
    server.clientPort = testing::freePort();
    server.peerPort = testing::freePort();
    server.electionPort = testing::freePort();
  }
  for (size_t i = 0; i < size; ++i) {
    auto log = kj::str(dataOf(i), ".log");
    servers[i].process = kj::heap<testing::TestServer>(env, scope, log);
  }
  for (size_t i = 0; i < size; ++i) start(i);
}

std::string TestZookeeper::endpoint(size_t server) const {
  return "127.0.0.1:" + std::to_string(servers[server].clientPort);
}
std::vector<std::string> TestZookeeper::endpoints() const {
  std::vector<std::string> all;
  for (size_t i = 0; i < servers.size(); ++i) all.push_back(endpoint(i));
  return all;
}
kj::String TestZookeeper::dataOf(size_t server) const { return folder.sub(kj::str("s", server)); }

void TestZookeeper::start(size_t i) {
  auto& server = servers[i];
  auto data = dataOf(i);
  std::filesystem::create_directories(data.cStr());
  std::ofstream(kj::str(data, "/myid").cStr()) << i + 1 << '\n';
  auto file = folder.sub(kj::str("zoo", i, ".cfg"));
  std::ofstream config(file.cStr());
  config << "tickTime=200\ninitLimit=25\nsyncLimit=10\nmaxClientCnxns=0\nmaxSessionTimeout="
            "60000\nadmin.enableServer=false\n"
         << "clientPortAddress=127.0.0.1\nclientPort=" << server.clientPort << '\n'
         << "dataDir=" << data.cStr() << '\n';
  for (auto& line : lines) config << line << '\n';
  for (size_t n = 0; servers.size() > 1 && n < servers.size(); ++n) {
    config << "server." << n + 1 << "=127.0.0.1:" << servers[n].peerPort << ':'
           << servers[n].electionPort << '\n';
  }
  config.close();
  ProcessSpec spec;
  // Its limits are said here: Java dies of some hosts' cgroups. One thread collects garbage and
  // compiles: a server is started in a second of one busy core.
  for (auto* word : {"java", "-XX:-UseContainerSupport", "-Xmx256m", "-XX:+UseSerialGC",
                     "-XX:TieredStopAtLevel=1", "-cp", "/usr/share/java/zookeeper.jar",
                     "org.apache.zookeeper.server.quorum.QuorumPeerMain"}) {
    spec.argv.add(kj::str(word));
  }
  spec.argv.add(kj::mv(file));
  spec.env.add(kj::str("PATH=/usr/bin:/bin"));
  server.process->start(kj::mv(spec));
}

void TestZookeeper::kill(size_t i) { servers[i].process->kill(); }

void TestZookeeper::signal(int number, size_t i) { servers[i].process->signal(number); }

void TestZookeeper::wipe(size_t i) { std::filesystem::remove_all(dataOf(i).cStr()); }

void TestZookeeper::keepFiles(size_t i) {
  std::filesystem::copy(dataOf(i).cStr(), kj::str(dataOf(i), "-kept").cStr(),
                        std::filesystem::copy_options::recursive);
}
void TestZookeeper::restoreFiles(size_t i) {
  wipe(i);
  std::filesystem::copy(kj::str(dataOf(i), "-kept").cStr(), dataOf(i).cStr(),
                        std::filesystem::copy_options::recursive);
}

void TestZookeeper::takeFiles(const TestZookeeper& other) {
  wipe();
  std::filesystem::copy(other.dataOf(0).cStr(), dataOf(0).cStr(),
                        std::filesystem::copy_options::recursive);
}

std::string TestZookeeper::status(size_t i) {
  auto asking = env.network()
                    .parseAddress("127.0.0.1", servers[i].clientPort)
                    .then([](kj::Own<kj::NetworkAddress>&& address) {
                      return address->connect().attach(kj::mv(address));
                    })
                    .then([](kj::Own<kj::AsyncIoStream>&& stream) {
                      auto& asked = *stream;
                      return asked.write("srvr", 4)
                          .then([&asked] { return asked.readAllText(); })
                          .attach(kj::mv(stream));
                    });
  auto outcome = attempt(kj::mv(asking)).promise().wait(scope);
  return outcome.ok() ? outcome.value().cStr() : "";
}

std::string TestZookeeper::role(size_t i) {
  const std::string field = "Mode: ";
  std::string role;
  testing::until(env, scope, "a server to find its place", [&] {
    auto text = status(i);
    auto at = text.find(field);
    if (at == std::string::npos) return false;
    at += field.size();
    role = text.substr(at, text.find('\n', at) - at);
    return true;
  });
  return role;
}

namespace {
ClientSettings settingsFor(const std::vector<std::string>& endpoints, std::string user,
                           std::string password, kj::Duration session) {
  ClientSettings settings;
  settings.session = session;
  for (auto& endpoint : endpoints) settings.servers.push_back(Server::parse(endpoint));
  settings.user = std::move(user);
  settings.password = std::move(password);
  return settings;
}
void require(const Client& client, Code code) {
  if (code != Code::OK) client.failWith(code);
}
}  // namespace

TestClient::TestClient(Env& env, kj::WaitScope& scope, const std::vector<std::string>& endpoints,
                       std::string user, std::string password, kj::Duration session)
    : client(env, settingsFor(endpoints, std::move(user), std::move(password), session)),
      scope(scope) {}

void TestClient::ready() { client.connected().wait(scope); }

std::string TestClient::get(const std::string& path) {
  ready();
  auto read = client.get(path).wait(scope);
  require(client, read.code);
  return read.value;
}
std::vector<std::string> TestClient::children(const std::string& path) {
  ready();
  auto listing = client.children(path).wait(scope);
  require(client, listing.code);
  std::sort(listing.names.begin(), listing.names.end());
  return listing.names;
}
bool TestClient::exists(const std::string& path) {
  ready();
  auto read = client.get(path).wait(scope);
  if (read.code == Code::NO_NODE) return false;
  require(client, read.code);
  return true;
}
void TestClient::put(const std::string& path, const std::string& value) {
  ready();
  auto done = client.set(path, value).wait(scope);
  if (done.code == Code::NO_NODE) done = client.create(path, value).wait(scope);
  require(client, done.code);
}
void TestClient::remove(const std::string& path) {
  ready();
  require(client, client.remove(path).wait(scope).code);
}
void TestClient::removeAll(const std::string& path) {
  for (auto& name : children(path)) removeAll(path + "/" + name);
  remove(path);
}

}  // namespace orch::zookeeper
