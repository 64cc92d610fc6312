#include "unpack/ingest.h"

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <stdlib.h>
#include <sys/sendfile.h>
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
#include "unpack/digest.h"
#include "unpack/implied-folders.h"
#include "unpack/layer-unpacker.h"
#include "unpack/oci-json.h"
#include "unpack/plan.h"
#include "unpack/source.h"

namespace orch::image::oci {

namespace {

constexpr const char* LAYER_ATTRIBUTE =
    "trusted.orch.layer";  // on a layer's folder: LayerEntry.text
std::string hexOf(const std::string& digest) { return digest.substr(digest.find(':') + 1); }

Node nodeOf(const IngestRequest& request) {
  return {request.architecture,
          request.level != 0 ? request.level : thisLevel(request.architecture)};
}

class Ingest final {
 public:
  explicit Ingest(const IngestRequest& request) : request(request), node(nodeOf(request)) {}

  void run() {
    auto source = openSource(request.source, request.job, request.maxLayerBytes);
    for (auto* folder : {"/layers", KEPT_FOLDER}) {
      KJ_SYSCALL(mkdir((request.job + folder).c_str(), 0700));
    }
    if (source.kind == Source::Kind::ROOT_TAR || source.kind == Source::Kind::ROOT_FOLDER) {
      addRoot(source);
      finish();
      return;
    }
    auto plans = readPlans(source, request, node);
    for (auto& plan : plans) {
      for (auto& layer : plan.layers) totalBytes += layer.bytes;
    }
    for (auto& plan : plans) addImage(source.path, plan);
    finish();
  }

 private:
  using Message = std::unique_ptr<capnp::MallocMessageBuilder>;

  void addImage(const std::string& folder, Plan& plan) {
    auto message = std::make_unique<capnp::MallocMessageBuilder>();
    auto image = message->initRoot<schema::ImageInfo>();
    auto diffIds = parseConfig(plan.config, image);
    if (!plan.sourceConfig.empty()) {
      capnp::MallocMessageBuilder source;
      auto original = source.initRoot<schema::ImageInfo>();
      parseConfig(plan.sourceConfig, original);
      image.getConfig().setHealth(original.getConfig().getHealth());
    }
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
    addImpliedFolders(entries);
    record(image, plan, entries);
    messages.push_back(kj::mv(message));
  }

  // Where a layer is, in the store or in the job's folder; empty if it is not there yet.
  std::string placeOf(const std::string& diffId) const {
    auto name = hexOf(diffId).substr(0, LAYER_NAME);
    for (auto& place : {request.root + "/layers/" + name, request.job + "/layers/" + name}) {
      bool whole = !attributeOf(place).empty() && entryAt(place).diffId == hexOf(diffId);
      if (whole) return place;
    }
    return {};
  }

  void addImpliedFolders(std::vector<LayerEntry>& entries) {
    std::vector<std::string> places;
    for (auto& entry : entries) places.push_back(placeOf("sha256:" + entry.diffId));
    auto folders = impliedFolders(places);
    if (folders.empty()) return;
    auto digest = digestOf(folders);
    LayerEntry entry;
    entry.diffId = hexOf(digest);
    if (placeOf(digest).empty()) {
      auto fresh = request.job + "/layers/" + entry.folder();
      KJ_SYSCALL(mkdir(fresh.c_str(), 0755), fresh.c_str());
      makeFolders(fresh, folders);
      keepLayer(fresh, entry);
    }
    entries.push_back(kj::mv(entry));
  }

  // A layer that is whole.
  void keepLayer(const std::string& fresh, const LayerEntry& entry) {
    auto text = entry.text();
    if (lsetxattr(fresh.c_str(), LAYER_ATTRIBUTE, text.data(), text.size(), 0) < 0) {
      fail(kj::str("the folder '", request.root.c_str(),
                   "' is on a file system without trusted.* attributes (", strerror(errno),
                   "); choose another with the setting root"));
    }
    newLayers.push_back(entry.folder());
  }

