// Encrypted networks: who may make one, which nodes get its tasks, and what keys nodes are told.
#include <catch2/catch.hpp>

#include "serve/test-networks.h"

namespace orch::control::manager {
namespace {

void encrypt(schema::Network::Builder network) { network.initOptions(1)[0].setKey("encrypted"); }

// Of the peers that the node was told, each once.
std::set<std::string> keysTold(const ScriptedNode& node) {
  std::set<std::string> keys;
  for (auto& entry : node.peers) keys.insert(entry.second.key);
  return keys;
}

struct EncryptedFixture : NetworkFixture {
  EncryptedFixture() {
    describe(*one, "key1");
    describe(*two, "", "no wireguard-go");
  }
  void describe(ScriptedNode& node, const char* key, const char* problem = "") {
    node.describes = [=](schema::NodeDescription::Builder description) {
      description.setEncryptionKey(key);
      description.setEncryptionProblem(problem);
    };
    node.cut();
    node.open();
    settle();
  }
};

TEST_CASE("encrypted networks: only a node that can be on one gets its tasks", "[manager]") {
  EncryptedFixture cluster;
  cluster.make("secret", encrypt);
  cluster.make("plain");
  cluster.create(NetworkFixture::on("secret", 4));
  cluster.settle();
  CHECK(cluster.one->running() == 4);
  CHECK(cluster.two->running() == 0);
  cluster.create(NetworkFixture::on("plain", 4, "other"));
  cluster.settle();
  CHECK(cluster.two->running() > 0);
}

TEST_CASE("encrypted networks: why a node gets no task is said in its words", "[manager]") {
  EncryptedFixture cluster;
  cluster.make("secret", encrypt);
  auto spec = NetworkFixture::on("secret", 1);
  auto more = spec.more;
  spec.more = [more](schema::ServiceSpec::Builder it) {
    more(it);
    it.getTask().initPlacement().initConstraints(1).set(0, "node.id==node2");
  };
  cluster.create(spec);
  cluster.settle();
  cluster.advance(1 * kj::SECONDS);
  auto progress = cluster.progress("web");
  CHECK_THAT(
      progress.getProgress().getProblem().cStr(),
      Catch::Contains("cannot be on the encrypted network 'secret': no wireguard-go on 1 node"));
  // As soon as it can, it does.
  cluster.describe(*cluster.two, "key2");
  cluster.settle();
  CHECK(cluster.two->running() == 1);
}

TEST_CASE("encrypted networks: nodes are told each other's keys, and new ones", "[manager]") {
  EncryptedFixture cluster;
  cluster.describe(*cluster.two, "key2");
  cluster.make("secret", encrypt);
  cluster.create(NetworkFixture::on("secret", 2));
  cluster.settle();
  CHECK(keysTold(*cluster.one) == std::set<std::string>{"key1", "key2"});
  cluster.describe(*cluster.two, "key3");
  CHECK(keysTold(*cluster.one) == std::set<std::string>{"key1", "key3"});
}

TEST_CASE("encrypted networks: of others no keys are told", "[manager]") {
  EncryptedFixture cluster;
  cluster.make("plain");
  cluster.create(NetworkFixture::on("plain", 2));
  cluster.settle();
  CHECK(keysTold(*cluster.one) == std::set<std::string>{""});
}

}  // namespace
}  // namespace orch::control::manager
