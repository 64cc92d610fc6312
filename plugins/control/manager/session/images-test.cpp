#include <catch2/catch.hpp>

#include "orch/attempt.h"
#include "session/image-offers.h"
#include "session/image-relay.h"
#include "test-cluster.h"

namespace orch::control::manager {
namespace {

const std::string ONE = "sha256:" + std::string(64, '1');
const std::string TWO = "sha256:" + std::string(64, '2');

using Nodes = std::set<std::string>;

// Three nodes, each with a task of image ONE.
struct ImageCluster {
  ImageCluster() {
    cluster.start();
    for (auto* id : {"n1", "n2", "n3"}) {
      nodes.push_back(&cluster.addNode(id));
      nodes.back()->open();
    }
    cluster.create({"web", 3, "web@" + ONE, nullptr});
    cluster.settle();
  }
  ScriptedNode& node(int number) { return *nodes[number - 1]; }
  capnp::Response<schema::Session::FindImageResults> find(int asking, const std::string& digest) {
    auto request = node(asking).current().findImageRequest();
    request.setDigest(digest.c_str());
    return request.send().wait(cluster.world.waitScope());
  }
  std::string findError(int asking, const std::string& digest) {
    auto found = attemptNow([&] { find(asking, digest); });
    return found.ok() ? "" : found.message().cStr();
  }
  std::set<std::string> sources(int asking, const std::string& digest) {
    std::set<std::string> names;
    auto found = find(asking, digest);
    for (auto source : found.getSources()) names.insert(source.getNode().cStr());
    return names;
  }
  kj::Promise<std::string> read(schema::ImageReader::Client source, uint32_t maxBytes = 100) {
    auto request = source.readRequest();
    request.setBlob(TWO.c_str());
    request.setOffset(7);
    request.setMaxBytes(maxBytes);
    return request.send().then([](auto&& part) {
      return std::string(part.getData().asChars().begin(), part.getData().size());
    });
  }

