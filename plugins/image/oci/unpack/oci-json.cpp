#include "unpack/oci-json.h"

#include <nlohmann/json.hpp>
#include <time.h>

#include <algorithm>
#include <set>

#include "orch/fail.h"
#include "reference.h"
#include "unpack/layer-path.h"

namespace orch::image::oci {

namespace {

using Json = nlohmann::json;

constexpr const char* MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json";
constexpr const char* CONFIG_TYPE = "application/vnd.oci.image.config.v1+json";
constexpr const char* LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar";
constexpr size_t MAX_DEPTH = 64;

// One document, so that an error can name it.
class Document final {
 public:
  Document(const char* name, std::string_view text) : name(name) {
    if (text.size() > MAX_DOCUMENT) refuse("is larger than 4 MiB");
    auto limit = [this](int depth, Json::parse_event_t, Json&) {
      if (depth > static_cast<int>(MAX_DEPTH)) refuse("is nested too deeply");
      return true;
    };
    root = Json::parse(text, limit, false);
    if (root.is_discarded()) refuse("is no JSON");
  }
  [[noreturn]] void refuse(const std::string& why) const {
    fail(kj::str("the ", name, " ", why.c_str()));
  }

  // A member that may be missing or null; anything else but T is refused.
  const Json* member(const Json& object, const char* key, Json::value_t type) const {
    auto found = object.find(key);
    if (found == object.end() || found->is_null()) return nullptr;
    if (found->type() != type) refuse(std::string("has a '") + key + "' of the wrong type");
    return &*found;
  }
  std::string text(const Json& object, const char* key) const {
    auto* found = member(object, key, Json::value_t::string);
    return found == nullptr ? std::string() : plain(*found, key);
  }
  // A string without a zero in it: it goes to places where that would cut it off.
  std::string plain(const Json& value, const char* key) const {
    if (!value.is_string()) refuse(std::string("has a '") + key + "' with other than strings");
    auto text = value.get<std::string>();
    if (text.find('\0') != std::string::npos) {
      refuse(std::string("has a zero character in '") + key + "'");
    }
    return text;
  }
  std::vector<std::string> texts(const Json& object, const char* key) const {
    std::vector<std::string> list;
    if (auto* found = member(object, key, Json::value_t::array)) {
      for (auto& value : *found) list.push_back(plain(value, key));
    }
    return list;
  }
  // The keys of an object that is used as a set.
  std::vector<std::string> keys(const Json& object, const char* key) const {
    std::vector<std::string> list;
    if (auto* found = member(object, key, Json::value_t::object)) {
      for (auto& [name, value] : found->items()) list.push_back(plain(Json(name), key));
    }
    return list;
  }
  const Json& object(const Json& of, const char* key) const {
    static const Json EMPTY = Json::object();
    auto* found = member(of, key, Json::value_t::object);
    return found == nullptr ? EMPTY : *found;
  }
  BlobRef blob(const Json& value) const {
    if (!value.is_object()) refuse("has a descriptor that is no object");
    BlobRef ref;
    ref.mediaType = text(value, "mediaType");
    ref.digest = text(value, "digest");
    if (!isDigest(ref.digest)) {
      refuse("names a blob '" + ref.digest.substr(0, 100) + "': accepted are sha256 digests");
    }
    auto size = value.find("size");
    if (size != value.end()) {
      if (!size->is_number_unsigned()) refuse("has a blob without a proper size");
      ref.size = size->get<uint64_t>();
    }
    return ref;
  }
  const Json& all() const { return root; }
  void requireObject() const {
    if (!root.is_object()) refuse("is no JSON object");
  }