  void checkPlatform(schema::ImageInfo::Reader image, const std::string& label) {
    Platform platform{image.getOs().cStr(), image.getArchitecture().cStr(),
                      image.getVariant().cStr()};
    if (suitability(platform, node)) return;
    bool level = platform.architecture == node.architecture;
    auto here = level ? node.text() : "linux/" + node.architecture;
    fail(kj::str("image '", label.c_str(), "' is for ", platform.text().c_str(),
                 " and this node is ", here.c_str()));
  }

  // Empty if there is no layer, or none that is whole.
  static std::string attributeOf(const std::string& folder) {
    char text[256];
    ssize_t n = lgetxattr(folder.c_str(), LAYER_ATTRIBUTE, text, sizeof(text));
    return n <= 0 ? std::string() : std::string(text, n);
  }
  static LayerEntry entryAt(const std::string& place) {
    return LayerEntry::parse(attributeOf(place).c_str());
  }

  // The layer as it is in the store, or unpacked in the job's folder. `layer` gets the digest and
  // the size of its blob if that is kept.
  LayerEntry addLayer(const std::string& folder, Plan::Layer& layer, const std::string& diffId,
                      const std::string& label) {
    auto known = placeOf(diffId);
    if (!known.empty() && !request.keep) return withBlob(entryAt(known), layer);
    auto shown = layer.blobDigest.empty() ? diffId : layer.blobDigest;
    auto fault = [&](kj::StringPtr why) {
      fail(kj::str("layer ", shown.c_str(), " of image '", label.c_str(), "' ", why));
    };
    auto file = openWithin(folder, layer.path, "layer " + shown + " of image '" + label + "'");
    auto named = layer.blobDigest;
    if (request.keep) {
      keepBlob(file, folder + "/" + layer.path, layer);
    } else if (!named.empty()) {
      uint64_t bytes = 0;
      layer.blobDigest = sha256OfFile(file, bytes);
    }
    if (!named.empty() && layer.blobDigest != named) {
      fault(kj::str("is damaged: its content is ", layer.blobDigest.c_str()));
    }
    // What a docker archive holds without a digest is looked into, unless it is the tar itself.
    bool sure = !named.empty() || layer.blobDigest == diffId;
    if (!known.empty() && sure) return withBlob(entryAt(known), layer);
    KJ_SYSCALL(lseek(file, 0, SEEK_SET));
    LayerEntry wanted;
    wanted.diffId = hexOf(diffId);
    auto fresh = request.job + "/layers/" + (known.empty() ? wanted.folder() : "looked-into");
    KJ_SYSCALL(mkdir(fresh.c_str(), 0755), fresh.c_str());
    unpackInto(file, fresh, wanted, shown, label);
    if (wanted.diffId != hexOf(diffId)) {
      fault(kj::str("is damaged: unpacked it is sha256:", wanted.diffId.c_str(), " instead of ",
                    diffId.c_str()));
    }
    wanted = withBlob(wanted, layer);
    if (known.empty()) {
      keepLayer(fresh, wanted);
    } else {
      removeTree(fresh);
    }
    return wanted;
  }

