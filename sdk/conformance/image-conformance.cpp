#include "orch/conformance/image-conformance.h"

#include <kj/debug.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include "calls.h"
#include "orch/attempt.h"

namespace orch::conformance {

namespace {

using Texts = std::vector<std::string>;

constexpr const char* APP = "team/app:1";
constexpr const char* OTHER = "team/other:2";
constexpr size_t DIGEST_SIZE = 7 + 64;  // `sha256:` and its hex digits

// An image as it was answered.
struct Seen {
  std::string id;
  std::string digest;
  Texts references;
  Texts layers;
  Texts holders;
  uint64_t sizeBytes = 0;
  bool operator==(const Seen&) const = default;
};

Texts textsOf(capnp::List<capnp::Text>::Reader list) {
  Texts texts;
  for (auto text : list) texts.push_back(text.cStr());
  return texts;
}

Texts sorted(Texts texts) {
  std::sort(texts.begin(), texts.end());
  return texts;
}

Seen seenOf(schema::ImageInfo::Reader image) {
  return {image.getId().cStr(),
          image.getDigest().cStr(),
          sorted(textsOf(image.getReferences())),
          textsOf(image.getLayers()),
          sorted(textsOf(image.getHolders())),
          image.getSizeBytes()};
}

// One check's view of the subject.
class StoreSteps final {
 public:
  explicit StoreSteps(ImageSubject& subject) : subject(subject) {}

  // A root file system with one file of that content, each time the same one.
  std::string rootWith(const std::string& content) {
    auto path = subject.folder() + "/root-" + content;
    if (std::filesystem::create_directories(path + "/etc")) {
      std::ofstream(path + "/etc/file") << content;
    }
    return path;
  }
  kj::Promise<Seen> importLater(const std::string& path, const std::string& reference) {
    auto call = subject.images().importRequest();
    call.setPath(path.c_str());
    call.setReference(reference.c_str());
    return call.send().then([](auto&& answer) {
      KJ_REQUIRE(answer.getImages().size() == 1, "a root file system is one image");
      return seenOf(answer.getImages()[0]);
    });
  }
  Seen import(const std::string& content, const std::string& reference) {
    return importLater(rootWith(content), reference).wait(scope());
  }
  kj::Promise<Seen> ensureLater(kj::StringPtr reference, kj::StringPtr holder) {
    auto call = subject.images().ensureRequest();
    call.setReference(reference);
    call.setHolder(holder);
    return call.send().then([](auto&& answer) { return seenOf(answer.getImage()); });
  }
  Seen ensure(const std::string& reference, const std::string& holder) {
    return ensureLater(reference.c_str(), holder.c_str()).wait(scope());
  }
  void release(const std::string& holder) {
    auto call = subject.images().releaseRequest();
    call.setHolder(holder.c_str());
    call.send().wait(scope());
  }
  kj::Promise<void> removeLater(kj::StringPtr reference, bool force = false) {
    auto call = subject.images().removeRequest();
    call.setReference(reference);
    call.setForce(force);
    return call.send().ignoreResult();
  }
  Texts remove(const std::string& reference, bool force = false) {
    auto call = subject.images().removeRequest();
    call.setReference(reference.c_str());
    call.setForce(force);
    return textsOf(call.send().wait(scope()).getRemoved());
  }
  Texts prune(bool all) {
    auto call = subject.images().pruneRequest();
    call.setAll(all);
    auto answer = call.send().wait(scope());
    KJ_REQUIRE((answer.getFreedBytes() > 0) == (answer.getRemoved().size() > 0),
               "`freedBytes` is what those took that were removed", answer.getFreedBytes());
    return sorted(textsOf(answer.getRemoved()));
  }
  kj::Promise<Seen> inspectLater(kj::StringPtr reference) {
    auto call = subject.images().inspectRequest();
    call.setReference(reference);
    return call.send().then([](auto&& answer) {
      KJ_REQUIRE(answer.getConfigJson().startsWith("{"), "`configJson` is the configuration");
      return seenOf(answer.getImage());
    });
  }
  Seen inspect(const std::string& reference) {
    return inspectLater(reference.c_str()).wait(scope());
  }
  std::vector<Seen> list() {
    std::vector<Seen> all;
    auto answer = subject.images().listRequest().send().wait(scope());
    for (auto image : answer.getImages()) all.push_back(seenOf(image));
    std::sort(all.begin(), all.end(), [](auto& one, auto& other) { return one.id < other.id; });
    return all;
  }
  std::string resolve(const std::string& reference) {
    auto call = subject.images().resolveRequest();
    call.setReference(reference.c_str());
    return call.send().wait(scope()).getDigest().cStr();
  }
  kj::WaitScope& scope() { return subject.waitScope(); }

