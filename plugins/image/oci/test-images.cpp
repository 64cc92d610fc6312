#include "test-images.h"

#include <archive.h>
#include <archive_entry.h>
#include <kj/debug.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "unpack/digest.h"

namespace orch::image::oci::test {

namespace fs = std::filesystem;

namespace {
la_ssize_t append(struct archive*, void* to, const void* data, size_t size) {
  static_cast<std::string*>(to)->append(static_cast<const char*>(data), size);
  return size;
}

std::string inQuotes(const std::string& text) { return "\"" + text + "\""; }

std::string blobJson(const std::string& type, const std::string& digest, size_t size) {
  return "{\"mediaType\":" + inQuotes(type) + ",\"digest\":" + inQuotes(digest) +
         ",\"size\":" + std::to_string(size);
}

std::string hex(const std::string& digest) { return digest.substr(7); }
}  // namespace

std::string makeTar(const std::vector<TarEntry>& entries) {
  std::string bytes;
  auto* tar = archive_write_new();
  archive_write_set_format_pax(tar);
  archive_write_set_bytes_in_last_block(tar, 1);
  archive_write_open(tar, &bytes, nullptr, &append, nullptr);
  for (auto& given : entries) {
    auto* entry = archive_entry_new();
    archive_entry_set_pathname(entry, given.path.c_str());
    archive_entry_set_perm(entry, given.mode);
    archive_entry_set_uid(entry, given.owner);
    archive_entry_set_gid(entry, given.owner);
    archive_entry_set_mtime(entry, 1'600'000'000, 0);
    archive_entry_set_filetype(entry, given.type == 'd'   ? AE_IFDIR
                                      : given.type == 'l' ? AE_IFLNK
                                      : given.type == 'c' ? AE_IFCHR
                                                          : AE_IFREG);
    if (given.type == 'f') archive_entry_set_size(entry, given.content.size());
    if (given.type == 'l') archive_entry_set_symlink(entry, given.content.c_str());
    if (given.type == 'h') archive_entry_set_hardlink(entry, given.content.c_str());
    if (given.type == 'c') archive_entry_set_rdev(entry, 0x103);
    for (auto& [key, value] : given.attributes) {
      archive_entry_xattr_add_entry(entry, key.c_str(), value.data(), value.size());
    }
    KJ_ASSERT(archive_write_header(tar, entry) >= ARCHIVE_WARN, archive_error_string(tar));
    if (given.type == 'f') archive_write_data(tar, given.content.data(), given.content.size());
    archive_entry_free(entry);
  }
  archive_write_close(tar);
  archive_write_free(tar);
  return bytes;
}

std::string compressed(const std::string& bytes, const std::string& filter) {
  if (filter.empty()) return bytes;
  std::string result;
  auto* out = archive_write_new();
  archive_write_set_format_raw(out);
  archive_write_set_bytes_in_last_block(out, 1);
  KJ_ASSERT(archive_write_add_filter_by_name(out, filter.c_str()) == ARCHIVE_OK);
  archive_write_open(out, &result, nullptr, &append, nullptr);
  auto* entry = archive_entry_new();
  archive_entry_set_filetype(entry, AE_IFREG);
  archive_write_header(out, entry);
  archive_write_data(out, bytes.data(), bytes.size());
  archive_entry_free(entry);
  archive_write_close(out);
  archive_write_free(out);
  return result;
}

void writeFile(const std::string& path, const std::string& bytes) {
  fs::create_directories(fs::path(path).parent_path());
  std::ofstream(path, std::ios::binary) << bytes;
}

std::string readFile(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

std::vector<std::string> filesIn(const std::string& folder) {
  std::vector<std::string> names;
  for (auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

TestLayer::TestLayer(const std::vector<TarEntry>& entries, const std::string& filter)
    : tar(makeTar(entries)),
      blob(compressed(tar, filter)),
      diffId(sha256(tar)),
      digest(sha256(blob)) {}

std::string TestImage::configJson() const {
  std::string ids;
  for (auto& layer : layers) ids += (ids.empty() ? "" : ",") + inQuotes(layer.diffId);
  return "{\"architecture\":" + inQuotes(architecture) +
         ",\"os\":\"linux\",\"created\":\"2024-02-29T12:30:00.5Z\",\"config\":" + config +
         ",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[" + ids + "]}}";
}

TestImage imageOf(const std::string& name, const std::string& content) {
  return {name, {TestLayer({{"file", 'f', content}}, "gzip")}};
}

void writeLayout(const std::string& folder, const std::vector<TestImage>& images) {
  std::string manifests;
  auto blobs = folder + "/blobs/sha256/";
  for (auto& image : images) {
    auto config = image.configJson();
    writeFile(blobs + hex(sha256(config)), config);
    std::string layers;
    for (auto& layer : image.layers) {
      writeFile(blobs + hex(layer.digest), layer.blob);
      layers +=
          (layers.empty() ? "" : ",") +
          blobJson("application/vnd.oci.image.layer.v1.tar+gzip", layer.digest, layer.blob.size()) +
          "}";
    }
    auto manifest =
        "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\","
        "\"config\":" +
        blobJson("application/vnd.oci.image.config.v1+json", sha256(config), config.size()) +
        "},\"layers\":[" + layers + "]}";
    writeFile(blobs + hex(sha256(manifest)), manifest);
    auto note = image.name.empty() ? std::string()
                                   : ",\"annotations\":{\"org.opencontainers.image.ref.name\":" +
                                         inQuotes(image.name) + "}";
    manifests +=
        (manifests.empty() ? "" : ",") +
        blobJson("application/vnd.oci.image.manifest.v1+json", sha256(manifest), manifest.size()) +
        note + "}";
  }
  writeFile(folder + "/oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}");
  writeFile(folder + "/index.json", "{\"schemaVersion\":2,\"manifests\":[" + manifests + "]}");
}

void writeTarOf(const std::string& folder, const std::string& path) {
  std::vector<TarEntry> entries;
  for (auto& file : fs::recursive_directory_iterator(folder)) {
    auto name = fs::relative(file.path(), folder).string();
    if (file.is_directory()) {
      entries.push_back({name, 'd', "", 0755});
    } else {
      entries.push_back({name, 'f', readFile(file.path())});
    }
  }
  writeFile(path, makeTar(entries));
}

void writeDockerArchive(const std::string& path, const std::vector<TestImage>& images) {
  std::vector<TarEntry> entries;
  std::string manifest;
  for (auto& image : images) {
    auto config = image.configJson();
    entries.push_back({hex(sha256(config)) + ".json", 'f', config});
    std::string layers;
    for (auto& layer : image.layers) {
      auto name = hex(layer.diffId) + "/layer.tar";
      entries.push_back({name, 'f', layer.blob});
      layers += (layers.empty() ? "" : ",") + inQuotes(name);
    }
    auto tags = image.name.empty() ? "null" : "[" + inQuotes(image.name) + "]";
    manifest += (manifest.empty() ? "" : ",") +
                ("{\"Config\":" + inQuotes(hex(sha256(config)) + ".json")) +
                ",\"RepoTags\":" + tags + ",\"Layers\":[" + layers + "]}";
  }
  entries.push_back({"manifest.json", 'f', "[" + manifest + "]"});
  writeFile(path, makeTar(entries));
}

}  // namespace orch::image::oci::test
