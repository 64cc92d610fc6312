#include "unpack/lay-out.h"

#include <archive_entry.h>
#include <kj/debug.h>
#include <sys/stat.h>
#include <unistd.h>

#include <map>
#include <memory>
#include <set>
#include <vector>

#include "orch/fail.h"
#include "unpack/archive.h"
#include "unpack/layer-path.h"
#include "unpack/oci-json.h"

namespace orch::image::oci {

namespace {

// docker's archives have one for each layer that occurs twice.
constexpr size_t MAX_LINKS_OF_LAYER = 100'000;
constexpr unsigned MAX_LINKS_ON_WAY = 40;  // as the kernel's own (MAXSYMLINKS)

// Null if it is no archive at all.
Archive openArchive(const std::string& path) {
  Archive archive(archive_read_new());
  archive_read_support_filter_gzip(archive.get());
  archive_read_support_filter_zstd(archive.get());
  archive_read_support_filter_xz(archive.get());
  archive_read_support_format_tar(archive.get());
  if (archive_read_open_filename(archive.get(), path.c_str(), BLOCK) < ARCHIVE_WARN) {
    return nullptr;
  }
  return archive;
}

std::string nameOf(struct archive_entry* entry) {
  const char* name = archive_entry_pathname(entry);
  return name == nullptr ? std::string() : plainPath(name);
}

// What the archive's headers say.
class Contents final {
 public:
  explicit Contents(const std::string& path) {
    auto archive = openArchive(path);
    struct archive_entry* entry;
    int result = ARCHIVE_FATAL;
    bool any = false;
    while (archive) {
      result = archive_read_next_header(archive.get(), &entry);
      if (result < ARCHIVE_WARN || result == ARCHIVE_EOF) break;
      any = true;
      look(archive.get(), entry);
    }
    if (!any) fail(kj::str("it is no archive; ", ACCEPTED_SOURCES));
    if (result != ARCHIVE_EOF) fail(kj::str("it is damaged: ", reasonOf(archive.get())));
  }

  Source::Kind kind() const {
    // One that is both is read as a layout, which has the digests that a registry knows.
    if (layout && index) return Source::Kind::LAYOUT;
    if (docker) return Source::Kind::DOCKER_ARCHIVE;
    refuseHalfLayout(layout, index, blobs);
    if (legacy) {
      fail(kj::str("it was saved by a docker older than 1.10; save it again with a newer one"));
    }
    return Source::Kind::ROOT_TAR;
  }

  // Whether a file is needed to read the images.
  bool needed(const std::string& name) {
    if (referenced.empty()) readReferences();
    return referenced.count(name) > 0 || (!blobFolder.empty() && name.starts_with(blobFolder));
  }

 private:
  void look(struct archive* archive, struct archive_entry* entry) {
    auto name = nameOf(entry);
    layout = layout || name == "oci-layout";
    index = index || name == "index.json";
    blobs = blobs || name.starts_with("blobs/");
    legacy = legacy || name == "repositories";
    if (name == "manifest.json" && archive_entry_filetype(entry) == AE_IFREG) {
      docker = true;
      readManifest(archive);
    }
    if (links.size() >= MAX_LINKS_OF_LAYER) return;
    if (const char* target = archive_entry_hardlink(entry)) {
      links[name] = plainPath(target);
    } else if (archive_entry_filetype(entry) == AE_IFLNK) {
      const char* text = archive_entry_symlink(entry);
      auto slash = name.rfind('/');
      auto folder = slash == std::string::npos ? std::string() : name.substr(0, slash + 1);
      if (text != nullptr) links[name] = plainPath(folder + text);
    }
  }

  void readManifest(struct archive* archive) {
    manifest.assign(MAX_DOCUMENT + 1, '\0');
    ssize_t size = archive_read_data(archive, manifest.data(), manifest.size());
    if (size < 0) fail(kj::str("its manifest.json is damaged: ", reasonOf(archive)));
    if (static_cast<size_t>(size) > MAX_DOCUMENT) {
      fail(kj::str("its manifest.json has more than ", MAX_DOCUMENT, " bytes"));
    }
    manifest.resize(size);
  }

