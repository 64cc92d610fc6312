#include "unpack/source.h"

#include <archive_entry.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <memory>

#include "orch/fail.h"
#include "unpack/archive.h"
#include "unpack/lay-out.h"

namespace orch::image::oci {

namespace {

bool exists(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0;
}

}  // namespace

void refuseHalfLayout(bool layout, bool index, bool blobs) {
  if (!blobs || layout == index) return;
  fail(kj::str("it is an OCI layout without its file '", layout ? "index.json" : "oci-layout",
               layout ? "'" : "', which holds {\"imageLayoutVersion\":\"1.0.0\"}"));
}

Source openSource(const std::string& path, const std::string& workFolder, uint64_t maxBytes) {
  struct stat info;
  if (stat(path.c_str(), &info) < 0) fail(kj::str(strerror(errno)));
  if (S_ISDIR(info.st_mode)) {
    if (exists(path + "/oci-layout") && exists(path + "/index.json")) {
      return {Source::Kind::LAYOUT, path};
    }
    if (exists(path + "/manifest.json")) return {Source::Kind::DOCKER_ARCHIVE, path};
    refuseHalfLayout(exists(path + "/oci-layout"), exists(path + "/index.json"),
                     exists(path + "/blobs"));
    return {Source::Kind::ROOT_FOLDER, path};
  }
  if (!S_ISREG(info.st_mode))
    fail(kj::str("it is neither a file nor a folder; ", ACCEPTED_SOURCES));
  auto folder = workFolder + "/source";
  auto kind = layOut(path, folder, maxBytes);
  return {kind, kind == Source::Kind::ROOT_TAR ? path : folder};
}

kj::AutoCloseFd openWithin(const std::string& folder, const std::string& path,
                           const std::string& name) {
  int at;
  KJ_SYSCALL(at = open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC), folder.c_str());
  kj::AutoCloseFd root(at);
  struct open_how how = {};
  how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
  how.resolve = RESOLVE_BENEATH;
  int fd = syscall(SYS_openat2, root.get(), path.c_str(), &how, sizeof(how));
  if (fd < 0 && errno == ENOENT) fail(kj::str(name.c_str(), " is missing"));
  if (fd < 0 && errno == EXDEV) fail(kj::str(name.c_str(), " is a link that leads out of it"));
  if (fd < 0) fail(kj::str(name.c_str(), " cannot be read: ", strerror(errno)));
  kj::AutoCloseFd file(fd);
  struct stat info;
  KJ_SYSCALL(fstat(fd, &info));
  if (!S_ISREG(info.st_mode)) fail(kj::str(name.c_str(), " is no file"));
  return file;
}

std::string readWithin(const std::string& folder, const std::string& path, const std::string& name,
                       uint64_t limit) {
  auto file = openWithin(folder, path, name);
  struct stat info;
  KJ_SYSCALL(fstat(file, &info));
  if (static_cast<uint64_t>(info.st_size) > limit) {
    fail(kj::str(name.c_str(), " has more than ", limit, " bytes"));
  }
  std::string content(info.st_size, '\0');
  for (size_t done = 0; done < content.size();) {
    ssize_t n;
    KJ_SYSCALL(n = read(file, content.data() + done, content.size() - done));
    if (n == 0) fail(kj::str(name.c_str(), " is cut off"));
    done += n;
  }
  return content;
}

namespace {

class RootTar final {
 public:
  RootTar(const std::string& folder, const std::string& tarPath)
      : folder(folder),
        disk(archive_read_disk_new()),
        tar(archive_write_new()),
        links(archive_entry_linkresolver_new()) {
    archive_read_disk_set_symlink_physical(disk.get());
    archive_read_disk_set_behavior(disk.get(), ARCHIVE_READDISK_NO_TRAVERSE_MOUNTS |
                                                   ARCHIVE_READDISK_NO_ACL |
                                                   ARCHIVE_READDISK_NO_FFLAGS);
    check(disk.get(), archive_read_disk_open(disk.get(), folder.c_str()));
    archive_write_set_format_pax_restricted(tar.get());
    archive_entry_linkresolver_set_strategy(links, ARCHIVE_FORMAT_TAR_PAX_RESTRICTED);
    check(tar.get(), archive_write_open_filename(tar.get(), tarPath.c_str()));
  }
  ~RootTar() { archive_entry_linkresolver_free(links); }

  void write() {
    for (;;) {
      struct archive_entry* entry = archive_entry_new();
      KJ_DEFER(archive_entry_free(entry));
      int result = archive_read_next_header2(disk.get(), entry);
      if (result == ARCHIVE_EOF) break;
      check(disk.get(), result);
      std::string path = archive_entry_pathname(entry);
      archive_read_disk_descend(disk.get());
      if (archive_entry_filetype(entry) == AE_IFSOCK) continue;
      archive_entry_set_pathname(entry, ("." + path.substr(folder.size())).c_str());
      // With this strategy a later name of a file comes out at once, as a link without content.
      struct archive_entry* spare = nullptr;
      struct archive_entry* linked = entry;
      archive_entry_linkify(links, &linked, &spare);
      if (linked == nullptr) continue;
      check(tar.get(), archive_write_header(tar.get(), linked));
      if (archive_entry_filetype(linked) == AE_IFREG && archive_entry_size(linked) > 0 &&
          archive_entry_hardlink(linked) == nullptr) {
        copy(path);
      }
    }
    check(tar.get(), archive_write_close(tar.get()));
  }

 private:
  void copy(const std::string& path) {
    int fd;
    KJ_SYSCALL(fd = open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC), path.c_str());
    kj::AutoCloseFd file(fd);
    for (;;) {
      ssize_t n;
      KJ_SYSCALL(n = read(fd, buffer.get(), BLOCK), path.c_str());
      if (n == 0) return;
      // A file that grows meanwhile is cut at its size in the header; one that shrinks is filled.
      if (archive_write_data(tar.get(), buffer.get(), n) < 0) check(tar.get(), ARCHIVE_FATAL);
    }
  }
  void check(struct archive* archive, int result) {
    if (result < ARCHIVE_WARN) fail(reasonOf(archive));
  }

  const std::string& folder;
  Archive disk;
  Archive tar;
  struct archive_entry_linkresolver* links;
  std::unique_ptr<char[]> buffer{std::make_unique<char[]>(BLOCK)};
};

}  // namespace

void writeRootTar(const std::string& folder, const std::string& tarPath) {
  RootTar(folder, tarPath).write();
}

}  // namespace orch::image::oci