  // The blob behind `file` at `path`, in the job's folder under its digest: a link to it if it is
  // there anyway, else a copy, which `file` then is.
  void keepBlob(kj::AutoCloseFd& file, const std::string& path, Plan::Layer& layer) {
    auto incoming = request.job + KEPT_FOLDER + "/incoming";
    struct stat there, opened;
    KJ_SYSCALL(fstat(file, &opened));
    bool ours = path.starts_with(request.job + "/") && lstat(path.c_str(), &there) == 0 &&
                there.st_ino == opened.st_ino;
    if (!ours || link(path.c_str(), incoming.c_str()) < 0) {
      int copy;
      KJ_SYSCALL(copy = open(incoming.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
      kj::AutoCloseFd target(copy);
      copyAll(file, target);
      file = kj::mv(target);
    }
    char head[4] = {};
    KJ_SYSCALL(pread(file, head, sizeof(head), 0));
    layer.mediaType = layerType({head, sizeof(head)});
    KJ_SYSCALL(lseek(file, 0, SEEK_SET));
    layer.blobDigest = sha256OfFile(file, layer.bytes);
    auto name = hexOf(layer.blobDigest);
    KJ_SYSCALL(rename(incoming.c_str(), (request.job + KEPT_FOLDER + "/" + name).c_str()));
    unlink(incoming.c_str());  // it stays if both are the same file
    kept.insert(name);
  }

  static void copyAll(int from, int to) {
    constexpr size_t COPY_STEP = 1 << 30;
    for (ssize_t n = 1; n > 0;) {
      n = sendfile(to, from, nullptr, COPY_STEP);
      if (n < 0) fail(kj::str("a layer's blob cannot be kept: ", strerror(errno)));
    }
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
    Plan::Layer blob;
    if (request.keep) {
      keepBlob(file, path, blob);
      KJ_SYSCALL(lseek(file, 0, SEEK_SET));
    }
    // What layer it is shows when it is unpacked.
    auto folder = request.job + "/layers/root";
    KJ_SYSCALL(mkdir(folder.c_str(), 0755));
    auto stats =
        unpackLayer(file, folder, request.maxLayerBytes, [this](uint64_t bytes) { report(bytes); });
    LayerEntry entry;
    entry.diffId = hexOf(stats.diffId);
    entry.unpackedBytes = stats.unpackedBytes;
    entry = withBlob(entry, blob);
    auto text = entry.text();
    KJ_SYSCALL(lsetxattr(folder.c_str(), LAYER_ATTRIBUTE, text.data(), text.size(), 0));
    auto fresh = request.job + "/layers/" + entry.folder();
    KJ_SYSCALL(rename(folder.c_str(), fresh.c_str()));
    newLayers.push_back(entry.folder());

    Plan plan;
    plan.config = newConfig(request.architecture, info.st_mtime, stats.diffId);
    plan.configDigest = sha256(plan.config);
    if (!request.reference.empty()) plan.names = {request.reference};
    if (!request.keep) blob.bytes = stats.tarBytes;
    plan.layers.push_back(kj::mv(blob));
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
      for (size_t i = 0; i < plan.layers.size(); ++i) {
        auto& blob = plan.layers[i];
        auto name = blob.blobDigest.empty() ? "sha256:" + entries[i].diffId : blob.blobDigest;
        layers.push_back({blob.mediaType, name, blob.bytes});
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
    if (!request.keep) return;
    std::map<std::string, uint64_t> sizes;
    for (auto& layer : plan.layers) sizes[layer.blobDigest] = layer.bytes;
    uint64_t keptBytes = manifest.size() + plan.config.size();
    for (auto& entry : sizes) keptBytes += entry.second;
    image.setKeptBytes(keptBytes);
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
    for (auto& name : kept) {
      auto from = request.job + KEPT_FOLDER + "/" + name;
      auto to = request.root + KEPT_FOLDER + "/" + name;
      KJ_SYSCALL(rename(from.c_str(), to.c_str()), to.c_str());
    }
    if (!kept.empty()) syncFolder(request.root + KEPT_FOLDER);
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
  const Node node;
  std::vector<std::string> newLayers;  // folders in <job>/layers
  std::set<std::string> kept;          // blobs of layers in <job>/kept, by their 64 digits
  std::map<std::string, std::string> blobs;
  std::vector<Message> messages;
  uint64_t doneBytes = 0;
  uint64_t totalBytes = 0;
  uint64_t reported = 0;
};

}  // namespace

void ingest(const IngestRequest& request) { Ingest(request).run(); }

std::string chooseForThisNode(const IngestRequest& request) {
  auto slash = request.source.rfind('/');
  auto text = readWithin(request.source.substr(0, slash), request.source.substr(slash + 1),
                         "the registry's answer", MAX_DOCUMENT);
  return chooseManifest(text, nodeOf(request));
}

}  // namespace orch::image::oci
