#include "unpack/ingest.h"

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <set>
#include <vector>

#include "image-index.h"
#include "orch/attempt.h"
#include "orch/durable-file.h"
#include "orch/fail.h"
#include "reference.h"
#include "unpack/digest.h"
#include "unpack/layer-unpacker.h"
#include "unpack/oci-json.h"
#include "unpack/source.h"

namespace orch::image::oci {

namespace {

constexpr const char* LAYER_ATTRIBUTE =
    "trusted.orch.layer";  // on a layer's folder: LayerEntry.text
constexpr int MAX_INDEX_DEPTH = 4;

std::string hexOf(const std::string& digest) { return digest.substr(digest.find(':') + 1); }
std::string blobPath(const std::string& digest) { return "blobs/sha256/" + hexOf(digest); }

// One image of the source, before its layers are there.
struct Plan {
  std::set<std::string> names;  // familiar; those of the source that are usable
  std::string config;           // the document
  std::string configDigest;
  std::string manifest;      // the document; empty: to be made
  std::string sourceDigest;  // of the registry's own manifest, if that is another
  struct Layer {
    std::string path;        // within the source
    std::string blobDigest;  // empty: only the diffId is known
    uint64_t bytes = 0;
  };
  std::vector<Layer> layers;
  std::string label() const { return names.empty() ? configDigest.substr(0, 19) : *names.begin(); }
};

class Ingest final {
 public:
  explicit Ingest(const IngestRequest& request) : request(request) {}

  void run() {
    auto source = openSource(request.source, request.job, request.maxLayerBytes);
    KJ_SYSCALL(mkdir((request.job + "/layers").c_str(), 0700));
    switch (source.kind) {
      case Source::Kind::LAYOUT:
        readLayout(source.path);
        break;
      case Source::Kind::DOCKER_ARCHIVE:
        readDockerArchive(source.path);
        break;
      case Source::Kind::ROOT_TAR:
      case Source::Kind::ROOT_FOLDER:
        addRoot(source);
        finish();
        return;
    }
    if (plans.empty()) fail(kj::str("it holds no image for linux/", request.architecture.c_str()));
    mergeEqual();
    applyReference();
    for (auto& plan : plans) {
      for (auto& layer : plan.layers) totalBytes += layer.bytes;
    }
    for (auto& plan : plans) addImage(source.path, plan);
    finish();
  }

 private:
  using Message = std::unique_ptr<capnp::MallocMessageBuilder>;

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

  bool fits(const IndexEntry& entry) const {
    return (entry.os.empty() || entry.os == "linux") &&
           (entry.architecture.empty() || entry.architecture == request.architecture);
  }

  void readLayout(const std::string& folder) {
    auto index = parseIndex(readWithin(folder, "index.json", "its index.json", MAX_DOCUMENT));
    for (auto& entry : index) {
      if (!entry.isImage || !fits(entry)) continue;
      std::set<std::string> names;
      // A bare tag (`latest`) says nothing: it is what tools write that have no name.
      bool isName = entry.name.find_first_of("/:") != std::string::npos;
      if (isName) addName(names, entry.name);
      readManifest(folder, entry, names, 0);
    }
  }

  void readManifest(const std::string& folder, const IndexEntry& entry,
                    const std::set<std::string>& names, int depth) {
    if (depth > MAX_INDEX_DEPTH) fail(kj::str("its indexes are nested too deeply"));
    auto text = checkedDocument(folder, entry.blob, "manifest");
    if (entry.isIndex) {
      for (auto& inner : parseIndex(text)) {
        if (!inner.isImage || !fits(inner)) continue;
        readManifest(folder, inner, names, depth + 1);
        return;  // the first that fits, as everywhere
      }
      return;
    }
    Plan plan;
    plan.names = names;
    auto manifest = parseManifest(text);
    plan.manifest = kj::mv(text);
    plan.configDigest = manifest.config.digest;
    plan.config = checkedDocument(folder, manifest.config, "configuration");
    for (auto& layer : manifest.layers) {
      plan.layers.push_back({blobPath(layer.digest), layer.digest, layer.size});
    }
    plan.sourceDigest = sourceDigest(plan, entry.blob.digest);
    plans.push_back(kj::mv(plan));
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
        for (auto& entry : parseIndex(text)) {
          if (!entry.isImage || entry.isIndex || !fits(entry)) continue;
          digest = entry.blob.digest;
          return;
        }
      });
      // The name may lead to something else by now: then nothing is known.
      return read.ok() && digest != local ? digest : std::string();
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

