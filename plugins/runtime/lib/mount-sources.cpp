#include "mount-sources.h"

#include <fcntl.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "orch/attempt.h"
#include "orch/fail.h"

#ifndef RESOLVE_CACHED
#define RESOLVE_CACHED 0x20  // since 5.12; an older kernel says EINVAL
#endif

namespace orch::runtime {

namespace {

[[noreturn]] void cannotUse(const std::string& source, kj::StringPtr reason) {
  fail(kj::str("bind source '", source.c_str(), "' ",
               reason == strerror(ENOENT) ? kj::str("does not exist")
                                          : kj::str("cannot be used: ", reason)));
}

// Of `stat: cannot statx '/x': No such file or directory`.
kj::String reasonOf(kj::StringPtr errors) {
  size_t end = errors.size();
  while (end > 0 && isspace(static_cast<unsigned char>(errors[end - 1]))) --end;
  size_t begin = errors.findLast(':').orDefault(0);
  while (begin < end && (errors[begin] == ':' || errors[begin] == ' ')) ++begin;
  return kj::heapString(errors.begin() + begin, end - begin);
}

int openWith(const std::string& path, uint64_t resolve) {
  struct open_how how;
  memset(&how, 0, sizeof(how));
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = resolve;
  return static_cast<int>(syscall(SYS_openat2, AT_FDCWD, path.c_str(), &how, sizeof(how)));
}

}  // namespace

kj::Maybe<unsigned> lookWithoutWaiting(const std::string& source) {
  // Not a step onto another file system than the root's: then nothing hangs, or everything does.
  int fd = openWith(source, RESOLVE_NO_XDEV);
  bool ofRoot = fd >= 0;
  if (fd < 0 && errno != EXDEV && errno != ENOSYS) cannotUse(source, strerror(errno));
  if (fd < 0) fd = openWith(source, RESOLVE_CACHED);
  if (fd < 0) return nullptr;
  kj::AutoCloseFd owned(fd);
  struct statx info;
  // Nobody is asked for the type, which never changes.
  KJ_SYSCALL(statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &info));
  // On a disk of this host. What is on none, as NFS and FUSE, may hang when the runtime looks.
  if (!ofRoot && info.stx_dev_major == 0) return nullptr;
  return info.stx_mode;
}

MountSources::MountSources(Env& env) : env(env), tasks(*this) {}

void MountSources::taskFailed(kj::Exception&&) {}  // told to those who wait

kj::Promise<unsigned> MountSources::look(const std::string& source) {
  auto found = looks.find(source);
  if (found != looks.end()) return found->second.answer.addBranch();
  if (looks.size() >= MAX_LOOKS) {
    fail(kj::str(MAX_LOOKS, " mount sources of this node do not answer, '",
                 looks.begin()->first.c_str(), "' among them: see to those first"));
  }
  auto answer = looks[source].answer.addBranch();
  tasks.add(run(source).promise());
  return answer;
}

Task<void> MountSources::run(std::string source) {
  ProcessSpec spec;
  for (auto argument : {"stat", "-L", "-c", "%f", "--", source.c_str()}) {
    spec.argv.add(kj::str(argument));
  }
  auto outcome = co_await attempt(env.command(kj::mv(spec)));
  auto look = kj::mv(looks.at(source));
  looks.erase(source);
  auto& tell = *look.pair.fulfiller;
  if (!outcome.ok()) {
    tell.reject(kj::mv(outcome.error()));
  } else if (auto& result = outcome.value(); result.status == 0) {
    tell.fulfill(strtoul(result.output.cStr(), nullptr, 16));
  } else {
    auto why = attemptNow([&] { cannotUse(source, reasonOf(result.errors)); });
    tell.reject(kj::mv(why.error()));
  }
}

}  // namespace orch::runtime
