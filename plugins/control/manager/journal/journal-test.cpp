// What is decided is written down, and comes out the same when it is decided once more.
#include "journal/journal.h"

#include <capnp/serialize.h>
#include <catch2/catch.hpp>

#include <random>
#include <set>

#include "journal/journal-reader.h"
#include "orch/attempt.h"
#include "orch/segments/segments.h"
#include "test-cluster.h"

namespace orch::control::manager {
namespace {

using schema::TaskState;

struct JournalCluster : TestCluster {
  explicit JournalCluster(uint64_t seed = testing::testSeed(), kj::StringPtr data = "/nowhere/data")
      : TestCluster(1000, seed, data),
        folder(kj::Path(nullptr).eval(kj::str(data, "/control.manager/journal"))) {
    use("scheduler.binpack");
    start();
    for (auto id : {"node1", "node2", "node3"}) nodes.push_back(&addNode(id));
    for (auto node : nodes) node->open();
    settle();
  }
  capnp::Response<schema::ClusterControl::ReplayResults> replay(
      kj::StringPtr scheduler = "", int64_t sinceNs = 0, kj::ArrayPtr<const kj::byte> file = {}) {
    settle();
    auto request = control.replayRequest();
    request.setScheduler(scheduler);
    request.setSinceNs(sinceNs);
    request.setJournal(file);
    return request.send().wait(world.waitScope());
  }
  // "web 6 6 0 0": tasks, the same, elsewhere, nowhere.
  std::string counts(kj::StringPtr scheduler = "", int64_t sinceNs = 0) {
    auto response = replay(scheduler, sinceNs);
    std::string text;
    for (auto one : response.getAnswer().getServices()) {
      text += text.empty() ? "" : ", ";
      text += kj::str(one.getService(), " ", one.getTasks(), " ", one.getSame(), " ",
                      one.getElsewhere(), " ", one.getNowhere())
                  .cStr();
    }
    return text;
  }
  template <typename F>
  void read(F&& use) {
    JournalReader reader(world.env(), folder);
    for (;;) {
      auto part = reader.next().promise().wait(world.waitScope());
      if (part.empty()) return;
      for (auto& words : part) {
        capnp::FlatArrayMessageReader message(words);
        use(message.getRoot<JournalEntry>());
      }
    }
  }
  // The newest file.
  kj::Array<kj::byte> file() {
    auto& files = world.env().files();
    auto directory = files.getRoot().openSubdir(folder);
    auto numbers = segments::segmentNumbers(*directory);
    return directory->openFile(segments::segmentName(numbers.back()))->readAllBytes();
  }
  const kj::Path folder;
  std::vector<ScriptedNode*> nodes;
};

TEST_CASE("journal: what was decided is decided the same once more", "[manager]") {
  JournalCluster cluster;
  CHECK(cluster.replay().getAnswer().getDecisions() == 0);
  cluster.create({"web", 6});
  cluster.settle();
  cluster.create({"db", 2, "db:1", [](schema::ServiceSpec::Builder spec) {
                    spec.getTask().initPlacement().initConstraints(1).set(
                        0, "node.hostname!=host-node1");
                  }});
  cluster.settle();
  CHECK(cluster.counts() == "db 2 2 0 0, web 6 6 0 0");
  auto laterNs = cluster.world.env().nowNs() + 1;
  cluster.advance(1 * kj::SECONDS);
  cluster.scale("web", 9);
  cluster.nodes[2]->close(true);
  cluster.advance(10 * kj::SECONDS);
  auto later = cluster.replay("", laterNs);
  REQUIRE(later.getAnswer().getServices().size() == 2);
  CHECK(later.getAnswer().getFirstNs() >= laterNs);
  CHECK(later.getAnswer().getTasks().size() == 0);
}

TEST_CASE("journal: another scheduler decides otherwise, task by task", "[manager]") {
  JournalCluster cluster;
  cluster.create({"web", 6});
  cluster.settle();
  CHECK(cluster.counts("spread") == "web 6 6 0 0");
  auto response = cluster.replay("binpack");
  auto answer = response.getAnswer();
  REQUIRE(answer.getServices().size() == 1);
  auto web = answer.getServices()[0];
  CHECK(web.getTasks() == 6);
  CHECK(web.getElsewhere() == 4);  // of two on each of three nodes
  REQUIRE(answer.getTasks().size() == 4);
  std::set<std::string> others;
  for (auto task : answer.getTasks()) {
    CHECK(task.getNode() != task.getOther());
    others.insert(task.getOther().cStr());
  }
  CHECK(others.size() == 1);
  auto unknown = attemptNow([&] { cluster.replay("binpakc"); });
  CHECK(unknown.message() ==
        "usage: no scheduler 'binpakc' for --scheduler; there is binpack, "
        "spread; did you mean 'binpack'?");
}

TEST_CASE("journal: a file of one is decided again by another manager", "[manager]") {
  kj::Array<kj::byte> file;
  {
    JournalCluster cluster;
    cluster.create({"web", 6});
    cluster.settle();
    cluster.advance(2 * kj::SECONDS);  // until it is written
    file = cluster.file();
  }
  JournalCluster other(2);
  auto same = other.replay("", 0, file);
  REQUIRE(same.getAnswer().getServices().size() == 1);
  CHECK(same.getAnswer().getServices()[0].getSame() == 6);
  auto otherwise = other.replay("binpack", 0, file);
  CHECK(otherwise.getAnswer().getServices()[0].getElsewhere() == 4);
  CHECK(other.counts() == "");  // its own

  auto refusal = [&](kj::ArrayPtr<const kj::byte> bytes) -> std::string {
    return attemptNow([&] { other.replay("", 0, bytes); }).message().cStr();
  };
  CHECK(refusal(kj::StringPtr("no frames").asBytes()).starts_with("usage: it is no journal"));
  CHECK(refusal(file.slice(0, 100)).starts_with("usage: it is no journal"));
  kj::Vector<kj::byte> more;
  more.addAll(file);
  more.add(0);
  CHECK(refusal(more) == kj::str("usage: the journal is damaged from byte ", file.size(),
                                 " on; 'head -c ", file.size(), "' of it can be replayed")
                             .cStr());
  auto events = segments::packFrame(kj::StringPtr("something else").asBytes());
  CHECK(refusal(events).starts_with("usage: it is no journal"));
  kj::Vector<kj::byte> begun;
  capnp::MallocMessageBuilder message;
  message.initRoot<JournalEntry>().setBegins(1);
  segments::addMessage(begun, capnp::messageToFlatArray(message));
  CHECK(refusal(segments::packFrame(begun)) ==
        "usage: the journal is damaged: it ends within the state that it begins with");
  auto change = message.initRoot<JournalEntry>().initChange();
  change.setKind("task");
  change.setId("one");
  capnp::MallocMessageBuilder task;
  task.initRoot<schema::Task>().initMeta().setId("two");
  auto words = toWords(task.getRoot<schema::Task>().asReader());
  change.setObject(words.asBytes());
  segments::addMessage(begun, capnp::messageToFlatArray(message));
  CHECK(refusal(segments::packFrame(begun)) ==
        "usage: the journal is damaged: the task 'one' has another id");
}

TEST_CASE("journal: whatever happens, it is decided the same once more", "[manager]") {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    CAPTURE(seed);
    JournalCluster cluster(seed);
    std::mt19937 random(seed);
    auto below = [&](uint32_t limit) { return static_cast<uint32_t>(random() % limit); };
    cluster.create({"web", 3});
    cluster.settle();
    for (int step = 0; step < 20; ++step) {
      auto node = cluster.nodes[below(3)];
      switch (below(4)) {
        case 0:
          cluster.scale("web", below(12));
          break;
        case 1:
          node->tasks.empty() ? void()
                              : node->report(node->tasks.begin()->first, TaskState::FAILED, "gone");
          break;
        case 2:
          node->close(true);
          cluster.advance(3 * kj::SECONDS);
          node->open();
          break;
        case 3:
          cluster.update({"web", 1 + below(8), "web:" + std::to_string(step), {}});
          break;
      }
      cluster.advance(1 * kj::SECONDS);
    }
    auto response = cluster.replay();
    REQUIRE(response.getAnswer().getServices().size() == 1);
    CHECK(response.getAnswer().getServices()[0].getTasks() > 3);
    CHECK(response.getAnswer().getTasks().size() == 0);
  }
}

TEST_CASE("journal: what is counted and who has the image is known once more", "[manager]") {
  auto digestOf = [](uint32_t number) { return "sha256:" + std::string(64, 'a' + number); };
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    CAPTURE(seed);
    JournalCluster cluster(seed);
    std::mt19937 random(seed);
    auto below = [&](uint32_t limit) { return static_cast<uint32_t>(random() % limit); };
    for (auto node : cluster.nodes) {
      node->close(false);
      node->describes = [](schema::NodeDescription::Builder description) {
        auto gpus = description.initGeneric(1)[0];
        gpus.setKind("gpu");
        gpus.setAmount(2);
        auto names = gpus.initNames(2);
        names.set(0, "A");
        names.set(1, "B");
      };
      node->open();
    }
    for (uint32_t step = 0; step < 20; ++step) {
      std::map<std::string, std::vector<std::string>> images;
      for (uint32_t i = 0; i < 3; ++i) {
        if (below(2) == 0) images[digestOf(i)] = {};
      }
      cluster.nodes[below(3)]->offer(images);
      auto gpus = below(2);
      auto name = "s" + std::to_string(below(5));
      attemptNow([&] { cluster.remove(name); });
      cluster.create({name, 1 + below(3), "web:1", [&](schema::ServiceSpec::Builder spec) {
                        spec.getTask().getContainer().setImageDigest(digestOf(below(3)).c_str());
                        if (gpus == 0) return;
                        auto wanted = spec.getTask().initResources().initGeneric(1)[0];
                        wanted.setKind("gpu");
                        wanted.setAmount(1);
                      }});
      cluster.advance(1 * kj::SECONDS);
    }
    auto response = cluster.replay();
    CHECK(response.getAnswer().getServices().size() == 5);
    CHECK(response.getAnswer().getTasks().size() == 0);
  }
}

