#include "unpack/plan.h"

#include <capnp/message.h>
#include <kj/debug.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>

#include "image-index.h"
#include "orch/attempt.h"
#include "orch/durable-file.h"
#include "orch/fail.h"
#include "reference.h"
#include "unpack/digest.h"
#include "unpack/oci-json.h"

namespace orch::image::oci {

namespace {

constexpr int MAX_INDEX_DEPTH = 4;

std::string blobPath(const std::string& digest) {
  return "blobs/sha256/" + digest.substr(digest.find(':') + 1);
}

// Those that run on the node, the best first; of equal ones the first. What is no image is left
// out.
std::vector<IndexEntry> bestFirst(std::vector<IndexEntry> entries, const Node& node) {
  std::erase_if(entries, [&](auto& entry) {
    return !entry.otherKind.empty() || !suitability(entry.platform, node);
  });
  std::stable_sort(entries.begin(), entries.end(), [&](auto& a, auto& b) {
    return *suitability(a.platform, node) > *suitability(b.platform, node);
  });
  return entries;
}

class PlanReader final {
 public:
  PlanReader(const IngestRequest& request, const Node& node) : request(request), node(node) {}

  std::vector<Plan> read(const Source& source) {
    if (source.kind == Source::Kind::LAYOUT) {
      readLayout(source.path);
    } else {
      readDockerArchive(source.path);
    }
    if (plans.empty()) failNothing();
    mergeEqual();
    applyReference();
    return kj::mv(plans);
  }

 private:
  // A document that is named by its digest.
  std::string checkedDocument(const std::string& folder, const BlobRef& blob, const char* what) {
    auto name = std::string(what) + " " + blob.digest;
    auto text = readWithin(folder, blobPath(blob.digest), name, MAX_DOCUMENT);
    auto found = sha256(text);
    if (found != blob.digest) {
      fail(kj::str(name.c_str(), " is damaged: its content is ", found.c_str()));
    }
    return text;
  }

  [[noreturn]] void failNothing() const {
    std::string kinds;
    for (auto& kind : otherKinds) kinds += (kinds.empty() ? "" : ", ") + kind.substr(0, 100);
    fail(kj::str("it holds no image for ", node.text().c_str(),
                 kinds.empty() ? "" : ", only something else: ", kinds.c_str()));
  }

  void readLayout(const std::string& folder) {
    auto index = parseIndex(readWithin(folder, "index.json", "its index.json", MAX_DOCUMENT));
    std::set<std::string> taken;
    for (auto& entry : index) {
      if (!entry.otherKind.empty()) otherKinds.insert(entry.otherKind);
    }
    for (auto& entry : bestFirst(index, node)) {
      std::set<std::string> names;
      // A bare tag (`latest`) says nothing: it is what tools write that have no name.
      bool isName = entry.name.find_first_of("/:") != std::string::npos;
      // One name for several platforms: of those the best.
      if (isName && !entry.platform.architecture.empty() && taken.count(entry.name) > 0) continue;
      if (isName) addName(names, entry.name);
      if (readManifest(folder, entry, names, 0)) taken.insert(entry.name);
    }
  }

  // False if it is, or holds, no image for this node.
  bool readManifest(const std::string& folder, const IndexEntry& entry,
                    const std::set<std::string>& names, int depth) {
    if (depth > MAX_INDEX_DEPTH) fail(kj::str("its indexes are nested too deeply"));
    auto text = checkedDocument(folder, entry.blob, "manifest");
    if (entry.isIndex) {
      for (auto& inner : bestFirst(parseIndex(text), node)) {
        if (readManifest(folder, inner, names, depth + 1)) return true;
      }
      return false;
    }
    Plan plan;
    plan.names = names;
    auto manifest = parseManifest(text);
    if (!manifest.otherKind.empty()) {
      otherKinds.insert(manifest.otherKind);
      return false;
    }
    plan.manifest = kj::mv(text);
    plan.configDigest = manifest.config.digest;
    plan.config = checkedDocument(folder, manifest.config, "configuration");
    if (depth > 0 && entry.platform.architecture.empty() && !suits(plan.config)) return false;
    for (auto& layer : manifest.layers) {
      plan.layers.push_back({blobPath(layer.digest), layer.digest, layer.size});
    }
    plan.sourceDigest = sourceDigest(plan, entry.blob.digest);
    plan.sourceConfig = sourceConfig(plan);
    plans.push_back(kj::mv(plan));
    return true;
  }

  // By the configuration, where a list does not say what its entries are for.
  bool suits(const std::string& config) const {
    capnp::MallocMessageBuilder message;
    auto image = message.initRoot<schema::ImageInfo>();
    parseConfig(config, image);
    return suitability(platformOf(image), node).has_value();
  }

  static Platform platformOf(schema::ImageInfo::Reader image) {
    return {image.getOs().cStr(), image.getArchitecture().cStr(), image.getVariant().cStr()};
  }