  void addImage(const std::string& folder, Plan& plan) {
    auto message = std::make_unique<capnp::MallocMessageBuilder>();
    auto image = message->initRoot<schema::ImageInfo>();
    auto diffIds = parseConfig(plan.config, image);
    checkPlatform(image, plan.label());
    if (diffIds.size() != plan.layers.size()) {
      fail(kj::str("image '", plan.label().c_str(), "' has ", plan.layers.size(),
                   " layers and a configuration of ", diffIds.size()));
    }
    std::vector<LayerEntry> entries;
    for (size_t i = 0; i < diffIds.size(); ++i) {
      entries.push_back(addLayer(folder, plan.layers[i], diffIds[i], plan.label()));
      doneBytes += plan.layers[i].bytes;
    }
    record(image, plan, entries);
    messages.push_back(kj::mv(message));
  }

  void checkPlatform(schema::ImageInfo::Reader image, const std::string& label) {
    bool os = image.getOs().size() == 0 || image.getOs() == "linux";
    bool architecture = image.getArchitecture().size() == 0 ||
                        image.getArchitecture() == request.architecture.c_str();
    if (os && architecture) return;
    fail(kj::str("image '", label.c_str(), "' is for ", image.getOs(), "/", image.getArchitecture(),
                 " and this node is linux/", request.architecture.c_str()));
  }

  static kj::Maybe<LayerEntry> knownLayer(const std::string& folder, const std::string& diffId) {
    char text[256];
    ssize_t n = lgetxattr(folder.c_str(), LAYER_ATTRIBUTE, text, sizeof(text));
    if (n <= 0) return nullptr;
    auto entry = LayerEntry::parse(kj::heapString(text, n));
    if (entry.diffId != hexOf(diffId)) return nullptr;
    return entry;
  }

  // The layer as it is in the store, or unpacked in the job's folder.
  LayerEntry addLayer(const std::string& folder, const Plan::Layer& layer,
                      const std::string& diffId, const std::string& label) {
    LayerEntry wanted;
    wanted.diffId = hexOf(diffId);
    auto fresh = request.job + "/layers/" + wanted.folder();
    for (auto& place : {request.root + "/layers/" + wanted.folder(), fresh}) {
      KJ_IF_MAYBE (known, knownLayer(place, diffId)) return withBlob(*known, layer);
    }
    auto shown = layer.blobDigest.empty() ? diffId : layer.blobDigest;
    auto fault = [&](kj::StringPtr why) {
      fail(kj::str("layer ", shown.c_str(), " of image '", label.c_str(), "' ", why));
    };
    auto file = openWithin(folder, layer.path, "layer " + shown + " of image '" + label + "'");
    if (!layer.blobDigest.empty()) {
      uint64_t bytes = 0;
      auto found = sha256OfFile(file, bytes);
      if (found != layer.blobDigest) fault(kj::str("is damaged: its content is ", found.c_str()));
      KJ_SYSCALL(lseek(file, 0, SEEK_SET));
    }
    KJ_SYSCALL(mkdir(fresh.c_str(), 0755), fresh.c_str());
    unpackInto(file, fresh, wanted, shown, label);
    if (wanted.diffId != hexOf(diffId)) {
      fault(kj::str("is damaged: unpacked it is sha256:", wanted.diffId.c_str(), " instead of ",
                    diffId.c_str()));
    }
    wanted = withBlob(wanted, layer);
    auto text = wanted.text();
    if (lsetxattr(fresh.c_str(), LAYER_ATTRIBUTE, text.data(), text.size(), 0) < 0) {
      fail(kj::str("the folder '", request.root.c_str(),
                   "' is on a file system without trusted.* attributes (", strerror(errno),
                   "); choose another with the setting root"));
    }
    newLayers.push_back(wanted.folder());
    return wanted;
  }

