#include <catch2/catch.hpp>
#include <kj/debug.h>

#include <filesystem>

#include "orch/testing/test-host.h"
#include "store-fixture.h"
#include "test-images.h"
#include "unpack/digest.h"

namespace orch::image::oci::test {
namespace {

namespace fs = std::filesystem;

constexpr size_t PART = 64 << 10;

// Another host, as its image is seen from here; with what goes wrong on the way.
struct Sender {
  std::string node;
  schema::ImageStore::Client store;
  std::string image;
  int diesAfter = 1'000'000;             // parts
  std::string damages;                   // a blob that it sends with another content
  std::map<std::string, uint64_t> sent;  // bytes of each blob
};

class Reader final : public schema::ImageReader::Server {
 public:
  explicit Reader(Sender& sender) : sender(sender) {}
  kj::Promise<void> read(ReadContext context) override {
    if (sender.diesAfter-- <= 0) {
      return kj::Exception(kj::Exception::Type::DISCONNECTED, __FILE__, __LINE__,
                           kj::str("the host is gone"));
    }
    auto params = context.getParams();
    auto request = sender.store.readBlobRequest();
    request.setImage(sender.image.c_str());
    request.setBlob(params.getBlob());
    request.setOffset(params.getOffset());
    request.setMaxBytes(params.getMaxBytes());
    return request.send().then([this, context](auto&& answer) mutable {
      std::string blob = context.getParams().getBlob().cStr();
      auto results = context.getResults();
      results.setData(answer.getData());
      results.setTotalBytes(answer.getTotalBytes());
      sender.sent[blob] += answer.getData().size();
      if (blob == sender.damages) results.getData()[0] ^= 1;
    });
  }

 private:
  Sender& sender;
};

class Finder final : public schema::ImageFinder::Server {
 public:
  explicit Finder(std::vector<Sender*> senders) : senders(kj::mv(senders)) {}
  kj::Promise<void> find(FindContext context) override {
    auto list = context.getResults().initSources(senders.size());
    for (uint32_t i = 0; i < senders.size(); ++i) {
      list[i].setNode(senders[i]->node.c_str());
      list[i].setImage(kj::heap<Reader>(*senders[i]));
    }
    return kj::READY_NOW;
  }

 private:
  std::vector<Sender*> senders;
};

// A second store in the process of the first.
struct OtherStore {
  OtherStore(TestStore& test, const std::string& name) : test(test), settings(test.settings) {
    settings.root = test.sub(name);
    restart();
  }
  ~OtherStore() noexcept(false) { stop(); }
  void stop() {
    client = nullptr;
    kj::evalLast([]() {}).wait(test.io.waitScope);
    store = nullptr;
  }
  void restart() {
    stop();
    store = kj::heap<ImageStore>(*test.env, *test.host, settings);
    store->recover().wait(test.io.waitScope);
    client = newImageService(*store).castAs<schema::ImageStore>();
  }
  kj::Promise<std::string> ensureLater(const std::string& reference, const std::string& holder,
                                       std::vector<Sender*> senders) {
    auto request = KJ_ASSERT_NONNULL(client).ensureRequest();
    request.setReference(reference);
    request.setHolder(holder);
    request.setElsewhere(kj::heap<Finder>(kj::mv(senders)));
    return request.send().then(
        [](auto&& answer) { return std::string(answer.getImage().getId().cStr()); });
  }
  std::string ensure(const std::string& reference, std::vector<Sender*> senders) {
    return ensureLater(reference, "t1", kj::mv(senders)).wait(test.io.waitScope);
  }
  Sender sender(const std::string& image) {
    return {settings.root.substr(settings.root.rfind('/') + 1),
            KJ_ASSERT_NONNULL(client),
            image,
            1'000'000,
            "",
            {}};
  }

