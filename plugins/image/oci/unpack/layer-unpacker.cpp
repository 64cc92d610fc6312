#include "unpack/layer-unpacker.h"

#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <set>
#include <string_view>
#include <vector>

#include "orch/durable-file.h"
#include "orch/fail.h"
#include "unpack/archive.h"
#include "unpack/digest.h"
#include "unpack/implied-folders.h"
#include "unpack/layer-path.h"

namespace orch::image::oci {

namespace {

// The largest images have some 300,000 files.
constexpr uint64_t MAX_ENTRIES = 2'000'000;
constexpr uint64_t ENTRY_BYTES = 4096;  // of an inode and a name, or of a small folder
constexpr std::string_view WHITEOUT = ".wh.";
constexpr std::string_view OPAQUE = ".wh..wh..opq";
constexpr std::string_view WHITEOUT_META = ".wh..wh.";  // aufs keeps its books under such names

// What a layer may cost the node.
class Budget final {
 public:
  explicit Budget(uint64_t maxBytes) : maxBytes(maxBytes) {}
  void checkBytes(uint64_t bytes) const {
    if (bytes <= maxBytes) return;
    fail(kj::str("it needs more than ", maxBytes, " bytes, the setting maxLayerBytes"));
  }
  // An entry, before its content.
  void chargeEntry() {
    if (++entries > MAX_ENTRIES) fail(kj::str("it has more than ", MAX_ENTRIES, " entries"));
    checkBytes(content + entries * ENTRY_BYTES);
  }
  void chargeContent(uint64_t bytes) {
    content += bytes;
    checkBytes(content + entries * ENTRY_BYTES);
  }
  uint64_t contentBytes() const { return content; }

 private:
  const uint64_t maxBytes;
  uint64_t entries = 0;
  uint64_t content = 0;
};

// The compressed bytes of a layer, decompressed and hashed on their way to the tar reader.
class TarStream final {
 public:
  TarStream(int fd, const Budget& budget, const std::function<void(uint64_t)>& onBytes)
      : fd(fd), budget(budget), onBytes(onBytes), in(BLOCK), out(BLOCK), raw(archive_read_new()) {
    archive_read_support_filter_gzip(raw.get());
    archive_read_support_filter_zstd(raw.get());
    archive_read_support_filter_xz(raw.get());
    archive_read_support_format_raw(raw.get());
    archive_read_support_format_empty(raw.get());
    int opened = archive_read_open(raw.get(), this, nullptr, &readFile, nullptr);
    if (opened == ARCHIVE_OK) {
      struct archive_entry* entry;
      opened = archive_read_next_header(raw.get(), &entry);
    }
    if (opened == ARCHIVE_EOF) {
      atEnd = true;
    } else if (opened < ARCHIVE_WARN) {
      fail(kj::str("it cannot be decompressed: ", reasonOf(raw.get())));
    }
  }

  // The next piece; empty at the end. Fails if it cannot be decompressed, or is more than there may
  // be.
  std::string_view next() {
    if (atEnd) return {};
    ssize_t n = archive_read_data(raw.get(), out.data(), out.size());
    if (n < 0) fail(kj::str("it cannot be decompressed: ", reasonOf(raw.get())));
    if (n == 0) {
      atEnd = true;
      return {};
    }
    bytes += n;
    budget.checkBytes(bytes);
    hash.add(out.data(), n);
    return {out.data(), static_cast<size_t>(n)};
  }
  std::string digest() { return hash.digest(); }
  uint64_t size() const { return bytes; }

 private:
  static la_ssize_t readFile(struct archive* archive, void* self, const void** buffer) {
    auto& stream = *static_cast<TarStream*>(self);
    ssize_t n = read(stream.fd, stream.in.data(), stream.in.size());
    if (n < 0) {
      archive_set_error(archive, errno, "%s", strerror(errno));
      return -1;
    }
    stream.consumed += n;
    if (stream.onBytes) stream.onBytes(stream.consumed);
    *buffer = stream.in.data();
    return n;
  }

  int fd;
  const Budget& budget;
  const std::function<void(uint64_t)>& onBytes;
  std::vector<char> in;
  std::vector<char> out;
  Archive raw;
  Sha256 hash;
  uint64_t bytes = 0;
  uint64_t consumed = 0;
  bool atEnd = false;
};

// Goes back to where the process was.
class WorkingFolder final {
 public:
  explicit WorkingFolder(const std::string& folder) {
    int fd;
    KJ_SYSCALL(fd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC));
    before = kj::AutoCloseFd(fd);
    KJ_SYSCALL(chdir(folder.c_str()), folder.c_str());
  }
  ~WorkingFolder() {
    if (fchdir(before.get()) < 0) KJ_LOG(ERROR, "cannot go back to the folder before");
  }

