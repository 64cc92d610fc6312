#include "kernel/plugin/elf-reader.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <kj/string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <climits>
#include <cstring>

#include "orch/fail.h"

namespace orch::plugin {

namespace {

constexpr uint64_t MAX_SECTION_BYTES = 4 << 20;
#if defined(__x86_64__)
constexpr uint16_t MACHINE = EM_X86_64;
#elif defined(__aarch64__)
constexpr uint16_t MACHINE = EM_AARCH64;
#endif

FileIdentity identityOf(const struct stat& info) {
  return {info.st_dev, info.st_ino, static_cast<uint64_t>(info.st_size),
          info.st_mtim.tv_sec * 1'000'000'000 + info.st_mtim.tv_nsec};
}

bool isTrusted(uid_t owner) { return owner == 0 || owner == geteuid(); }

// Why somebody else decides what file is at `path`, since a folder or a link on the way is his.
// Nothing if nobody does, or if there is no such file.
kj::Maybe<kj::String> whoElseDecides(const std::string& path, int linksLeft) {
  for (size_t at = 0; at != std::string::npos;) {
    at = path.find('/', at + 1);
    auto here = at == std::string::npos ? path : path.substr(0, at);
    struct stat info;
    if (lstat(here.c_str(), &info) < 0 || S_ISREG(info.st_mode)) return nullptr;
    if (!isTrusted(info.st_uid)) {
      return kj::str("is behind '", here.c_str(), "', which belongs to user ", info.st_uid,
                     "; it must belong to root or to the user that runs orchd");
    }
    if (S_ISLNK(info.st_mode) && linksLeft > 0) {
      char target[PATH_MAX] = {};
      if (readlink(here.c_str(), target, sizeof(target) - 1) < 0) return nullptr;
      auto folder = target[0] == '/' ? "" : here.substr(0, here.rfind('/') + 1);
      return whoElseDecides(folder + target + path.substr(here.size()), linksLeft - 1);
    }
    // In a sticky folder nobody takes away what is not his.
    bool lax = (info.st_mode & (S_IWGRP | S_IWOTH)) != 0 && (info.st_mode & S_ISVTX) == 0;
    if (S_ISDIR(info.st_mode) && lax) {
      return kj::str("is in or below the folder '", here.c_str(),
                     "', which others than its owner may write to; run: chmod go-w ", here.c_str());
    }
  }
  return nullptr;
}

// An open file, read at checked places.
class ElfFile {
 public:
  explicit ElfFile(const std::string& path) : path(path) {
    constexpr int MAX_LINKS = 40;  // as the kernel's
    KJ_IF_MAYBE (why, whoElseDecides("/", MAX_LINKS)) refuse(kj::mv(*why));
    KJ_IF_MAYBE (why, whoElseDecides(path, MAX_LINKS)) refuse(kj::mv(*why));
    int opened = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (opened < 0) refuse(kj::str("cannot be opened: ", strerror(errno)));
    fd = kj::AutoCloseFd(opened);
    struct stat info;
    if (fstat(fd, &info) < 0 || !S_ISREG(info.st_mode)) refuse(kj::str("is not a regular file"));
    if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
      refuse(kj::str("may be written by others than its owner; run: chmod go-w ", path.c_str()));
    }
    if (!isTrusted(info.st_uid)) {
      refuse(kj::str("belongs to user ", info.st_uid,
                     "; it must belong to root or to the user that runs orchd"));
    }
    size = info.st_size;
    identity = identityOf(info);
  }

  [[noreturn]] void refuse(kj::String why) const {
    fail(kj::str("plugin file '", path.c_str(), "' ", why));
  }

  [[noreturn]] void refuseShort(kj::String what) const {
    kj::throwFatalException(
        kj::Exception(kj::Exception::Type::OVERLOADED, __FILE__, __LINE__,
                      kj::str("plugin file '", path.c_str(), "' is truncated (", what,
                              "); install it again, by writing beside it and renaming")));
    KJ_UNREACHABLE;
  }

  template <typename T>
  T at(uint64_t offset, const char* what) const {
    T value;
    read(offset, &value, sizeof(T), what);
    return value;
  }
  void read(uint64_t offset, void* into, uint64_t bytes, const char* what) const {
    if (offset > size || bytes > size - offset ||
        pread(fd, into, bytes, offset) != static_cast<ssize_t>(bytes)) {
      refuseShort(kj::str(what));
    }
  }
  uint64_t bytes() const { return size; }
  FileIdentity identity;

 private:
  std::string path;
  kj::AutoCloseFd fd;
  uint64_t size = 0;
};

Elf64_Ehdr readHeader(const ElfFile& file) {
  if (file.bytes() == 0) file.refuseShort(kj::str("it is empty"));
  unsigned char magic[SELFMAG] = {};
  file.read(0, magic, kj::min(file.bytes(), sizeof(magic)), "header");
  if (memcmp(magic, ELFMAG, kj::min(file.bytes(), sizeof(magic))) != 0) {
    file.refuse(kj::str("is not an ELF file"));
  }
  auto header = file.at<Elf64_Ehdr>(0, "header");
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != MACHINE) {
    file.refuse(kj::str("is built for another architecture"));
  }
  if (header.e_type != ET_DYN) file.refuse(kj::str("is not a shared library"));
  if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_shentsize != sizeof(Elf64_Shdr)) {
    file.refuse(kj::str("has damaged ELF headers"));
  }
  for (int i = 0; i < header.e_phnum; ++i) {
    auto segment = file.at<Elf64_Phdr>(header.e_phoff + i * sizeof(Elf64_Phdr), "program headers");
    if (segment.p_type != PT_LOAD) continue;
    if (segment.p_offset > file.bytes() || segment.p_filesz > file.bytes() - segment.p_offset) {
      file.refuseShort(kj::str("a segment ends beyond the file"));
    }
  }
  return header;
}