  // `entry` gets the digest and the size that were found.
  void unpackInto(int fd, const std::string& fresh, LayerEntry& entry, const std::string& shown,
                  const std::string& label) {
    auto progress = [this](uint64_t bytes) { report(doneBytes + bytes); };
    try {
      auto stats = unpackLayer(fd, fresh, request.maxLayerBytes, progress);
      entry.diffId = hexOf(stats.diffId);
      entry.unpackedBytes = stats.unpackedBytes;
    } catch (const kj::Exception& exception) {
      fail(kj::str("layer ", shown.c_str(), " of image '", label.c_str(),
                   "': ", exception.getDescription()));
    }
  }

  static LayerEntry withBlob(LayerEntry entry, const Plan::Layer& layer) {
    if (layer.blobDigest.empty()) return entry;
    entry.blob = hexOf(layer.blobDigest);
    entry.blobBytes = layer.bytes;
    return entry;
  }

  void addRoot(const Source& source) {
    auto path = source.path;
    struct stat info;
    KJ_SYSCALL(stat(path.c_str(), &info));
    if (source.kind == Source::Kind::ROOT_FOLDER) {
      refuseOwnStore(path);
      path = request.job + "/root.tar";
      writeRootTar(source.path, path);
    }
    int fd;
    KJ_SYSCALL(fd = open(path.c_str(), O_RDONLY | O_CLOEXEC), path.c_str());
    kj::AutoCloseFd file(fd);
    struct stat tar;
    KJ_SYSCALL(fstat(fd, &tar));
    totalBytes = tar.st_size;
    // What layer it is shows when it is unpacked.
    auto folder = request.job + "/layers/root";
    KJ_SYSCALL(mkdir(folder.c_str(), 0755));
    auto stats =
        unpackLayer(fd, folder, request.maxLayerBytes, [this](uint64_t bytes) { report(bytes); });
    LayerEntry entry;
    entry.diffId = hexOf(stats.diffId);
    entry.unpackedBytes = stats.unpackedBytes;
    auto text = entry.text();
    KJ_SYSCALL(lsetxattr(folder.c_str(), LAYER_ATTRIBUTE, text.data(), text.size(), 0));
    auto fresh = request.job + "/layers/" + entry.folder();
    KJ_SYSCALL(rename(folder.c_str(), fresh.c_str()));
    newLayers.push_back(entry.folder());

    Plan plan;
    plan.config = newConfig(request.architecture, info.st_mtime, stats.diffId);
    plan.configDigest = sha256(plan.config);
    if (!request.reference.empty()) plan.names = {request.reference};
    plan.layers.push_back({"", "", stats.tarBytes});
    auto message = std::make_unique<capnp::MallocMessageBuilder>();
    auto image = message->initRoot<schema::ImageInfo>();
    parseConfig(plan.config, image);
    record(image, plan, {entry});
    messages.push_back(kj::mv(message));
  }

  void refuseOwnStore(const std::string& path) {
    std::unique_ptr<char, decltype(&free)> folder(realpath(path.c_str(), nullptr), &free);
    std::unique_ptr<char, decltype(&free)> store(realpath(request.root.c_str(), nullptr), &free);
    KJ_REQUIRE(folder != nullptr && store != nullptr);
    std::string outer = folder.get(), inner = store.get();
    if (outer != "/") outer += '/';
    if ((inner + "/").starts_with(outer)) {
      fail(kj::str("it contains the images' own folder '", request.root.c_str(), "'"));
    }
  }

