// A bad value of every setting of every shipped plugin: what `config check` and a reload say of it
// is what a start would say.
#include <catch2/catch.hpp>

#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <sstream>

#include "kernel/plugin/settings-check.h"
#include "orch/fail.h"
#include "test-node.h"

namespace orch {
namespace {

struct Bad {
  const char* plugin;
  const char* key;
  const char* value;
};
const Bad ALL[] = {
    {"api.http", "listen", "'here'"},
    {"api.http", "open", "'yes'"},
    {"api.http", "hosts", "'orch.example.com'"},
    {"api.http", "certificateFile", "'chain.pem'"},
    {"api.http", "keyFile", "'/etc/orch/key.pem'"},
    {"api.http", "tokenFile", "'tokens'"},
    {"api.http", "maxConnections", "0"},
    {"api.http", "requestMs", "99"},
    {"control.agent", "store", "''"},
    {"control.agent", "dispatcher", "''"},
    {"control.agent", "image", "7"},
    {"control.agent", "runtimes", "[]"},
    {"control.agent", "retryMaxMs", "49"},
    {"control.agent", "aloneAfterMs", "-1"},
    {"control.agent", "keepImageMs", "999"},
    {"control.agent", "leaveLimitMs", "-1"},
    {"control.discovery", "massLossOneIn", "0"},
    {"control.discovery", "graceMs", "-1"},
    {"control.discovery", "heartbeatMs", "999"},
    {"control.discovery", "ttlMs", "66000"},
    {"control.manager", "store", "''"},
    {"control.manager", "scheduler", "'spread'"},
    {"control.manager", "autoInit", "'yes'"},
    {"control.manager", "heartbeatMs", "9"},
    {"control.manager", "downAfterMs", "1000"},
    {"control.manager", "startGraceMs", "-1"},
    {"control.manager", "orphanAfterMs", "'a day'"},
    {"control.manager", "storeTimeoutMs", "4294967296"},
    {"control.manager", "requestMemoryMs", "-1"},
    {"control.manager", "requestMemoryCount", "0"},
    {"control.manager", "image", "7"},
    {"control.manager", "journalBytes", "-1"},
    {"control.manager", "agent", "7"},
    {"discovery.consul", "uri", "'etcd://10.0.0.1:8500'"},
    {"discovery.consul", "path", "'a//b'"},
    {"discovery.consul", "caFile", "'ca.pem'"},
    {"discovery.consul", "certFile", "'/etc/orch/cert.pem'"},
    {"discovery.consul", "keyFile", "'/etc/orch/key.pem'"},
    {"discovery.consul", "tokenFile", "'token'"},
    {"discovery.consul", "timeoutMs", "99"},
    {"discovery.etcd", "uri", "'consul://10.0.0.1:2379'"},
    {"discovery.etcd", "path", "'a//b'"},
    {"discovery.etcd", "caFile", "'ca.pem'"},
    {"discovery.etcd", "certFile", "'/etc/orch/cert.pem'"},
    {"discovery.etcd", "keyFile", "'/etc/orch/key.pem'"},
    {"discovery.etcd", "user", "'orch'"},
    {"discovery.etcd", "passwordFile", "'/etc/orch/password'"},
    {"discovery.etcd", "timeoutMs", "99"},
    {"discovery.file", "uri", "'file://hosts'"},
    {"discovery.file", "pollMs", "-1"},
    {"discovery.hub", "listen", "'here'"},
    {"discovery.hub", "certificateFile", "'chain.pem'"},
    {"discovery.hub", "keyFile", "'/etc/orch/key.pem'"},
    {"discovery.hub", "maxClusters", "0"},
    {"discovery.hub", "forgetAfterMs", "'1s'"},
    {"discovery.hub", "maxEntries", "10001"},
    {"discovery.hub", "maxAllEntries", "0"},
    {"discovery.hub", "createsPerMinute", "0"},
    {"discovery.hub", "requestsPerSecond", "'many'"},
    {"discovery.node", "uri", "'node://10.0.0.[9:1]:2377'"},
    {"discovery.node", "entries", "['10.0.0.1']"},
    {"discovery.token", "uri", "'token://0123'"},
    {"discovery.token", "caFile", "'ca.pem'"},
    {"discovery.token", "pollMs", "99"},
    {"discovery.token", "timeoutMs", "99"},
    {"discovery.zookeeper", "uri", "'consul://10.0.0.1'"},
    {"discovery.zookeeper", "path", "'/'"},
    {"discovery.zookeeper", "user", "'orch'"},
    {"discovery.zookeeper", "passwordFile", "'/etc/orch/password'"},
    {"discovery.zookeeper", "sessionMs", "999"},
    {"discovery.zookeeper", "timeoutMs", "99"},
    {"image.oci", "root", "'images'"},
    {"image.oci", "skopeo", "''"},
    {"image.oci", "unpacker", "7"},
    {"image.oci", "insecureRegistries", "'localhost'"},
    {"image.oci", "authFile", "7"},
    {"image.oci", "policy", "7"},
    {"image.oci", "pullTimeoutSeconds", "0"},
    {"image.oci", "concurrentTransfers", "200"},
    {"image.oci", "maxLayerBytes", "0"},
    {"image.oci", "unpackTimeoutSeconds", "0"},
    {"image.oci", "keepBlobs", "7"},
    {"integration.registrator", "registry", "'http://127.0.0.1:8500'"},
    {"integration.registrator", "caFile", "'ca.pem'"},
    {"integration.registrator", "certFile", "'/etc/orch/cert.pem'"},
    {"integration.registrator", "keyFile", "'/etc/orch/key.pem'"},
    {"integration.registrator", "tokenFile", "'token'"},
    {"integration.registrator", "timeoutMs", "99"},
    {"integration.registrator", "address", "'here'"},
    {"integration.registrator", "addresses", "'both'"},
    {"integration.registrator", "addressLabel", "7"},
    {"integration.registrator", "explicit", "'yes'"},
    {"integration.registrator", "tags", "'one'"},
    {"integration.registrator", "deregister", "'never'"},
    {"integration.registrator", "cleanup", "'yes'"},
    {"integration.registrator", "resyncMs", "-1"},
    {"integration.registrator", "ttlMs", "2999"},
    {"integration.registrator", "scripts", "'yes'"},
    {"integration.registrator", "feed", "''"},
    {"integration.registrator", "image", "7"},
    {"integration.registrator", "user", "'orch'"},
    {"integration.registrator", "passwordFile", "'/etc/orch/password'"},
    {"integration.registrator", "noticeMs", "-1"},
    {"integration.registrator", "api", "'kv'"},
    {"integration.template", "templates", "[{ source = 'web.ctmpl', destination = '/etc/web' }]"},
    {"integration.template", "consul", "['127.0.0.1:8500']"},
    {"integration.template", "caFile", "'ca.pem'"},
    {"integration.template", "certFile", "'/etc/orch/cert.pem'"},
    {"integration.template", "keyFile", "'/etc/orch/key.pem'"},
    {"integration.template", "tokenFile", "'token'"},
    {"integration.template", "timeoutMs", "99"},
    {"integration.template", "services", "'swarm'"},
    {"integration.template", "noticeMs", "-1"},
    {"network.bridge", "bridge", "'a name that is too long'"},
    {"network.bridge", "subnet", "'172.30.0.0/99'"},
    {"network.bridge", "mtu", "-5"},
    {"network.bridge", "table", "''"},
    {"network.bridge", "subnet6", "'fd00::/200'"},
    {"network.dns", "ttlSeconds", "3601"},
    {"network.dns", "resolvConf", "'resolv.conf'"},
    {"network.dns", "timeoutMs", "99"},
    {"network.ingress", "table", "''"},
    {"network.ingress", "device", "'a name that is too long'"},
    {"network.ingress", "address", "'here'"},
    {"network.ingress", "dataPort", "0"},
    {"network.overlay", "address", "'here'"},
    {"network.overlay", "dataPort", "0"},
    {"network.overlay", "balancer", "'other'"},
    {"network.overlay", "encryptionPort", "0"},
    {"network.overlay", "wireguardGo", "''"},
    {"runtime.crun", "program", "''"},
    {"runtime.crun", "conmon", "''"},
    {"runtime.crun", "cgroupRoot", "'cgroup'"},
    {"runtime.crun", "cgroupParent", "'orch'"},
    {"runtime.crun", "parallelism", "-1"},
    {"runtime.crun", "createTimeoutMs", "0"},
    {"runtime.crun", "prepareTimeoutMs", "0"},
    {"runtime.crun", "killTimeoutMs", "0"},
    {"runtime.crun", "logCheckMs", "0"},
    {"runtime.crun", "commandTimeoutMs", "0"},
    {"runtime.runc", "program", "''"},
    {"runtime.runc", "conmon", "''"},
    {"runtime.runc", "cgroupRoot", "''"},
    {"runtime.runc", "cgroupParent", "'/../orch'"},
    {"runtime.runc", "parallelism", "'two'"},
    {"runtime.runc", "createTimeoutMs", "0"},
    {"runtime.runc", "prepareTimeoutMs", "0"},
    {"runtime.runc", "killTimeoutMs", "0"},
    {"runtime.runc", "logCheckMs", "0"},
    {"runtime.runc", "commandTimeoutMs", "0"},
    {"runtime.sim", "createDelayMs", "-1"},
    {"runtime.sim", "startDelayMs", "'soon'"},
    {"scheduler.binpack", "failureLimit", "0"},
    {"scheduler.random", "failureLimit", "0"},
    {"scheduler.spread", "failureLimit", "0"},
    {"store.consul", "endpoints", "['127.0.0.1:8500']"},
    {"store.consul", "prefix", "'/orch/'"},
    {"store.consul", "ca", "'ca.pem'"},
    {"store.consul", "cert", "'/etc/orch/cert.pem'"},
    {"store.consul", "key", "'/etc/orch/key.pem'"},
    {"store.consul", "tokenFile", "'token'"},
    {"store.consul", "timeoutMs", "99"},
    {"store.consul", "maxOps", "60"},
    {"store.consul", "maxBytes", "4095"},
    {"store.etcd", "endpoints", "['10.0.0.1:2379']"},
    {"store.etcd", "prefix", "'orch'"},
    {"store.etcd", "ca", "'ca.pem'"},
    {"store.etcd", "cert", "'cert.pem'"},
    {"store.etcd", "key", "'/etc/orch/key.pem'"},
    {"store.etcd", "timeoutMs", "99"},
    {"store.etcd", "maxOps", "0"},
    {"store.etcd", "maxBytes", "'1g'"},
    {"store.etcd", "historyMs", "-1"},
    {"store.etcd", "managed", "'yes'"},
    {"store.etcd", "quotaBytes", "1"},
    {"store.etcd", "peerPort", "0"},
    {"store.etcd", "clientPort", "2378"},
    {"store.local", "directory", "'state'"},
    {"store.local", "maxOps", "0"},
    {"store.local", "maxBytes", "'1g'"},
    {"store.local", "changeRecords", "1"},
    {"store.local", "changeBytes", "8192"},
    {"store.local", "acceptLoss", "-1"},
    {"store.zookeeper", "endpoints", "['http://10.0.0.1:2181']"},
    {"store.zookeeper", "prefix", "'/orch/'"},
    {"store.zookeeper", "user", "'orch'"},
    {"store.zookeeper", "passwordFile", "'/etc/orch/password'"},
    {"store.zookeeper", "timeoutMs", "99"},
    {"store.zookeeper", "sessionMs", "499"},
    {"store.zookeeper", "maxOps", "0"},
    {"store.zookeeper", "maxBytes", "4095"},
};

std::string idOf(const Bad& bad) {
  std::string id = std::string(bad.plugin) + "#" + bad.key;
  for (auto& c : id) c = std::tolower(c);
  return id;
}
std::string entryOf(const Bad& bad) {
  return "[[plugin]]\nid = '" + idOf(bad) + "'\nconfig = { " + bad.key + " = " + bad.value + " }\n";
}
// Without the file and line before it.
std::string saidOf(const std::string& text) {
  auto toml = text.find(".toml:");
  return toml == std::string::npos ? text : text.substr(text.find(": ", toml) + 2);
}

TEST_CASE("settings: the test knows every setting of every shipped plugin", "[plugin]") {
  std::set<std::string> known;
  for (auto& bad : ALL) known.insert(std::string(bad.plugin) + " " + bad.key);
  std::set<std::string> there;
  for (auto& file : std::filesystem::directory_iterator(SHIPPED_PLUGINS)) {
    auto found = plugin::readPluginFile(file.path());
    config::SettingsSchema schema(found.schema, found.descriptor.settingsType);
    capnp::MallocMessageBuilder values;
    schema.defaults(values);
    std::istringstream lines(schema.toToml(values, false));
    for (std::string line; std::getline(lines, line);) {
      there.insert(std::string(found.descriptor.kind) + "." + found.descriptor.name + " " +
                   line.substr(0, line.find(' ')));
    }
  }
  CHECK(there == known);
}

TEST_CASE(
    "settings: a bad one is refused by a reload with the words of a start, and nothing changes",
    "[plugin]") {
  std::string good =
      "[[plugin]]\nid = 'store.local'\n[[plugin]]\nid = 'scheduler.spread'\n"
      "[[plugin]]\nid = 'runtime.sim'\n";
  std::map<std::string, std::string> refused;
  auto node = std::make_unique<TestNode>(good);
  for (auto& bad : ALL) {
    node->write(good + entryOf(bad));
    auto outcome = attempt(node->kernel.reload()).wait(node->io.waitScope);
    CAPTURE(bad.plugin, bad.key);
    REQUIRE_FALSE(outcome.ok());
    std::string text = plainText(outcome.error()).cStr();
    CHECK(text.rfind(std::string(node->folder.sub("node.toml").cStr()) + ":14: ", 0) == 0);
    CHECK(text.find(bad.key) != std::string::npos);
    CHECK(node->kernel.plugins().runners().size() == 3);
    refused[idOf(bad)] = saidOf(text);
  }
  node = nullptr;  // a thread has one loop
  std::string all = good;
  for (auto& bad : ALL) all += entryOf(bad);
  TestNode started(all);
  for (auto& bad : ALL) {
    auto id = idOf(bad);
    CAPTURE(id);
    auto& plugin = started.plugin(id);
    started.waitFor(id, State::FAILED);
    CHECK(saidOf(plugin.reason()).find(bad.key) != std::string::npos);
    auto said = saidOf(plugin.reason());
    CHECK(said == refused[id]);
  }
}

TEST_CASE("settings: those of a plugin that runs are checked, and it runs on with its own",
          "[plugin]") {
  for (auto* isolation : {"process", "kernel"}) {
    CAPTURE(isolation);
    TestNode node(misbehaving(isolation));
    auto pid = node.pidOf("test.misbehaves");
    node.write(misbehaving(isolation, "config = { mode = 'refuse' }\n"));
    auto outcome = attempt(node.kernel.reload()).wait(node.io.waitScope);
    REQUIRE_FALSE(outcome.ok());
    std::string text = plainText(outcome.error()).cStr();
    CHECK(text == kj::str(node.folder.sub("node.toml"), ":10: mode 'refuse' is refused").cStr());
    CHECK(node.plugin("test.misbehaves").state() == State::RUNNING);
    CHECK(node.pidOf("test.misbehaves") == pid);
    CHECK(node.call(node.scheduler("test.misbehaves"), "n1").ok());
  }
}

}  // namespace
}  // namespace orch