 private:
  ImageSubject& subject;
};

void requireContent(const Seen& image, const std::string& content) {
  KJ_REQUIRE(image.layers.size() == 1, "a root file system is one layer", image.layers.size());
  std::ifstream file(image.layers[0] + "/etc/file");
  std::stringstream text;
  text << file.rdbuf();
  KJ_REQUIRE(text.str() == content, "a layer is a folder with what was imported",
             image.layers[0].c_str(), text.str().c_str());
}

void importedIsThere(ImageSubject& subject) {
  StoreSteps steps(subject);
  KJ_REQUIRE(steps.list().empty(), "there is nothing before something was imported");
  auto image = steps.import("one", APP);
  KJ_REQUIRE(image.id.size() == DIGEST_SIZE && image.id.rfind("sha256:", 0) == 0,
             "an id is a digest", image.id.c_str());
  KJ_REQUIRE(image.digest.size() == DIGEST_SIZE, "a digest is one", image.digest.c_str());
  KJ_REQUIRE(image.references == Texts{APP}, "it has the name that was asked for");
  KJ_REQUIRE(image.sizeBytes == 3, "`sizeBytes` is what its files have", image.sizeBytes);
  requireContent(image, "one");
  for (int again = 0; again < 2; ++again) {
    KJ_REQUIRE(steps.list() == std::vector<Seen>{image}, "it is listed as it was answered");
    KJ_REQUIRE(steps.inspect(APP) == image, "it is known by its name");
    KJ_REQUIRE(steps.inspect(image.id) == image, "it is known by its id");
    KJ_REQUIRE(steps.resolve(APP) == image.digest, "a name that was imported is this image's");
    subject.restart();
  }
}

void namesMove(ImageSubject& subject) {
  StoreSteps steps(subject);
  auto one = steps.import("one", APP);
  auto same = steps.import("one", OTHER);
  KJ_REQUIRE(same.id == one.id, "the same files are the same image");
  KJ_REQUIRE((steps.inspect(APP).references == Texts{APP, OTHER}),
             "an image has all names that it was given");
  auto two = steps.import("two", APP);
  KJ_REQUIRE(two.id != one.id && two.references == Texts{APP}, "a name is of one image only");
  KJ_REQUIRE(steps.inspect(OTHER).references == Texts{OTHER}, "the image before has lost the name");
  requireContent(steps.inspect(APP), "two");
  requireContent(steps.inspect(OTHER), "one");
}

void heldStays(ImageSubject& subject) {
  StoreSteps steps(subject);
  auto one = steps.import("one", APP);
  steps.import("two", OTHER);
  KJ_REQUIRE(steps.ensure(APP, "task1").id == one.id, "what is here is answered");
  KJ_REQUIRE(steps.ensure(one.id, "task2").id == one.id, "what is here is known by its id");
  steps.ensure("team/app:1@" + one.digest, "task1");
  for (int again = 0; again < 2; ++again) {
    KJ_REQUIRE((steps.inspect(APP).holders == Texts{"task1", "task2"}),
               "`holders` are who hold it");
    for (bool force : {false, true}) {
      requireRefused(steps.scope(), "to remove what is held", APP, steps.removeLater(APP, force));
    }
    subject.restart();
  }
  auto other = steps.inspect(OTHER);
  KJ_REQUIRE(steps.prune(true) == sorted({OTHER, other.id}), "all goes but what is held");
  auto retain = subject.images().retainHoldersRequest();
  retain.initHolders(1).set(0, "task2");
  retain.send().wait(steps.scope());
  KJ_REQUIRE(steps.inspect(APP).holders == Texts{"task2"}, "holds of all others are released");
  requireContent(steps.inspect(APP), "one");
  steps.release("task2");
  steps.release("task2");
  steps.release("never-there");
  KJ_REQUIRE(steps.remove(APP) == Texts({APP, one.id}), "what nobody holds can be removed");
  subject.untilNothingIsLeft();
}

void removesNameByName(ImageSubject& subject) {
  StoreSteps steps(subject);
  auto one = steps.import("one", APP);
  steps.import("one", OTHER);
  requireRefused(steps.scope(), "to remove what has several names", "", steps.removeLater(one.id));
  requireRefused(steps.scope(), "to remove what is not there", "nobody/has:this",
                 steps.removeLater("nobody/has:this"));
  KJ_REQUIRE(steps.remove(APP) == Texts{APP}, "one name of several goes alone");
  KJ_REQUIRE(steps.inspect(OTHER).id == one.id, "the image is there as long as a name is");
  KJ_REQUIRE((steps.remove(OTHER) == Texts{OTHER, one.id}), "with its last name the image goes");
  requireRefused(steps.scope(), "what is gone", OTHER, steps.inspectLater(OTHER).ignoreResult());
  steps.import("one", APP);
  steps.import("one", OTHER);
  auto removed = sorted(steps.remove(one.id, true));
  KJ_REQUIRE(removed == sorted({APP, OTHER, one.id}), "by force all its names go", removed.size());
  KJ_REQUIRE(steps.list().empty(), "what was removed is not listed");
  subject.untilNothingIsLeft();
}

void prunesWhatHasNoName(ImageSubject& subject) {
  StoreSteps steps(subject);
  auto one = steps.import("one", APP);
  auto two = steps.import("two", APP);  // `one` has no name any more
  KJ_REQUIRE(steps.prune(false) == Texts{one.id}, "what no name points to goes");
  KJ_REQUIRE(steps.prune(false).empty(), "what has a name stays");
  requireContent(steps.inspect(APP), "two");
  KJ_REQUIRE(steps.prune(true) == sorted({APP, two.id}), "with `all` what nobody holds goes");
  subject.untilNothingIsLeft();
}

void refusesWhatIsWrong(ImageSubject& subject) {
  StoreSteps steps(subject);
  auto before = std::vector<Seen>{steps.import("one", APP)};
  for (auto reference : {"team/UPPER", "a b", "../up", ":1", "a:", "a@sha256:12"}) {
    auto call = kj::str("the reference '", reference, "'");
    requireRefused(steps.scope(), call, reference,
                   steps.importLater(steps.rootWith("two"), reference).ignoreResult());
    requireRefused(steps.scope(), call, reference,
                   steps.ensureLater(reference, "task1").ignoreResult());
  }
  for (auto holder : {"", ".", "../up", "a b", "a/b"}) {
    requireRefused(steps.scope(), kj::str("the holder '", holder, "'"), holder,
                   steps.ensureLater(APP, holder).ignoreResult());
  }
  auto nowhere = subject.folder() + "/nowhere";
  requireRefused(steps.scope(), "a path that is not there", nowhere.c_str(),
                 steps.importLater(nowhere, "team/new:1").ignoreResult());
  KJ_REQUIRE(steps.list() == before, "what is refused changes nothing");
  steps.remove(APP);
  subject.untilNothingIsLeft();
}

void droppedImportsLeaveNothing(ImageSubject& subject) {
  StoreSteps steps(subject);
  auto path = steps.rootWith("one");
  for (int moment = 0; moment < MOMENTS; ++moment) {
    for (bool ended : {false, true}) {
      dropAt(moment, steps.scope(), steps.importLater(path, APP).ignoreResult());
      if (ended) subject.restart();
      requireContent(steps.import("one", APP), "one");
      KJ_REQUIRE(steps.list().size() == 1, "an import that nobody waits for leaves no other image");
      steps.remove(APP);
      subject.untilNothingIsLeft();
    }
  }
}

const ImageCheck IMAGE_CHECKS[] = {
    {"what was imported is there, after a restart too", importedIsThere},
    {"a name is of one image, an image has many", namesMove},
    {"what is held is neither removed nor pruned", heldStays},
    {"names are removed one by one, the image with the last", removesNameByName},
    {"what no name points to is pruned", prunesWhatHasNoName},
    {"what is wrong is refused and changes nothing", refusesWhatIsWrong},
    {"an import that nobody waits for leaves nothing behind", droppedImportsLeaveNothing},
};

}  // namespace

kj::ArrayPtr<const ImageCheck> imageChecks() { return IMAGE_CHECKS; }

}  // namespace orch::conformance