  TestStore& test;
  StoreSettings settings;
  kj::Own<ImageStore> store;
  kj::Maybe<schema::ImageStore::Client> client;
};

Sender senderOf(TestStore& test, const std::string& image) {
  return {"n1", test.service(), image, 1'000'000, "", {}};
}

// The only image of a store.
struct Listed {
  std::string digest;
  uint64_t keptBytes;
  std::vector<std::string> names;
};
Listed listed(schema::ImageStore::Client service, kj::WaitScope& waitScope) {
  auto answer = service.listRequest().send().wait(waitScope);
  REQUIRE(answer.getImages().size() == 1);
  auto image = answer.getImages()[0];
  Listed result{image.getDigest().cStr(), image.getKeptBytes(), {}};
  for (auto name : image.getReferences()) result.names.push_back(name.cStr());
  return result;
}
Listed listed(TestStore& test) { return listed(test.service(), test.io.waitScope); }
Listed listed(OtherStore& other) {
  return listed(KJ_ASSERT_NONNULL(other.client), other.test.io.waitScope);
}

std::string noise(size_t bytes) {
  std::string text;
  for (uint32_t state = 1; text.size() < bytes;) {
    state = state * 1664525 + 1013904223;
    text += static_cast<char>(state >> 24);
  }
  return text;
}

TestImage largeImage() {
  return {"app:1",
          {TestLayer({{"a", 'f', noise(5 * PART + 7)}}, "gzip"), TestLayer({{"b", 'f', "b"}}),
           TestLayer({{"c", 'f', noise(2 * PART)}}, "zstd")}};
}

TEST_CASE("fetch: an imported image comes from another host, each blob once", "[image][root]") {
  TestStore test("fetch");
  auto image = largeImage();
  writeLayout(test.sub("layout"), {image});
  auto id = test.import(test.sub("layout")).at(0);
  auto offer = listed(test);
  uint64_t blobBytes = 0;
  for (auto& layer : image.layers) blobBytes += layer.blob.size();
  CHECK(offer.keptBytes > blobBytes);
  CHECK(filesIn(test.root() + "/kept").size() == 3);

  OtherStore other(test, "n2");
  auto n1 = senderOf(test, offer.digest);
  auto reference = "app:1@" + offer.digest;
  auto answers = kj::heapArrayBuilder<kj::Promise<std::string>>(10);
  for (int i = 0; i < 10; ++i) {
    answers.add(other.ensureLater(reference, "task" + std::to_string(i), {&n1}));
  }
  for (auto& got : kj::joinPromises(answers.finish()).wait(test.io.waitScope)) CHECK(got == id);
  REQUIRE(n1.sent.size() == 5);  // with the manifest and the configuration
  for (auto& layer : image.layers) CHECK(n1.sent[layer.digest] == layer.blob.size());
  for (auto& layer : image.layers) {
    auto folder = other.settings.root + "/layers/" + layer.diffId.substr(7, LAYER_NAME);
    CHECK(fs::exists(folder));
  }
  CHECK(test.eventsOf("image.fetched") == 1);
  CHECK(listed(other).names == std::vector<std::string>{"app@" + offer.digest});
  CHECK(filesIn(other.settings.root + "/tmp").empty());

  // And from there to a third one, when the first is gone.
  other.restart();
  CHECK(listed(other).keptBytes == offer.keptBytes);
  OtherStore third(test, "n3");
  auto n2 = other.sender(offer.digest);
  n1.diesAfter = 0;
  CHECK(third.ensure(reference, {&n1, &n2}) == id);
}

TEST_CASE("fetch: what has no digests of its own is the same image everywhere", "[image][root]") {
  TestStore test("ways");
  auto plain = TestLayer({{"a", 'f', "1"}}), packed = TestLayer({{"b", 'f', "2"}}, "gzip");
  writeDockerArchive(test.sub("saved.tar"), {{"saved:1", {plain, packed}}});
  fs::create_directories(test.sub("rootfs/bin"));
  writeFile(test.sub("rootfs/bin/sh"), "#!");
  writeFile(test.sub("root.tar.gz"), compressed(makeTar({{"etc/x", 'f', "x"}}), "gzip"));
  writeFile(test.sub("implied.tar"), makeTar({{"srv/deep/x", 'f', "x"}}));
  int number = 0;
  for (auto* source : {"saved.tar", "rootfs", "root.tar.gz", "implied.tar"}) {
    INFO(source);
    TestStore& from = test;
    from.settings.root = test.sub("from" + std::to_string(++number));
    from.restart();
    auto id = from.import(test.sub(source), std::string("way:1")).at(0);
    auto offer = listed(from);
    CHECK(offer.keptBytes > 0);
    OtherStore other(test, "to" + std::to_string(number));
    auto n1 = senderOf(from, offer.digest);
    CHECK(other.ensure("way:1@" + offer.digest, {&n1}) == id);
    CHECK(listed(other).keptBytes == offer.keptBytes);
    auto digest = from.import(test.sub(source), std::string("way:1"));  // again
    CHECK(listed(from).digest == offer.digest);
  }
}

TEST_CASE("fetch: a host that dies or lies is left for the next one", "[image][root]") {
  TestStore test("sources");
  auto image = largeImage();
  writeLayout(test.sub("layout"), {image});
  auto id = test.import(test.sub("layout")).at(0);
  auto digest = listed(test).digest;
  auto dying = senderOf(test, digest), lying = senderOf(test, digest), good = lying;
  dying.node = "dying";
  dying.diesAfter = 6;  // in the midst of the first layer
  lying.node = "lying";
  lying.damages = image.layers[2].digest;
  OtherStore other(test, "n2");
  CHECK(other.ensure("app:1@" + digest, {&dying, &lying, &good}) == id);
  CHECK(good.sent.size() == 1);  // the rest was good
  CHECK(good.sent[image.layers[2].digest] == image.layers[2].blob.size());
  CHECK(std::count(test.testHost->logLines().begin(), test.testHost->logLines().end(),
                   "warn image.source-left, asking the next") == 2);
  CHECK(listed(other).keptBytes > 0);

  // Its manifest is looked at by nobody before it is known to be right.
  lying.damages = digest;
  OtherStore third(test, "n3");
  CHECK(third.ensure("app:1@" + digest, {&lying, &good}) == id);
}

TEST_CASE("fetch: why nobody has it", "[image][root]") {
  TestStore test("nobody");
  writeLayout(test.sub("layout"), {largeImage()});
  test.import(test.sub("layout"));
  auto digest = listed(test).digest;
  OtherStore other(test, "n2");
  // A registry that does not answer, on a port that nobody listens at.
  auto reference = "127.0.0.1:1/app@" + digest;
  auto without = test.errorOf([&] { other.ensure(reference, {}); });
  INFO(without);
  CHECK(without.find("cannot pull image '" + reference + "': ") == 0);
  CHECK(without.find("connection refused; no other node has it: import it on one of them with "
                     "'orch image import', or push it to a registry that all of them reach") !=
        std::string::npos);
  auto unpinned = test.errorOf([&] { other.ensure("127.0.0.1:1/app:1", {}); });
  INFO(unpinned);
  CHECK(unpinned.find("connection refused; no node had imported it when the service was made: "
                      "'orch image import' it on one, then update the service with --image") !=
        std::string::npos);
  auto dead = senderOf(test, digest), lying = dead;
  dead.diesAfter = 0;
  lying.node = "n4";
  lying.damages = digest;
  auto with = test.errorOf([&] { other.ensure(reference, {&dead, &lying}); });
  INFO(with);
  CHECK(with.find("; nor could it be had from another node: n1: the host is gone; n4: manifest " +
                  digest + " is damaged: its content is sha256:") != std::string::npos);
  CHECK(filesIn(other.settings.root + "/tmp").empty());
  CHECK(filesIn(other.settings.root + "/kept").empty());
  CHECK(filesIn(other.settings.root + "/layers").empty());
}

TEST_CASE("fetch: only blobs of kept images can be read", "[image][root]") {
  TestStore test("crafted");
  auto one = imageOf("one:1", "1"), two = imageOf("two:1", "2");
  writeLayout(test.sub("one"), {one});
  writeLayout(test.sub("two"), {two});
  test.import(test.sub("one"));
  auto digest = listed(test).digest;
  test.import(test.sub("two"));
  auto read = [&](const std::string& image, const std::string& blob, uint64_t offset = 0) {
    auto request = test.service().readBlobRequest();
    request.setImage(image);
    request.setBlob(blob);
    request.setOffset(offset);
    request.setMaxBytes(0xffffffff);
    auto answer = request.send().wait(test.io.waitScope);
    return std::string(answer.getData().asChars().begin(), answer.getData().size());
  };
  CHECK(read(digest, one.layers[0].digest) == one.layers[0].blob);
  CHECK(read(digest, sha256(one.configJson())) == one.configJson());
  CHECK(sha256(read(digest, digest)) == digest);
  CHECK(read(digest, digest, 1'000'000).empty());
  CHECK(read(digest, one.layers[0].digest, UINT64_MAX).empty());
  auto usage = "usage: an image and a blob of it are named by 'sha256:' and 64 digits each";
  for (auto* crafted : {"", "../index", "sha256:../../../../../etc/passwd", "sha256:A"}) {
    CHECK(test.errorOf([&] { read(digest, crafted); }) == usage);
    CHECK(test.errorOf([&] { read(crafted, digest); }) == usage);
  }
  CHECK(test.errorOf([&] { read(digest, two.layers[0].digest); }) ==
        "image '" + digest + "' has no blob '" + two.layers[0].digest + "'");
  for (auto& other : {"sha256:" + HEX, sha256(one.configJson())}) {
    CHECK(test.errorOf([&] { read(other, one.layers[0].digest); }) ==
          "this node has no image '" + other + "' for others");
  }
  // A large one comes in parts.
  auto large = largeImage();
  fs::remove_all(test.sub("one"));
  writeLayout(test.sub("one"), {large});
  auto id = test.import(test.sub("one")).at(0);
  auto manifest = test.store->images().byId(id)->manifest();
  CHECK(read(manifest, large.layers[0].digest).size() == PART);
}

TEST_CASE("kept blobs: they go with their image, and are counted", "[image][root]") {
  TestStore test("kept");
  auto image = largeImage();
  writeLayout(test.sub("layout"), {image});
  test.import(test.sub("layout"));
  uint64_t blobBytes = 0, fileBytes = 5 * PART + 7 + 1 + 2 * PART;
  for (auto& layer : image.layers) blobBytes += layer.blob.size();
  // What a crash leaves goes with the next start.
  writeFile(test.root() + "/kept/" + HEX, "half");
  test.restart();
  CHECK(filesIn(test.root() + "/kept").size() == 3);
  auto prune = test.service().pruneRequest();
  prune.setAll(true);
  CHECK(prune.send().wait(test.io.waitScope).getFreedBytes() == blobBytes + fileBytes);
  checkNothingLeft(test);

  // One that is missing keeps nobody from running the image; importing it again brings it back.
  test.import(test.sub("layout"));
  auto whole = listed(test);
  fs::remove(test.root() + "/kept/" + image.layers[0].digest.substr(7));
  test.restart();
  CHECK(listed(test).keptBytes == 0);
  test.ensure("app:1", "t1");
  test.import(test.sub("layout"));
  CHECK(listed(test).keptBytes == whole.keptBytes);
}

TEST_CASE("kept blobs: none without the setting", "[image][root]") {
  TestStore test("unkept");
  test.settings.keepBlobs = false;
  test.restart();
  writeLayout(test.sub("layout"), {largeImage()});
  writeDockerArchive(test.sub("saved.tar"), {imageOf("saved:1", "x")});
  test.import(test.sub("layout"));
  CHECK(listed(test).keptBytes == 0);
  test.import(test.sub("saved.tar"));
  CHECK(filesIn(test.root() + "/kept").empty());
}

}  // namespace
}  // namespace orch::image::oci::test