  void record(schema::ImageInfo::Builder image, const Plan& plan,
              const std::vector<LayerEntry>& entries) {
    auto manifest = plan.manifest;
    if (manifest.empty()) {
      std::vector<BlobRef> layers;
      for (size_t i = 0; i < entries.size(); ++i) {
        layers.push_back({"", "sha256:" + entries[i].diffId, plan.layers[i].bytes});
      }
      manifest = newManifest({"", plan.configDigest, plan.config.size()}, layers);
    }
    auto digest = sha256(manifest);
    blobs[hexOf(digest)] = manifest;
    blobs[hexOf(plan.configDigest)] = plan.config;
    image.setId(plan.configDigest);
    image.setDigest(plan.sourceDigest.empty() ? digest : plan.sourceDigest);
    if (!plan.sourceDigest.empty()) image.initHolders(1).set(0, digest);  // ImageRecord::manifest
    auto names = image.initReferences(plan.names.size());
    uint32_t n = 0;
    for (auto& name : plan.names) names.set(n++, name);

    // overlayfs takes each folder once. Of equal layers the topmost decides: what it says hides
    // what its twin below says.
    std::vector<LayerEntry> unique;
    std::set<std::string> seen;
    for (size_t i = entries.size(); i-- > 0;) {
      if (seen.insert(entries[i].diffId).second) unique.insert(unique.begin(), entries[i]);
    }
    uint64_t bytes = 0;
    auto layers = image.initLayers(unique.size());
    for (size_t i = 0; i < unique.size(); ++i) {
      bytes += unique[i].unpackedBytes;
      layers.set(i, unique[i].text());
    }
    image.setSizeBytes(bytes);
  }

  void report(uint64_t bytes) {
    // At most a hundred lines, or one for each MiB.
    constexpr uint64_t STEP = 1 << 20;
    bytes = std::min(bytes, totalBytes);
    if (bytes < reported + std::max(STEP, totalBytes / 100) && bytes < totalBytes) return;
    if (bytes == reported) return;
    reported = bytes;
    if (request.onProgress) request.onProgress("unpacking", bytes, totalBytes);
  }

  // From here on the store changes: layers and blobs that no image names yet, and that the next
  // sweep takes away if this is the end.
  void finish() {
    int root;
    KJ_SYSCALL(root = open(request.root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    kj::AutoCloseFd folder(root);
    if (syncfs(root) < 0) {
      fail(kj::str("cannot write to '", request.root.c_str(), "': ", strerror(errno)));
    }
    for (auto& [name, content] : blobs) {
      writeChecked(request.root + "/blobs/" + name,
                   kj::arrayPtr(reinterpret_cast<const kj::byte*>(content.data()), content.size()));
    }
    kj::Vector<kj::Array<capnp::word>> flat;
    kj::Vector<kj::ArrayPtr<const capnp::word>> views;
    for (auto& message : messages) views.add(flat.add(capnp::messageToFlatArray(*message)));
    writeChecked(request.job + "/images", encodeRecords(views));
    // Last, since it needs no room on the disk: what is large goes in only with all the rest.
    auto layers = request.root + "/layers";
    for (auto& name : newLayers) {
      auto from = request.job + "/layers/" + name, to = layers + "/" + name;
      if (rename(from.c_str(), to.c_str()) == 0) continue;
      // Another transfer had the same layer.
      if (errno == ENOTEMPTY || errno == EEXIST) continue;
      KJ_FAIL_SYSCALL("rename", errno, to.c_str());
    }
    syncFolder(layers);
  }

  const IngestRequest& request;
  std::vector<Plan> plans;
  std::vector<std::string> newLayers;  // folders in <job>/layers
  std::map<std::string, std::string> blobs;
  std::vector<Message> messages;
  uint64_t doneBytes = 0;
  uint64_t totalBytes = 0;
  uint64_t reported = 0;
};

}  // namespace

void ingest(const IngestRequest& request) { Ingest(request).run(); }

}  // namespace orch::image::oci
