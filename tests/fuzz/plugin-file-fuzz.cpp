// A file that is no plugin is refused without running anything in it.
#include <kj/debug.h>
#include <kj/io.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kernel/plugin/elf-reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  int fd;
  KJ_SYSCALL(fd = memfd_create("plugin", MFD_CLOEXEC));
  kj::AutoCloseFd file(fd);
  kj::FdOutputStream(fd).write(data, size);
  auto path = kj::str("/proc/self/fd/", fd);
  auto refusal = kj::runCatchingExceptions([&]() { orch::plugin::readPluginFile(path.cStr()); });
  (void)refusal;
  return 0;
}
