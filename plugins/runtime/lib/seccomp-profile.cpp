#include "seccomp-profile.h"

#include <kj/debug.h>
#include <kj/encoding.h>
#include <kj/io.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <iterator>
#include <memory>
#include <sstream>

namespace orch::runtime {

namespace {

// The profile of docker 28 and later: github.com/moby/profiles, seccomp/default.json at 02e898b.
// Allowed to everybody:
constexpr const char* ALWAYS =
    "accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown "
    "chown32 clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime "
    "clock_gettime64 clock_nanosleep clock_nanosleep_time64 close close_range connect "
    "copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old "
    "epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat "
    "exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark "
    "fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync "
    "fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs "
    "fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait "
    "futex_waitv futex_wake futimesat get_robust_list get_thread_area getcpu getcwd getdents "
    "getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 "
    "getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid "
    "getresgid32 getresuid getresuid32 getrlimit getrusage getsid getsockname getsockopt "
    "gettid gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch inotify_init "
    "inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents "
    "io_pgetevents_time64 io_setup io_submit ioctl ioprio_get ioprio_set ipc kill "
    "landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32 "
    "lgetxattr link linkat listen listmount listxattr listxattrat llistxattr _llseek "
    "lremovexattr lseek lsetxattr lstat lstat64 madvise map_shadow_stack membarrier "
    "memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall "
    "mmap mmap2 mprotect mq_getsetattr mq_notify mq_open mq_timedreceive "
    "mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl "
    "msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep "
    "newfstatat _newselect open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 "
    "pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 "
    "prlimit64 process_mrelease pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read "
    "readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg "
    "remap_file_pages removexattr removexattrat rename renameat renameat2 restart_syscall "
    "riscv_hwprobe rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo "
    "rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo "
    "sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr "
    "sched_getparam sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 "
    "sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp "
    "select semctl semget semop semtimedop semtimedop_time64 send sendfile sendfile64 "
    "sendmmsg sendmsg sendto set_robust_list set_thread_area set_tid_address setfsgid "
    "setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid "
    "setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 setreuid "
    "setreuid32 setrlimit setsid setsockopt setuid setuid32 setxattr setxattrat shmat shmctl "
    "shmdt shmget shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn socketcall "
    "socketpair splice stat stat64 statfs statfs64 statmount statx symlink symlinkat sync "
    "sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete "
    "timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 "
    "timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 "
    "times tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime "
    "utimensat utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev";
#if defined(__x86_64__)
constexpr const char* OF_THIS_ARCHITECTURE = "arch_prctl modify_ldt";
#elif defined(__aarch64__)
constexpr const char* OF_THIS_ARCHITECTURE =
    "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls";
#else
constexpr const char* OF_THIS_ARCHITECTURE = "";
#endif

// Allowed to whoever holds the capability (moby, profiles/seccomp/default_linux.go).
struct Conditional {
  const char* capability;
  const char* names;
};
constexpr Conditional CONDITIONAL[] = {
    {"DAC_READ_SEARCH", "open_by_handle_at"},
    {"SYS_ADMIN",
     "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie "
     "lsm_get_self_attr lsm_list_modules lsm_set_self_attr mount "
     "mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd "
     "setdomainname sethostname setns syslog umount umount2 unshare"},
    {"SYS_BOOT", "reboot"},
    {"SYS_CHROOT", "chroot"},
    {"SYS_MODULE", "delete_module init_module finit_module"},
    {"SYS_PACCT", "acct"},
    {"SYS_PTRACE", "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace"},
    {"SYS_RAWIO", "iopl ioperm"},
    {"SYS_TIME", "settimeofday stime clock_settime clock_settime64"},
    {"SYS_TTY_CONFIG", "vhangup"},
    {"SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"},
    {"SYSLOG", "syslog"},
    {"BPF", "bpf"},
    {"PERFMON", "perf_event_open"},
};

// To everybody from this kernel on: before, ptrace(2) led around the filter.
constexpr const char* SINCE_4_8 = "process_vm_readv process_vm_writev ptrace";

// Families of socket(2) that are refused: bridges into the host or its hypervisor and what nobody
// uses. Those from 46 on did not exist when the list was made.
constexpr int REFUSED_FAMILIES[] = {12, 19, 20, 23, 25, 34, 37, 38, 40};
constexpr int END_OF_FAMILIES = 46;

// personality(2): Linux and Linux32, each with and without UNAME26, and the query.
constexpr uint64_t PERSONALITIES[] = {0x0, 0x8, 0x20000, 0x20008, 0xffffffff};
// The flags of clone(2) that make namespaces; clone3(2) hides its flags from a filter.
constexpr uint64_t NAMESPACE_FLAGS = 0x7e020000;

std::vector<std::string> wordsOf(const char* text) {
  std::istringstream stream(text);
  std::vector<std::string> result;
  for (std::string word; stream >> word;) result.push_back(word);
  return result;
}

bool kernelIsAtLeast(int major, int minor) {
  struct utsname name;
  int running[2] = {0, 0};
  if (uname(&name) != 0 || sscanf(name.release, "%d.%d", &running[0], &running[1]) != 2) {
    return false;
  }
  return running[0] != major ? running[0] > major : running[1] >= minor;
}

uint64_t relevantMask(CapabilitySet capabilities) {
  uint64_t mask = 0;
  for (unsigned i = 0; i < sizeof(CONDITIONAL) / sizeof(CONDITIONAL[0]); ++i) {
    if (capabilities.has(CONDITIONAL[i].capability)) mask |= uint64_t(1) << i;
  }
  return mask;
}

void addRule(scmp_filter_ctx filter, const SyscallRule& rule) {
  std::vector<scmp_arg_cmp> arguments;
  for (auto& argument : rule.arguments) {
    auto comparison = argument.mask == ~uint64_t(0) ? SCMP_CMP_EQ : SCMP_CMP_MASKED_EQ;
    scmp_arg_cmp entry{argument.index, comparison, argument.mask, argument.value};
    if (comparison == SCMP_CMP_EQ) {
      entry.datum_a = argument.value;
      entry.datum_b = 0;
    }
    arguments.push_back(entry);
  }
  uint32_t action = rule.errnoValue == 0 ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(rule.errnoValue);
  for (auto& name : rule.names) {
    int number = seccomp_syscall_resolve_name(name.c_str());
    if (number == __NR_SCMP_ERROR) continue;  // newer than libseccomp: stays refused
    int result = seccomp_rule_add_array(filter, action, number, arguments.size(), arguments.data());
    KJ_REQUIRE(result == 0, "libseccomp refuses a rule", name.c_str(), result);
  }
}

std::string compile(CapabilitySet capabilities) {
  struct Release {
    void operator()(void* filter) const { seccomp_release(filter); }
  };
  std::unique_ptr<void, Release> filter(seccomp_init(SCMP_ACT_ERRNO(EPERM)));
  KJ_REQUIRE(filter != nullptr, "libseccomp cannot make a filter");
#if defined(__x86_64__)
  for (auto architecture : {SCMP_ARCH_X86, SCMP_ARCH_X32}) {
    KJ_REQUIRE(seccomp_arch_add(filter.get(), architecture) == 0);
  }
#elif defined(__aarch64__)
  KJ_REQUIRE(seccomp_arch_add(filter.get(), SCMP_ARCH_ARM) == 0);
#endif
  for (auto& rule : seccompRules(capabilities)) addRule(filter.get(), rule);
  int memory;
  KJ_SYSCALL(memory = memfd_create("orch-seccomp", MFD_CLOEXEC));
  kj::AutoCloseFd owned(memory);
  int result = seccomp_export_bpf(filter.get(), memory);
  KJ_REQUIRE(result == 0, "libseccomp cannot compile the profile", result);
  off_t size;
  KJ_SYSCALL(size = lseek(memory, 0, SEEK_END));
  auto bytes = kj::heapArray<kj::byte>(size);
  ssize_t n;
  KJ_SYSCALL(n = pread(memory, bytes.begin(), bytes.size(), 0));
  KJ_REQUIRE(static_cast<size_t>(n) == bytes.size());
  return kj::encodeBase64(bytes).cStr();
}

}  // namespace

std::vector<SyscallRule> seccompRules(CapabilitySet capabilities) {
  std::vector<SyscallRule> rules;
  rules.push_back({wordsOf(ALWAYS), {}, 0});
  rules.push_back({wordsOf(OF_THIS_ARCHITECTURE), {}, 0});
  for (auto value : PERSONALITIES) {
    rules.push_back({{"personality"}, {{0, ~uint64_t(0), value}}, 0});
  }
  if (kernelIsAtLeast(4, 8)) rules.push_back({wordsOf(SINCE_4_8), {}, 0});
  for (int family = 0; family < END_OF_FAMILIES; ++family) {
    if (std::find(std::begin(REFUSED_FAMILIES), std::end(REFUSED_FAMILIES), family) ==
        std::end(REFUSED_FAMILIES)) {
      rules.push_back({{"socket"}, {{0, ~uint64_t(0), static_cast<uint64_t>(family)}}, 0});
    }
  }
  for (auto& entry : CONDITIONAL) {
    if (capabilities.has(entry.capability)) rules.push_back({wordsOf(entry.names), {}, 0});
  }
  if (!capabilities.has("SYS_ADMIN")) {
    rules.push_back({{"clone"}, {{0, NAMESPACE_FLAGS, 0}}, 0});
    rules.push_back({{"clone3"}, {}, ENOSYS});  // libc falls back to clone
  }
  return rules;
}

std::vector<std::string> seccompArchitectures() {
#if defined(__x86_64__)
  return {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"};
#elif defined(__aarch64__)
  return {"SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"};
#else
  return {};
#endif
}

std::string SeccompCache::filterBase64(CapabilitySet capabilities) {
  std::lock_guard guard(mutex);
  uint64_t key = relevantMask(capabilities);
  auto found = filters.find(key);
  if (found != filters.end()) return found->second;
  if (filters.size() >= MAX_ENTRIES) filters.clear();
  return filters.emplace(key, compile(capabilities)).first->second;
}

}  // namespace orch::runtime