  TestCluster cluster;
  std::vector<ScriptedNode*> nodes;
};

TEST_CASE("images: every node is told of the limit and of what no node may lose for it",
          "[manager]") {
  ImageCluster test;
  auto ask = [&] {
    auto answer = test.node(1).current().imageLimitRequest().send();
    auto limit = answer.wait(test.cluster.world.waitScope());
    std::vector<std::string> said{std::to_string(limit.getBytes())};
    for (auto reference : limit.getNeeded()) said.push_back(reference.cStr());
    return said;
  };
  CHECK(ask() == std::vector<std::string>{"0"});
  auto change = test.cluster.control.updateClusterRequest();
  change.setRequestId("limit");
  change.initChange().getImageLimit().setSetBytes(5000);
  change.send().wait(test.cluster.world.waitScope());
  // Also of a service that has no task on this node, or none at all; and what an update could be
  // taken back to.
  test.cluster.create({"idle", 0, "idle:1", nullptr});
  CHECK(ask() == std::vector<std::string>{"5000", "idle:1", "web@" + ONE});
  test.cluster.update({"idle", 0, "idle:2", nullptr});
  CHECK(ask() == std::vector<std::string>{"5000", "idle:1", "idle:2", "web@" + ONE});
}

TEST_CASE("images: who has one has a version, which what is said again does not change",
          "[manager]") {
  const std::string one = "sha256:" + std::string(64, '1'), two = "sha256:" + std::string(64, '2');
  ImageOffers offers;
  auto say = [&](const char* node, const std::vector<std::string>& digests) {
    capnp::MallocMessageBuilder message;
    auto list = message.getOrphanage().newOrphan<capnp::List<schema::OfferedImage>>(digests.size());
    for (uint32_t i = 0; i < digests.size(); ++i) list.get()[i].setDigest(digests[i].c_str());
    offers.set(node, list.getReader());
  };
  CHECK(offers.versionOf(one) == 0);
  say("n1", {one});
  auto first = offers.versionOf(one);
  CHECK(first != 0);
  say("n1", {one, two});
  CHECK(offers.versionOf(one) == first);
  say("n2", {two});
  CHECK(offers.versionOf(one) == first);
  auto second = offers.versionOf(two);
  say("n1", {two});
  CHECK(offers.versionOf(one) == 0);
  CHECK(offers.versionOf(two) == second);
  offers.withdraw("n1");
  CHECK(offers.versionOf(two) != second);
  CHECK(offers.nodesWith(two) == std::set<std::string>{"n2"});
  say("n1", {one});
  CHECK(offers.versionOf(one) != first);
}

TEST_CASE("images: offers are what each node said last", "[manager]") {
  ImageCluster test;
  CHECK(test.sources(1, ONE).empty());
  test.node(2).offer({{ONE, {"web:1"}}});
  test.node(3).offer({{ONE, {}}, {TWO, {"web:2"}}});
  CHECK(test.sources(1, ONE) == Nodes{"host-n2", "host-n3"});
  CHECK(test.sources(2, ONE) == Nodes{"host-n3"});  // not itself
  test.node(3).offer({});
  CHECK(test.sources(1, ONE) == Nodes{"host-n2"});
  test.node(2).close(false);
  test.cluster.settle();
  CHECK(test.sources(1, ONE).empty());
}

TEST_CASE("images: a node is told of images that it is to run, and of no others", "[manager]") {
  ImageCluster test;
  test.node(2).offer({{ONE, {}}, {TWO, {}}});
  auto refusal = "no task of this node runs an image of that digest";
  CHECK(test.findError(1, TWO) == refusal);
  CHECK(test.findError(1, "") == refusal);
  CHECK(test.findError(1, "sha256:" + std::string(1'000'000, '1')) == refusal);
  // One that is pinned beside its name.
  test.cluster.create({"other", 3, "other", [](auto spec) {
                         spec.getTask().getContainer().setImageDigest(TWO.c_str());
                       }});
  test.cluster.settle();
  CHECK(test.sources(1, TWO) == Nodes{"host-n2"});
}

TEST_CASE("images: parts go through the manager, of that image alone", "[manager]") {
  ImageCluster test;
  test.node(2).offer({{ONE, {}}});
  auto source = test.find(1, ONE).getSources()[0].getImage();
  CHECK(test.read(source, 0xffffffff).wait(test.cluster.world.waitScope()) == "content");
  CHECK(test.node(2).lastRead == ONE + " " + TWO + " 7 65536");
  test.node(2).blob = std::string(70'000, 'x');
  auto tooMuch = attemptNow([&] { test.read(source).wait(test.cluster.world.waitScope()); });
  CHECK(tooMuch.message() == "it sends more than it was asked for");
}

TEST_CASE("images: a node that does not answer is asked for few parts, and given up", "[manager]") {
  ImageCluster test;
  test.node(2).offer({{ONE, {}}});
  test.node(3).offer({{ONE, {}}});
  test.node(2).sends = false;
  std::map<std::string, schema::ImageReader::Client> sources;
  auto found = test.find(1, ONE);
  for (auto source : found.getSources()) {
    sources.emplace(source.getNode().cStr(), source.getImage());
  }
  kj::Vector<kj::Promise<Outcome<std::string>>> reads;
  for (int i = 0; i < 20; ++i) {
    auto read = test.read(sources.at("host-n2"));
    reads.add(attempt(kj::mv(read)).promise());
  }
  test.cluster.settle();
  CHECK(test.node(2).reads == PARTS_OF_NODE);
  // It holds up nobody else.
  CHECK(test.read(sources.at("host-n3")).wait(test.cluster.world.waitScope()) == "content");
  for (auto& read : reads) read = read.eagerlyEvaluate(nullptr);
  test.cluster.advance(60 * kj::SECONDS);
  auto outcomes = kj::joinPromises(reads.releaseAsArray()).wait(test.cluster.world.waitScope());
  for (auto& outcome : outcomes) CHECK(outcome.message() == "it has not answered for 15 s");
}

TEST_CASE("images: what a node says of its images has limits", "[manager]") {
  ImageCluster test;
  std::map<std::string, std::vector<std::string>> many;
  for (size_t i = 0; i <= ImageOffers::MAX_IMAGES; ++i) {
    auto digits = std::to_string(i);
    many["sha256:" + std::string(64 - digits.size(), '0') + digits];
  }
  auto error = [&](const std::map<std::string, std::vector<std::string>>& images) {
    auto said = attemptNow([&] { test.node(2).offer(images); });
    return said.ok() ? std::string() : std::string(said.message().cStr());
  };
  auto limits = "usage: a node offers at most 1000 images with 4000000 bytes of names";
  test.node(2).offer({{ONE, {}}});
  CHECK(error(many) == limits);
  CHECK(error({{ONE, {std::string(5'000'000, 'x')}}}) == limits);
  CHECK(error({{"../etc", {}}}) ==
        "usage: an image is offered by its digest, 'sha256:' and 64 digits");
  CHECK(test.sources(1, ONE) == Nodes{"host-n2"});  // nothing changed
}

}  // namespace
}  // namespace orch::control::manager