kj::Array<kj::byte> content(const ElfFile& file, const Elf64_Shdr& section, const char* what) {
  if (section.sh_size > MAX_SECTION_BYTES)
    file.refuse(kj::str("has a section ", what, " that is too large"));
  auto bytes = kj::heapArray<kj::byte>(section.sh_size);
  file.read(section.sh_offset, bytes.begin(), bytes.size(), what);
  return bytes;
}

bool terminated(const char* text, size_t size) { return memchr(text, 0, size) != nullptr; }

PluginDescriptor checked(const ElfFile& file, kj::ArrayPtr<const kj::byte> bytes) {
  PluginDescriptor d;
  if (bytes.size() < sizeof(d)) file.refuse(kj::str("has a descriptor that is too short"));
  memcpy(&d, bytes.begin(), sizeof(d));
  if (memcmp(d.magic, DESCRIPTOR_MAGIC, sizeof(d.magic)) != 0) {
    file.refuse(kj::str("has a section .orch.plugin that is not a plugin descriptor"));
  }
  if (d.version != DESCRIPTOR_VERSION || d.size < sizeof(d)) {
    file.refuse(kj::str("has descriptor version ", d.version, "; this orchd reads version ",
                        DESCRIPTOR_VERSION));
  }
  bool whole = terminated(d.abiId, sizeof(d.abiId)) &&
               terminated(d.sdkVersion, sizeof(d.sdkVersion)) &&
               terminated(d.kind, sizeof(d.kind)) && terminated(d.name, sizeof(d.name)) &&
               terminated(d.pluginVersion, sizeof(d.pluginVersion));
  for (auto& text : d.requires_) whole = whole && terminated(text, sizeof(text));
  for (auto& text : d.calls) whole = whole && terminated(text, sizeof(text));
  if (!whole || d.kind[0] == 0 || d.name[0] == 0) file.refuse(kj::str("has a damaged descriptor"));
  return d;
}

std::vector<std::string> named(const char (&texts)[MAX_REQUIRES][64]) {
  std::vector<std::string> all;
  for (auto& text : texts) {
    if (text[0] != 0) all.emplace_back(text);
  }
  return all;
}

}  // namespace

std::vector<std::string> PluginFile::requirements() const { return named(descriptor.requires_); }
std::vector<std::string> PluginFile::calls() const { return named(descriptor.calls); }

PluginFile readPluginFile(const std::string& path) {
  ElfFile file(path);
  auto header = readHeader(file);
  if (header.e_shoff == 0 || header.e_shstrndx >= header.e_shnum) {
    file.refuse(kj::str("has no section headers; build it without stripping them"));
  }
  auto section = [&](int i) {
    return file.at<Elf64_Shdr>(header.e_shoff + i * sizeof(Elf64_Shdr), "section headers");
  };
  auto names = content(file, section(header.e_shstrndx), "section names");
  PluginFile found;
  found.path = path;
  found.identity = file.identity;
  bool described = false;
  for (int i = 0; i < header.e_shnum; ++i) {
    auto entry = section(i);
    if (entry.sh_name >= names.size() ||
        memchr(names.begin() + entry.sh_name, 0, names.size() - entry.sh_name) == nullptr) {
      file.refuse(kj::str("has damaged section names"));
    }
    kj::StringPtr name = reinterpret_cast<const char*>(names.begin() + entry.sh_name);
    if (name == ".orch.plugin") {
      found.descriptor = checked(file, content(file, entry, ".orch.plugin"));
      described = true;
    } else if (name == ".orch.schema") {
      found.schema = content(file, entry, ".orch.schema");
    }
  }
  if (!described) file.refuse(kj::str("is not an orch plugin: it has no section .orch.plugin"));
  if (found.schema == nullptr) file.refuse(kj::str("has no section .orch.schema"));
  return found;
}

void requireSameFile(const PluginFile& file) {
  struct stat info;
  if (stat(file.path.c_str(), &info) == 0 && identityOf(info) == file.identity) return;
  kj::throwFatalException(kj::Exception(
      kj::Exception::Type::OVERLOADED, __FILE__, __LINE__,
      kj::str("plugin file '", file.path.c_str(), "' was replaced while it was being opened")));
}

}  // namespace orch::plugin
