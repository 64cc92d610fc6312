#include "unpack/confinement.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <linux/capability.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <memory>

#include "orch/fail.h"

namespace orch::image::oci {

namespace {

// Owners, modes, devices and file capabilities of a layer's entries; trusted.* attributes.
constexpr int KEPT[] = {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER,   CAP_FSETID,
                        CAP_MKNOD, CAP_SETFCAP,      CAP_SYS_ADMIN};

// What could undo the walls or reach past them. CAP_SYS_ADMIN, which trusted.* attributes take, is
// good for little else without these.
constexpr int FORBIDDEN[] = {
    SCMP_SYS(socket),
    SCMP_SYS(socketpair),
    SCMP_SYS(connect),
    SCMP_SYS(bind),
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(pivot_root),
    SCMP_SYS(chroot),
    SCMP_SYS(move_mount),
    SCMP_SYS(open_tree),
    SCMP_SYS(fsopen),
    SCMP_SYS(fsmount),
    SCMP_SYS(fspick),
    SCMP_SYS(fsconfig),
    SCMP_SYS(mount_setattr),
    SCMP_SYS(setns),
    SCMP_SYS(unshare),
    SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(ptrace),
    SCMP_SYS(kcmp),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(pidfd_getfd),
    SCMP_SYS(keyctl),
    SCMP_SYS(add_key),
    SCMP_SYS(request_key),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(delete_module),
    SCMP_SYS(kexec_load),
    SCMP_SYS(kexec_file_load),
    SCMP_SYS(reboot),
    SCMP_SYS(swapon),
    SCMP_SYS(swapoff),
    SCMP_SYS(sethostname),
    SCMP_SYS(setdomainname),
    SCMP_SYS(syslog),
    SCMP_SYS(quotactl),
    SCMP_SYS(open_by_handle_at),
    SCMP_SYS(fanotify_init),
    SCMP_SYS(lookup_dcookie),
    SCMP_SYS(acct),
    SCMP_SYS(iopl),
    SCMP_SYS(ioperm),
};

[[noreturn]] void refuse(const char* what, int error) {
  fail(kj::str("images are not unpacked here, since the program that does it cannot be confined: ",
               what, ": ", strerror(error)));
}
void require(long result, const char* what) {
  if (result < 0) refuse(what, errno);
}

kj::AutoCloseFd openPlace(const std::string& path) {
  int fd = open(path.c_str(), O_PATH | O_CLOEXEC);
  if (fd < 0) fail(kj::str(strerror(errno)));
  return kj::AutoCloseFd(fd);
}

constexpr unsigned long WITHOUT = MS_NOSUID | MS_NODEV | MS_NOEXEC;

// Makes `below` + `path` as the place of a mount: a folder, or an empty file.
std::string makePlace(const std::string& below, const std::string& path, bool folder) {
  for (size_t at = path.find('/', 1); at != std::string::npos; at = path.find('/', at + 1)) {
    mkdir((below + path.substr(0, at)).c_str(), 0755);  // one that is missing shows below
  }
  auto place = below + path;
  if (folder) {
    if (mkdir(place.c_str(), 0755) < 0 && errno != EEXIST) refuse(place.c_str(), errno);
  } else {
    int fd = open(place.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    require(fd, place.c_str());
    close(fd);
  }
  return place;
}

void bind(const kj::AutoCloseFd& what, const std::string& place, unsigned long flags) {
  auto from = kj::str("/proc/self/fd/", what.get());
  require(mount(from.cStr(), place.c_str(), nullptr, MS_BIND, nullptr), place.c_str());
  require(mount(nullptr, place.c_str(), nullptr, MS_REMOUNT | MS_BIND | WITHOUT | flags, nullptr),
          place.c_str());
}

// The only files left are those of the store, which the job is within, and of the source.
void leaveHostsFiles(const std::string& root, const std::string& job, const std::string& source) {
  auto store = openPlace(root), archive = openPlace(source);
  struct stat info;
  require(fstat(archive, &info), source.c_str());
  // Any folder will do to mount upon: the store is bound by its descriptor, without this.
  require(mount("tmpfs", job.c_str(), "tmpfs", WITHOUT, "mode=0755"), "mount");
  // The source first: the store may be within it.
  bool within = source.compare(0, root.size() + 1, root + "/") == 0;
  if (!within) bind(archive, makePlace(job, source, S_ISDIR(info.st_mode)), MS_RDONLY);
  bind(store, makePlace(job, root, true), 0);
  auto readOnly = MS_REMOUNT | MS_BIND | WITHOUT | MS_RDONLY;
  require(mount(nullptr, job.c_str(), nullptr, readOnly, nullptr), "mount");
  require(chdir(job.c_str()), job.c_str());
  require(syscall(SYS_pivot_root, ".", "."), "pivot_root");
  require(umount2(".", MNT_DETACH), "umount2");
  require(chdir("/"), "chdir");
}

void keepCapabilities() {
  uint64_t kept = 0;
  for (int number : KEPT) kept |= uint64_t{1} << number;
  for (int number = 0; prctl(PR_CAPBSET_READ, number) >= 0; ++number) {
    if (number < 64 && (kept >> number & 1) != 0) continue;
    require(prctl(PR_CAPBSET_DROP, number), "PR_CAPBSET_DROP");
  }
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2];
  require(syscall(SYS_capget, &header, data), "capget");
  for (int half = 0; half < 2; ++half) {
    auto word = data[half].permitted & static_cast<uint32_t>(kept >> 32 * half);
    data[half] = {word, word, 0};
  }
  require(syscall(SYS_capset, &header, data), "capset");
}

void forbid() {
  struct Release {
    void operator()(void* filter) const { seccomp_release(filter); }
  };
  std::unique_ptr<void, Release> filter(seccomp_init(SCMP_ACT_ALLOW));
  if (filter == nullptr) refuse("seccomp_init", ENOMEM);
  for (int call : FORBIDDEN) {
    // One that this machine does not have is forbidden by itself.
    int result = seccomp_rule_add(filter.get(), SCMP_ACT_ERRNO(EPERM), call, 0);
    if (result < 0 && result != -EDOM) refuse("seccomp_rule_add", -result);
  }
  int loaded = seccomp_load(filter.get());  // sets no_new_privs
  if (loaded < 0) refuse("seccomp_load", -loaded);
}

}  // namespace

void confine(const std::string& root, const std::string& job, const std::string& source) {
  require(unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC), "unshare");
  require(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "mount");
  leaveHostsFiles(root, job, source);
  keepCapabilities();
  forbid();
}

}  // namespace orch::image::oci