 private:
  const char* name;
  Json root;
};

// Nanoseconds since the epoch of an RFC 3339 time; 0 if it is none.
int64_t parseTime(const std::string& text) {
  struct tm parts = {};
  const char* rest = strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  if (rest == nullptr) return 0;
  int64_t nanos = 0;
  if (*rest == '.') {
    int64_t unit = 100'000'000;
    for (++rest; *rest >= '0' && *rest <= '9'; ++rest, unit /= 10) nanos += (*rest - '0') * unit;
  }
  int64_t offset = 0;
  int hours = 0, minutes = 0;
  if ((*rest == '+' || *rest == '-') && sscanf(rest + 1, "%2d:%2d", &hours, &minutes) == 2) {
    offset = (*rest == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
  }
  int64_t seconds = static_cast<int64_t>(timegm(&parts)) - offset;
  constexpr int64_t LAST = 9'000'000'000;  // year 2255, before the nanoseconds overflow
  if (seconds < -LAST || seconds > LAST) return 0;
  return seconds * 1'000'000'000 + nanos;
}

bool startsWithOne(const std::string& type, std::initializer_list<std::string_view> prefixes) {
  return type.empty() || std::any_of(prefixes.begin(), prefixes.end(),
                                     [&](auto prefix) { return type.starts_with(prefix); });
}

// What a manifest holds if it is no image. An image has a configuration that a container starts
// from and layers of files; a signature has the former, an artifact neither.
std::string otherKindOf(const Manifest& manifest, const std::string& artifactType) {
  if (!artifactType.empty()) return artifactType;
  auto& config = manifest.config.mediaType;
  if (!startsWithOne(config, {CONFIG_TYPE, "application/vnd.docker.container.image.v1+json"})) {
    return config;
  }
  for (auto& layer : manifest.layers) {
    if (!startsWithOne(layer.mediaType, {"application/vnd.oci.image.layer.",
                                         "application/vnd.docker.image.rootfs."})) {
      return layer.mediaType;
    }
  }
  return {};
}

template <typename List>
void fill(List list, const std::vector<std::string>& values) {
  for (uint32_t i = 0; i < values.size(); ++i) list.set(i, values[i]);
}

}  // namespace

std::vector<IndexEntry> parseIndex(std::string_view json) {
  Document document("image index", json);
  document.requireObject();
  auto* manifests = document.member(document.all(), "manifests", Json::value_t::array);
  if (manifests == nullptr) document.refuse("has no 'manifests'");
  if (manifests->size() > MAX_IMAGES_PER_INDEX) document.refuse("names more than 1000 manifests");
  std::vector<IndexEntry> entries;
  for (auto& value : *manifests) {
    IndexEntry entry;
    entry.blob = document.blob(value);
    auto& type = entry.blob.mediaType;
    entry.isIndex = type == "application/vnd.oci.image.index.v1+json" ||
                    type == "application/vnd.docker.distribution.manifest.list.v2+json";
    auto& platform = document.object(value, "platform");
    entry.platform =
        normalized({document.text(platform, "os"), document.text(platform, "architecture"),
                    document.text(platform, "variant")});
    auto& notes = document.object(value, "annotations");
    entry.name = document.text(notes, "io.containerd.image.name");
    if (entry.name.empty()) entry.name = document.text(notes, "org.opencontainers.image.ref.name");
    entry.otherKind = document.text(value, "artifactType");
    if (entry.otherKind.empty()) {
      entry.otherKind = document.text(notes, "vnd.docker.reference.type");
    }
    if (entry.otherKind.empty() && entry.platform.architecture == "unknown") {
      entry.otherKind = "unknown";
    }
    entries.push_back(std::move(entry));
  }
  return entries;
}

Manifest parseManifest(std::string_view json) {
  Document document("image manifest", json);
  document.requireObject();
  auto* config = document.member(document.all(), "config", Json::value_t::object);
  if (config == nullptr) {
    document.refuse("has no 'config' (schema version 1 is not supported; push the image again)");
  }
  Manifest manifest;
  manifest.config = document.blob(*config);
  if (auto* layers = document.member(document.all(), "layers", Json::value_t::array)) {
    if (layers->size() > MAX_LAYERS) document.refuse("has more than 500 layers");
    for (auto& layer : *layers) manifest.layers.push_back(document.blob(layer));
  }
  manifest.otherKind = otherKindOf(manifest, document.text(document.all(), "artifactType"));
  return manifest;
}

std::vector<DockerImage> parseDockerManifest(std::string_view json) {
  Document document("archive's manifest.json", json);
  if (!document.all().is_array()) document.refuse("is no JSON array");
  if (document.all().size() > MAX_IMAGES_PER_INDEX) document.refuse("names more than 1000 images");
  std::vector<DockerImage> images;
  for (auto& value : document.all()) {
    if (!value.is_object()) document.refuse("has an image that is no object");
    DockerImage image;
    image.config = document.text(value, "Config");
    if (image.config.empty()) document.refuse("has an image without a 'Config'");
    image.names = document.texts(value, "RepoTags");
    image.layers = document.texts(value, "Layers");
    if (image.layers.size() > MAX_LAYERS) document.refuse("has an image of more than 500 layers");
    images.push_back(std::move(image));
  }
  return images;
}

namespace {

// docker's, in nanoseconds: OCI's specification has none, and who makes images puts it there all
// the same.
void parseHealth(const Document& document, const Json& given, schema::ImageConfig::Builder config) {
  auto* check = document.member(given, "Healthcheck", Json::value_t::object);
  if (check == nullptr) return;
  auto number = [&](const char* key, int64_t unit) -> uint64_t {
    auto found = check->find(key);
    if (found == check->end() || found->is_null()) return 0;
    if (!found->is_number_integer()) {
      document.refuse(std::string("has a '") + key + "' of a health check that is no number");
    }
    auto value = found->get<int64_t>();
    return value <= 0 ? 0 : std::max<int64_t>(value / unit, 1);
  };
  constexpr int64_t NS_PER_MS = 1'000'000;
  auto health = config.initHealth();
  auto test = document.texts(*check, "Test");
  fill(health.initTest(test.size()), test);
  health.setIntervalMs(number("Interval", NS_PER_MS));
  health.setTimeoutMs(number("Timeout", NS_PER_MS));
  health.setStartPeriodMs(number("StartPeriod", NS_PER_MS));
  health.setStartIntervalMs(number("StartInterval", NS_PER_MS));
  health.setRetries(static_cast<uint32_t>(std::min<uint64_t>(number("Retries", 1), UINT32_MAX)));
}

}  // namespace

std::vector<std::string> parseConfig(std::string_view json, schema::ImageInfo::Builder image) {
  Document document("image configuration", json);
  document.requireObject();
  auto& root = document.all();
  auto platform = normalized({document.text(root, "os"), document.text(root, "architecture"),
                              document.text(root, "variant")});
  image.setOs(platform.os);
  image.setArchitecture(platform.architecture);
  image.setVariant(platform.variant);
  image.setCreatedAtNs(parseTime(document.text(root, "created")));

  auto& given = document.object(root, "config");
  auto config = image.initConfig();
  auto entrypoint = document.texts(given, "Entrypoint");
  // What builders write where an entrypoint was taken away.
  if (entrypoint == std::vector<std::string>{""}) entrypoint.clear();
  fill(config.initEntrypoint(entrypoint.size()), entrypoint);
  auto command = document.texts(given, "Cmd");
  fill(config.initCommand(command.size()), command);
  auto env = document.texts(given, "Env");
  fill(config.initEnv(env.size()), env);
  config.setWorkdir(document.text(given, "WorkingDir"));
  config.setUser(document.text(given, "User"));
  config.setStopSignal(document.text(given, "StopSignal"));
  std::set<std::string> places;
  for (auto& volume : document.keys(given, "Volumes")) {
    auto place = plainPath(volume);
    if (place.empty()) document.refuse("has a volume '" + volume + "', which is all of the image");
    places.insert("/" + place);
  }
  std::vector<std::string> volumes(places.begin(), places.end());
  fill(config.initVolumes(volumes.size()), volumes);
  auto ports = document.keys(given, "ExposedPorts");
  fill(config.initExposedPorts(ports.size()), ports);
  parseHealth(document, given, config);
  auto& labels = document.object(given, "Labels");
  auto list = config.initLabels(labels.size());
  uint32_t i = 0;
  for (auto& [key, value] : labels.items()) {
    list[i].setKey(document.plain(Json(key), "Labels"));
    list[i++].setValue(document.plain(value, "Labels"));
  }

  auto diffIds = document.texts(document.object(root, "rootfs"), "diff_ids");
  if (diffIds.size() > MAX_LAYERS) document.refuse("has more than 500 layers");
  for (auto& diffId : diffIds) {
    if (!isDigest(diffId)) document.refuse("names a layer that is no sha256 digest");
  }
  return diffIds;
}

std::string layerType(std::string_view head) {
  std::string type = LAYER_TYPE;
  if (head.starts_with("\x1f\x8b")) return type + "+gzip";
  if (head.starts_with("\x28\xb5\x2f\xfd")) return type + "+zstd";
  return type;
}

std::string newManifest(const BlobRef& config, const std::vector<BlobRef>& layers) {
  Json list = Json::array();
  for (auto& layer : layers) {
    auto type = layer.mediaType.empty() ? LAYER_TYPE : layer.mediaType.c_str();
    list.push_back({{"mediaType", type}, {"digest", layer.digest}, {"size", layer.size}});
  }
  Json manifest = {
      {"schemaVersion", 2},
      {"mediaType", MANIFEST_TYPE},
      {"config", {{"mediaType", CONFIG_TYPE}, {"digest", config.digest}, {"size", config.size}}},
      {"layers", list}};
  return manifest.dump();
}

std::string newConfig(const std::string& architecture, int64_t createdAtSeconds,
                      const std::string& diffId) {
  time_t seconds = createdAtSeconds;
  struct tm parts;
  gmtime_r(&seconds, &parts);
  char created[64];
  strftime(created, sizeof(created), "%Y-%m-%dT%H:%M:%SZ", &parts);
  Json config = {{"architecture", architecture},
                 {"os", "linux"},
                 {"created", created},
                 {"config", Json::object()},
                 {"rootfs", {{"type", "layers"}, {"diff_ids", Json::array({diffId})}}}};
  return config.dump();
}

}  // namespace orch::image::oci