  // What the registry calls the image of which `local` is a rewritten manifest. Empty if it is not
  // known, or the same.
  std::string sourceDigest(const Plan& plan, const std::string& local) const {
    auto content = readChecked(request.job + SOURCE_MANIFEST, "registry's manifest", "try again");
    KJ_IF_MAYBE (bytes, content) {
      std::string text(bytes->asChars().begin(), bytes->size());
      std::string digest;
      auto read = attemptNow([&]() {
        if (text.find("\"manifests\"") == std::string::npos) {
          if (sameLayers(parseManifest(text), plan)) digest = sha256(text);
          return;
        }
        for (auto& entry : bestFirst(parseIndex(text), node)) {
          if (entry.isIndex) continue;
          digest = entry.blob.digest;
          return;
        }
      });
      // The name may lead to something else by now: then nothing is known.
      return read.ok() && digest != local ? digest : std::string();
    }
    return {};
  }

  // Of an image with the same layers: the name may lead to something else by now.
  std::string sourceConfig(const Plan& plan) const {
    auto content =
        readChecked(request.job + SOURCE_CONFIG, "registry's configuration", "try again");
    KJ_IF_MAYBE (bytes, content) {
      std::string text(bytes->asChars().begin(), bytes->size());
      auto same = attemptNow([&]() {
        capnp::MallocMessageBuilder message;
        auto image = message.initRoot<schema::ImageInfo>();
        auto diffIds = parseConfig(plan.config, image);
        return parseConfig(text, image) == diffIds;
      });
      if (same.ok() && same.value()) return text;
    }
    return {};
  }

  static bool sameLayers(const Manifest& manifest, const Plan& plan) {
    if (manifest.layers.size() != plan.layers.size()) return false;
    for (size_t i = 0; i < plan.layers.size(); ++i) {
      if (manifest.layers[i].digest != plan.layers[i].blobDigest) return false;
    }
    return true;
  }

  void readDockerArchive(const std::string& folder) {
    auto text = readWithin(folder, "manifest.json", "its manifest.json", MAX_DOCUMENT);
    for (auto& image : parseDockerManifest(text)) {
      Plan plan;
      for (auto& name : image.names) addName(plan.names, name);
      plan.config =
          readWithin(folder, image.config, "configuration '" + image.config + "'", MAX_DOCUMENT);
      plan.configDigest = sha256(plan.config);
      // docker names the file after its digest.
      auto base = image.config.substr(image.config.rfind('/') + 1);
      auto named = "sha256:" + base.substr(0, base.find('.'));
      if (isDigest(named) && named != plan.configDigest) {
        fail(kj::str("configuration ", named.c_str(), " is damaged: its content is ",
                     plan.configDigest.c_str()));
      }
      for (auto& path : image.layers) {
        auto file = openWithin(folder, path, "layer '" + path + "'");
        struct stat info;
        KJ_SYSCALL(fstat(file, &info));
        plan.layers.push_back({path, "", static_cast<uint64_t>(info.st_size)});
      }
      plans.push_back(kj::mv(plan));
    }
  }

  // A name that cannot be one is no reason to refuse the image; who imports it can give another.
  void addName(std::set<std::string>& names, const std::string& text) {
    auto parsed = attemptNow([&]() { return parseReference(text.c_str()).familiar(); });
    if (parsed.ok()) {
      names.insert(parsed.value());
    } else if (request.reference.empty() && request.onProgress) {
      auto shown = text.substr(0, 300);
      for (auto& c : shown) c = static_cast<unsigned char>(c) < ' ' ? ' ' : c;
      request.onProgress("leaving out the name '" + shown + "', which is no image reference", 0, 0);
    }
  }

  // An image that the source lists once for each of its names.
  void mergeEqual() {
    std::vector<Plan> merged;
    std::map<std::string, size_t> places;  // by the image's id
    for (auto& plan : plans) {
      auto [place, first] = places.try_emplace(plan.configDigest, merged.size());
      if (first) {
        merged.push_back(kj::mv(plan));
      } else {
        merged[place->second].names.insert(plan.names.begin(), plan.names.end());
      }
    }
    plans = kj::mv(merged);
  }

  void applyReference() {
    if (request.reference.empty()) return;
    if (plans.size() > 1) {
      std::string list;
      for (auto& plan : plans) list += (list.empty() ? "" : ", ") + plan.label();
      fail(kj::str("it holds ", plans.size(), " images (", list.substr(0, 300).c_str(),
                   "), so that one name cannot be given to them; leave the name out"));
    }
    plans[0].names = {request.reference};
  }

  const IngestRequest& request;
  const Node& node;
  std::set<std::string> otherKinds;  // what the source holds beside images
  std::vector<Plan> plans;
};

}  // namespace

std::vector<Plan> readPlans(const Source& source, const IngestRequest& request, const Node& node) {
  return PlanReader(request, node).read(source);
}

std::string chooseManifest(const std::string& text, const Node& node) {
  if (text.find("\"manifests\"") == std::string::npos) return {};
  auto entries = parseIndex(text);
  auto best = bestFirst(entries, node);
  if (best.empty()) fail(kj::str("it has no image for ", node.text().c_str()));
  return best[0].blob.digest;
}

}  // namespace orch::image::oci
