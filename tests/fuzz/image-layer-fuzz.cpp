// A layer is unpacked into its folder or refused; whatever it says, nothing beside the folder
// changes. An odd first byte: the rest is a layer's bytes. An even one: the rest describes entries,
// of which a proper tar is made, so that names and links are tried and not only checksums. Needs
// root.
#include <archive.h>
#include <archive_entry.h>
#include <fuzzer/FuzzedDataProvider.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "unpack/layer-unpacker.h"

namespace fs = std::filesystem;

namespace {

constexpr uint64_t MAX_LAYER_BYTES = 1 << 20;

la_ssize_t append(struct archive*, void* to, const void* data, size_t size) {
  static_cast<std::string*>(to)->append(static_cast<const char*>(data), size);
  return size;
}

// Names of a few parts each, so that entries meet.
std::string nameFrom(FuzzedDataProvider& input) {
  static constexpr const char* PARTS[] = {"a",    "b",     "..", ".", "", ".wh.a", ".wh..wh..opq",
                                          ".wh.", "beside"};
  std::string name = input.ConsumeBool() ? "" : "/";
  for (int parts = input.ConsumeIntegralInRange(1, 4); parts > 0; --parts) {
    name += input.PickValueInArray(PARTS);
    if (parts > 1) name += "/";
  }
  return name;
}

std::string tarFrom(FuzzedDataProvider& input) {
  static constexpr unsigned TYPES[] = {AE_IFREG, AE_IFDIR, AE_IFLNK, AE_IFCHR, AE_IFIFO};
  std::string bytes;
  auto* tar = archive_write_new();
  archive_write_set_format_pax(tar);
  archive_write_open(tar, &bytes, nullptr, &append, nullptr);
  for (int entries = 0; entries < 16 && input.remaining_bytes() > 0; ++entries) {
    auto* entry = archive_entry_new();
    archive_entry_set_pathname(entry, nameFrom(input).c_str());
    archive_entry_set_filetype(entry, input.PickValueInArray(TYPES));
    archive_entry_set_perm(entry, input.ConsumeIntegral<uint16_t>() & 07777);
    if (archive_entry_filetype(entry) == AE_IFLNK) {
      archive_entry_set_symlink(entry, nameFrom(input).c_str());
    } else if (input.ConsumeBool()) {
      archive_entry_set_hardlink(entry, nameFrom(input).c_str());
    }
    archive_write_header(tar, entry);
    archive_entry_free(entry);
  }
  archive_write_close(tar);
  archive_write_free(tar);
  return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider input(data, size);
  bool raw = input.ConsumeIntegral<uint8_t>() % 2 == 1;
  std::string bytes = raw ? input.ConsumeRemainingBytesAsString() : tarFrom(input);

  auto home = "/tmp/orch-fuzz-layer-" + std::to_string(getpid());
  fs::remove_all(home);
  fs::create_directories(home + "/layer");
  fs::create_directories(home + "/beside");
  KJ_DEFER(fs::remove_all(home));
  int memory;
  KJ_SYSCALL(memory = memfd_create("layer", MFD_CLOEXEC));
  kj::AutoCloseFd file(memory);
  KJ_ASSERT(write(memory, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
  KJ_SYSCALL(lseek(memory, 0, SEEK_SET));

  kj::runCatchingExceptions(
      [&]() { orch::image::oci::unpackLayer(memory, home + "/layer", MAX_LAYER_BYTES, nullptr); });
  int entries = 0;
  for (auto& entry : fs::directory_iterator(home)) {
    ++entries;
    KJ_ASSERT(entry.is_directory() && !entry.is_symlink());
  }
  struct stat beside;
  KJ_SYSCALL(stat((home + "/beside").c_str(), &beside));
  KJ_ASSERT(entries == 2 && fs::is_empty(home + "/beside"), "something outside has changed");
  KJ_ASSERT((beside.st_mode & 07777) == 0755, "a mode outside has changed");
  return 0;
}