  void readReferences() {
    if (kind() == Source::Kind::LAYOUT) {
      for (auto* name : {"oci-layout", "index.json"}) follow(name);
      blobFolder = follow("blobs/sha256") + "/";
      for (auto& [name, target] : links) {
        if (name.starts_with(blobFolder)) follow(name);
      }
      return;
    }
    follow("manifest.json");
    for (auto& image : parseDockerManifest(manifest)) {
      follow(plainPath(image.config));
      for (auto& layer : image.layers) follow(plainPath(layer));
    }
  }

  // Notes a path, the links on the way and what they lead to. Returns the place in the end.
  std::string follow(std::string path) {
    for (unsigned hops = 0; hops < MAX_LINKS_ON_WAY; ++hops) {
      auto link = links.end();
      size_t end = 0;
      while (link == links.end() && end != std::string::npos) {
        end = path.find('/', end + 1);
        link = links.find(path.substr(0, end));
      }
      referenced.insert(path);
      if (link == links.end()) break;
      referenced.insert(link->first);
      path = plainPath(link->second + (end == std::string::npos ? "" : path.substr(end)));
    }
    return path;
  }

  bool layout = false, index = false, blobs = false, docker = false, legacy = false;
  std::string manifest;                      // the document
  std::map<std::string, std::string> links;  // symbolic and hard ones, and what they lead to
  std::set<std::string> referenced;          // what the documents name, and links to it
  std::string blobFolder;                    // of a layout: all in it is needed
};

// The entries are flat files that only this process reads: no owners, modes or times.
void extract(const std::string& path, Contents& contents, uint64_t maxBytes) {
  auto archive = openArchive(path);
  Archive disk(archive_write_disk_new());
  archive_write_disk_set_options(disk.get(), ARCHIVE_EXTRACT_SECURE_NODOTDOT |
                                                 ARCHIVE_EXTRACT_SECURE_SYMLINKS |
                                                 ARCHIVE_EXTRACT_SECURE_NOABSOLUTEPATHS);
  struct archive_entry* entry;
  uint64_t bytes = 0;
  for (;;) {
    int result = archive_read_next_header(archive.get(), &entry);
    if (result == ARCHIVE_EOF) break;
    if (result < ARCHIVE_WARN) fail(kj::str("it is damaged: ", reasonOf(archive.get())));
    auto type = archive_entry_filetype(entry);
    if (type != AE_IFREG && type != AE_IFLNK && archive_entry_hardlink(entry) == nullptr) continue;
    auto name = nameOf(entry);
    if (!contents.needed(name)) continue;
    uint64_t size = archive_entry_size_is_set(entry) ? archive_entry_size(entry) : 0;
    if (size > maxBytes - bytes) {
      fail(kj::str("its images have more than ", maxBytes, " bytes, the setting maxLayerBytes"));
    }
    bytes += size;
    archive_entry_set_perm(entry, 0600);
    archive_entry_set_pathname(entry, name.c_str());
    if (const char* target = archive_entry_hardlink(entry)) {
      archive_entry_set_hardlink(entry, plainPath(target).c_str());
    }
    if (archive_read_extract2(archive.get(), entry, disk.get()) < ARCHIVE_WARN) {
      // Of the two sides it is the disk's that says why, if it has something to say.
      auto* at = archive_errno(disk.get()) != 0 ? disk.get() : archive.get();
      fail(kj::str("its entry '", name.c_str(), "' cannot be read: ", reasonOf(at)));
    }
  }
  if (archive_write_close(disk.get()) < ARCHIVE_WARN) fail(reasonOf(disk.get()));
}

}  // namespace

Source::Kind layOut(const std::string& path, const std::string& folder, uint64_t maxBytes) {
  Contents contents(path);
  auto kind = contents.kind();
  if (kind == Source::Kind::ROOT_TAR) return kind;
  KJ_SYSCALL(mkdir(folder.c_str(), 0700), folder.c_str());
  KJ_SYSCALL(chdir(folder.c_str()), folder.c_str());
  extract(path, contents, maxBytes);
  KJ_SYSCALL(chdir("/"));
  return kind;
}

}  // namespace orch::image::oci