TEST_CASE("journal: it holds no secrets", "[manager]") {
  testing::TestFolder data("manager-journal");
  JournalCluster cluster(1, data.path());
  auto request = cluster.control.createServiceRequest();
  request.setRequestId("secret");
  auto spec = request.initSpec();
  spec.setName("web");
  spec.getMode().initReplicated();
  spec.initTask().initContainer().setImage("registry.test/web:1");
  auto login = request.initLogin();
  login.setRegistry("registry.test");
  login.setPassword("sesame");
  request.send().wait(cluster.world.waitScope());
  cluster.settle();
  cluster.advance(2 * kj::SECONDS);  // until it is written
  size_t services = 0;
  cluster.read([&](JournalEntry::Reader entry) {
    if (!entry.isChange() || entry.getChange().getKind() != "service") return;
    ++services;
    auto words = checkedWords(RecordKind{Kind::SERVICE, false}, entry.getChange().getObject());
    auto service = capnp::readMessageUnchecked<schema::Service>(words.begin() + 1);
    CHECK(service.getSpec().getName() == "web");
    CHECK_FALSE(service.hasSealedLogin());
  });
  CHECK(services > 0);
}

TEST_CASE("journal: the next manager goes on in a file of its own, and both are read",
          "[manager]") {
  JournalCluster cluster;
  cluster.create({"web", 3});
  cluster.settle();
  cluster.stop();
  cluster.start();
  for (auto id : {"node1", "node2", "node3"}) cluster.addNode(id).open();
  cluster.settle();
  cluster.scale("web", 6);
  cluster.settle();
  CHECK(cluster.counts() == "web 6 6 0 0");
}

}  // namespace
}  // namespace orch::control::manager