 private:
  kj::AutoCloseFd before;
};

class Unpacking final {
 public:
  Unpacking(TarStream& stream, Budget& budget)
      : stream(stream), budget(budget), tar(archive_read_new()), disk(archive_write_disk_new()) {
    archive_read_support_format_tar(tar.get());
    archive_read_support_format_empty(tar.get());
    archive_write_disk_set_options(disk.get(), ARCHIVE_EXTRACT_OWNER | ARCHIVE_EXTRACT_PERM |
                                                   ARCHIVE_EXTRACT_TIME | ARCHIVE_EXTRACT_XATTR |
                                                   ARCHIVE_EXTRACT_SECURE_NODOTDOT |
                                                   ARCHIVE_EXTRACT_SECURE_SYMLINKS);
  }

  void run() {
    if (archive_read_open(tar.get(), this, nullptr, &readTar, nullptr) < ARCHIVE_WARN) failTar();
    struct archive_entry* entry;
    for (;;) {
      int result = archive_read_next_header(tar.get(), &entry);
      if (result == ARCHIVE_EOF) break;
      if (result < ARCHIVE_WARN) failTar();
      unpack(entry);
    }
    // Owners, modes and times of folders are set now: what is written into them comes before.
    if (archive_write_close(disk.get()) < ARCHIVE_WARN) {
      fail(kj::str("it cannot be unpacked: ", reasonOf(disk.get())));
    }
    markOpaque();
    markImplied(implied);
  }

 private:
  static la_ssize_t readTar(struct archive* archive, void* self, const void** buffer) {
    auto& unpacking = *static_cast<Unpacking*>(self);
    try {
      auto piece = unpacking.stream.next();
      *buffer = piece.data();
      return piece.size();
    } catch (const kj::Exception& exception) {
      // It must not pass through libarchive's frames.
      unpacking.streamError = kj::str(exception.getDescription());
      archive_set_error(archive, EIO, "damaged");
      return -1;
    }
  }

  [[noreturn]] void failTar() {
    KJ_IF_MAYBE (error, streamError) fail(kj::str(*error));
    fail(kj::str("it is no proper tar archive: ", reasonOf(tar.get())));
  }

  void unpack(struct archive_entry* entry) {
    budget.chargeEntry();
    const char* given = archive_entry_pathname(entry);
    if (given == nullptr) fail(kj::str("it has an entry whose name cannot be read"));
    std::string path = followParents(cleanPath(given, "entry"));
    auto slash = path.rfind('/');
    auto folder = slash == std::string::npos ? std::string() : path.substr(0, slash);
    std::string_view name = std::string_view(path).substr(folder.empty() ? 0 : slash + 1);
    if (name == OPAQUE) {
      makeParents(path);
      opaque.insert(folder);
      return;
    }
    if (name.starts_with(WHITEOUT_META)) return;
    if (name.starts_with(WHITEOUT)) {
      whiteOut(entry, folder, name.substr(WHITEOUT.size()));
      return;
    }
    if (path.empty()) {
      if (archive_entry_filetype(entry) != AE_IFDIR || archive_entry_hardlink(entry) != nullptr) {
        fail(kj::str("its root is no folder"));
      }
      path = ".";
    }
    archive_entry_set_pathname(entry, path.c_str());
    const char* target = archive_entry_hardlink(entry);
    if (target != nullptr) {
      auto clean = followParents(cleanPath(target, "hard link to"));
      if (clean.empty()) fail(kj::str("its entry '", path.c_str(), "' is a link to nothing"));
      archive_entry_set_hardlink(entry, clean.c_str());
    }
    if (target != nullptr || archive_entry_filetype(entry) != AE_IFDIR) makeRoom(path);
    dropForeignAttributes(entry);
    write(entry, path);
  }

  // Something comes into a folder that the layer has deleted before: it is a new one.
  void reopenFolders(const std::string& path) {
    if (whiteouts.empty()) return;
    for (size_t end = path.find('/'); end != std::string::npos; end = path.find('/', end + 1)) {
      auto folder = path.substr(0, end);
      struct stat info;
      if (whiteouts.count(folder) == 0 || lstat(folder.c_str(), &info) < 0) continue;
      if (S_ISCHR(info.st_mode)) unlink(folder.c_str());
    }
  }

  // What the layer does not name, and where it names something later: that counts.
  void makeParents(const std::string& path) {
    for (size_t end = path.find('/'); end != std::string::npos; end = path.find('/', end + 1)) {
      auto folder = path.substr(0, end);
      if (mkdir(folder.c_str(), 0755) < 0) continue;
      // One that the layer has deleted before is a new one.
      if (whiteouts.count(folder) == 0) implied.insert(folder);
    }
  }

  // What is no folder replaces a folder that the layer had before, with all in it.
  static void makeRoom(const std::string& path) {
    struct stat info;
    if (lstat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) removeTree(path);
  }

  void whiteOut(struct archive_entry* entry, const std::string& folder, std::string_view target) {
    if (target.empty() || target == "." || target == "..") {
      fail(kj::str("its entry '", archive_entry_pathname(entry), "' deletes no name"));
    }
    std::string path = (folder.empty() ? "" : folder + "/") + std::string(target);
    reopenFolders(path);
    whiteouts.insert(path);
    // A whiteout speaks of the layers below: what this layer itself puts there stays.
    struct stat info;
    if (lstat(path.c_str(), &info) == 0) return;
    archive_entry_clear(entry);
    archive_entry_set_pathname(entry, path.c_str());
    archive_entry_set_filetype(entry, AE_IFCHR);
    archive_entry_set_rdev(entry, 0);
    archive_entry_set_perm(entry, 0);
    archive_entry_set_size(entry, 0);
    write(entry, path);
  }

  // A stranger's layer may not speak to overlayfs, which trusts these.
  static void dropForeignAttributes(struct archive_entry* entry) {
    archive_entry_acl_clear(entry);
    std::vector<std::pair<std::string, std::string>> kept;
    const char* name;
    const void* value;
    size_t size;
    archive_entry_xattr_reset(entry);
    while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK) {
      std::string_view text = name;
      if (text.starts_with("trusted.") || text.starts_with("user.overlay.")) continue;
      kept.emplace_back(name, std::string(static_cast<const char*>(value), size));
    }
    archive_entry_xattr_clear(entry);
    for (auto& [key, content] : kept) {
      archive_entry_xattr_add_entry(entry, key.c_str(), content.data(), content.size());
    }
  }

  void write(struct archive_entry* entry, const std::string& path) {
    reopenFolders(path);
    makeParents(path);
    implied.erase(path);
    check(archive_write_header(disk.get(), entry), path);
    // A hard link may bring its content along (pax); the file that it names was just emptied for
    // it.
    bool file =
        archive_entry_hardlink(entry) != nullptr || archive_entry_filetype(entry) == AE_IFREG;
    if (file && archive_entry_size(entry) > 0) copyContent(path);
    check(archive_write_finish_entry(disk.get()), path);
  }

  void copyContent(const std::string& path) {
    const void* block;
    size_t size;
    la_int64_t offset;
    for (;;) {
      int result = archive_read_data_block(tar.get(), &block, &size, &offset);
      if (result == ARCHIVE_EOF) return;
      if (result < ARCHIVE_WARN) failTar();
      budget.chargeContent(size);
      check(archive_write_data_block(disk.get(), block, size, offset), path);
    }
  }

  void check(int result, const std::string& path) {
    if (result >= ARCHIVE_OK) return;
    // A file system without an attribute of the user's is no reason to refuse an image.
    int error = archive_errno(disk.get());
    if (result == ARCHIVE_WARN && (error == ENOTSUP || error == EOPNOTSUPP)) return;
    fail(kj::str("its entry '", path.substr(0, 300).c_str(),
                 "' cannot be unpacked: ", reasonOf(disk.get())));
  }

  void markOpaque() {
    for (auto& path : whiteouts) {
      struct stat info;
      if (lstat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) opaque.insert(path);
    }
    for (auto& path : opaque) {
      const char* folder = path.empty() ? "." : path.c_str();
      int fd = openFolder(path);
      // Something else is there in the end, a file or a whiteout, which hides as much.
      if (fd < 0 && (errno == ENOTDIR || errno == ELOOP)) continue;
      if (fd < 0) {
        fail(kj::str("its opaque folder '", folder, "' cannot be made: ", strerror(errno)));
      }
      kj::AutoCloseFd owned(fd);
      if (fsetxattr(fd, "trusted.overlay.opaque", "y", 1, 0) < 0) {
        fail(kj::str("its folder '", folder, "' cannot be made opaque: ", strerror(errno)));
      }
    }
  }

  // Opens a folder part by part, so that no symbolic link is followed. Also makes it, since a
  // marker may be all that a layer says of it. Negative, and errno, if it cannot.
  static int openFolder(const std::string& path) {
    int fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (size_t begin = 0; fd >= 0 && begin < path.size();) {
      size_t end = std::min(path.find('/', begin), path.size());
      auto part = path.substr(begin, end - begin);
      int parent = fd;
      mkdirat(parent, part.c_str(), 0755);
      fd = openat(parent, part.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
      int error = errno;
      close(parent);
      errno = error;
      begin = end + 1;
    }
    return fd;
  }

  TarStream& stream;
  Budget& budget;
  Archive tar;
  Archive disk;
  kj::Maybe<kj::String> streamError;
  std::set<std::string> opaque;     // folders
  std::set<std::string> whiteouts;  // what the layer deletes
  std::set<std::string> implied;    // folders that it does not name
};

}  // namespace

LayerStats unpackLayer(int fd, const std::string& folder, uint64_t maxBytes,
                       const std::function<void(uint64_t)>& onBytes) {
  WorkingFolder here(folder);
  Budget budget(maxBytes);
  TarStream stream(fd, budget, onBytes);
  LayerStats stats;
  Unpacking(stream, budget).run();
  stats.unpackedBytes = budget.contentBytes();
  // What stands behind the archive's end counts for the digest.
  while (!stream.next().empty()) {
  }
  stats.tarBytes = stream.size();
  stats.diffId = stream.digest();
  return stats;
}

}  // namespace orch::image::oci
