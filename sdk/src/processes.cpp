#include "processes.h"

#include <errno.h>
#include <fcntl.h>
#include <kj/debug.h>
#include <kj/io.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <vector>

extern char** environ;

namespace orch {

namespace {

// Everything that the child needs, made before it exists: between vfork and exec it shares our
// memory and may only make system calls.
struct ChildPlan {
  std::vector<char*> argv;
  std::vector<char*> env;
  std::vector<std::string> paths;  // candidates for exec, in order
  std::vector<ProcessSpec::Fd> fds;
  const char* cwd = nullptr;
  bool dieWithParent = false;
  bool newSession = false;
  struct rlimit openFiles = {};
  int error = 0;  // written by the child if it cannot exec
};

constexpr int FIRST_SCRATCH_FD = 64;  // above any number that a child is given

std::vector<std::string> candidates(kj::StringPtr program) {
  if (program.findFirst('/') != nullptr) return {program.cStr()};
  std::vector<std::string> paths;
  const char* path = getenv("PATH");
  std::string rest =
      path == nullptr ? "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" : path;
  rest += ":/usr/sbin:/sbin";
  for (size_t begin = 0; begin <= rest.size();) {
    size_t end = rest.find(':', begin);
    if (end == std::string::npos) end = rest.size();
    if (end > begin) paths.push_back(rest.substr(begin, end - begin) + "/" + program.cStr());
    begin = end + 1;
  }
  return paths;
}

__attribute__((no_sanitize("address"))) int runChild(void* argument) {
  auto& plan = *static_cast<ChildPlan*>(argument);
  for (int number = 1; number < NSIG; ++number) {
    struct sigaction action;
    memset(&action, 0, sizeof(action));
    action.sa_handler = SIG_DFL;
    sigaction(number, &action, nullptr);
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (plan.dieWithParent) prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (plan.newSession) setsid();
  setrlimit(RLIMIT_NOFILE, &plan.openFiles);  // lowers it: nothing that can fail
  for (auto& fd : plan.fds) {
    if (dup2(fd.source, fd.number) < 0) {
      plan.error = errno;
      _exit(127);
    }
  }
  if (plan.cwd != nullptr && chdir(plan.cwd) < 0) {
    plan.error = errno;
    _exit(127);
  }
  int error = ENOENT;
  for (auto& path : plan.paths) {
    execve(path.c_str(), plan.argv.data(), plan.env.data());
    if (errno != ENOENT && errno != ENOTDIR) error = errno;
  }
  plan.error = error;
  _exit(127);
}

// Shared by the Process that a caller holds and the task that reaps it.
class ProcessState final : public kj::Refcounted {
 public:
  ProcessState(uint32_t pid, kj::AutoCloseFd pidfd)
      : pid(pid), pidfd(kj::mv(pidfd)), exit(kj::newPromiseAndFulfiller<int>()) {}
  const uint32_t pid;
  kj::AutoCloseFd pidfd;
  kj::PromiseFulfillerPair<int> exit;
  bool gone = false;
};

class SystemProcess final : public Process {
 public:
  explicit SystemProcess(kj::Own<ProcessState> state) : state(kj::mv(state)) {}
  uint32_t pid() const override { return state->pid; }
  kj::Promise<int> onExit() override { return kj::mv(state->exit.promise); }
  bool signal(int number) override {
    return !state->gone &&
           syscall(SYS_pidfd_send_signal, state->pidfd.get(), number, nullptr, 0) == 0;
  }

 private:
  kj::Own<ProcessState> state;
};

// Copies of descriptors at numbers that the child's own numbers cannot clobber.
std::vector<kj::AutoCloseFd> scratchCopies(ChildPlan& plan) {
  std::vector<kj::AutoCloseFd> copies;
  int null;
  KJ_SYSCALL(null = open("/dev/null", O_RDWR | O_CLOEXEC));
  kj::AutoCloseFd nullFd(null);
  for (int standard = 0; standard < 3; ++standard) {
    bool named = false;
    for (auto& fd : plan.fds) named = named || fd.number == standard;
    if (!named) plan.fds.push_back({standard, null});
  }
  for (auto& fd : plan.fds) {
    KJ_REQUIRE(fd.number < FIRST_SCRATCH_FD, "a child's descriptor number is too high", fd.number);
    int copy;
    KJ_SYSCALL(copy = fcntl(fd.source, F_DUPFD_CLOEXEC, FIRST_SCRATCH_FD));
    copies.emplace_back(copy);
    fd.source = copy;
  }
  return copies;
}

int cloneChild(ChildPlan& plan, int& pidfd) {
  constexpr size_t STACK_BYTES = 128 * 1024;
  auto stack = kj::heapArray<kj::byte>(STACK_BYTES);
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  int pid = clone(&runChild, stack.end() - 64, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD,
                  &plan, &pidfd);
  int error = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) KJ_FAIL_SYSCALL("clone", error);
  return pid;
}

}  // namespace

SystemProcesses::SystemProcesses(kj::UnixEventPort& port) : port(port), reapers(*this) {
  struct rlimit limit;
  KJ_SYSCALL(getrlimit(RLIMIT_NOFILE, &limit));
  openFiles = limit.rlim_cur;
}

kj::Promise<kj::Own<Process>> SystemProcesses::spawn(ProcessSpec spec) {
  KJ_REQUIRE(spec.argv.size() > 0, "a process needs a program");
  ChildPlan plan;
  for (auto& arg : spec.argv) plan.argv.push_back(arg.begin());
  plan.argv.push_back(nullptr);
  for (auto& entry : spec.env) plan.env.push_back(entry.begin());
  plan.env.push_back(nullptr);
  plan.paths = candidates(spec.argv[0]);
  plan.fds.assign(spec.fds.begin(), spec.fds.end());
  KJ_IF_MAYBE (cwd, spec.cwd) plan.cwd = cwd->cStr();
  plan.dieWithParent = spec.dieWithParent;
  plan.newSession = spec.newSession;
  KJ_SYSCALL(getrlimit(RLIMIT_NOFILE, &plan.openFiles));
  plan.openFiles.rlim_cur = kj::min(openFiles, plan.openFiles.rlim_max);
  auto copies = scratchCopies(plan);

  int pidfd = -1;
  int pid = cloneChild(plan, pidfd);
  kj::AutoCloseFd ownedPidfd(pidfd);
  if (plan.error != 0) {
    siginfo_t info;
    KJ_SYSCALL(waitid(P_PID, pid, &info, WEXITED));
    KJ_FAIL_REQUIRE(kj::str("cannot run '", spec.argv[0], "': ", strerror(plan.error)));
  }

  auto state = kj::refcounted<ProcessState>(pid, kj::mv(ownedPidfd));
  auto process = kj::heap<SystemProcess>(kj::addRef(*state));
  auto observer = kj::heap<kj::UnixEventPort::FdObserver>(
      port, state->pidfd, kj::UnixEventPort::FdObserver::OBSERVE_READ);
  auto reaped = observer->whenBecomesReadable().then([&state = *state]() {
    siginfo_t info;
    memset(&info, 0, sizeof(info));
    KJ_SYSCALL(waitid(static_cast<idtype_t>(P_PIDFD), state.pidfd.get(), &info, WEXITED));
    state.gone = true;
    bool exited = info.si_code == CLD_EXITED;
    state.exit.fulfiller->fulfill(exited ? info.si_status << 8 : info.si_status);
  });
  // attach() destroys from left to right: the observer before the descriptor that it watches.
  reapers.add(reaped.attach(kj::mv(observer)).attach(kj::mv(state)));
  return kj::Own<Process>(kj::mv(process));
}

kj::Promise<void> SystemProcesses::whenGone(int pidfd) {
  auto observer = kj::heap<kj::UnixEventPort::FdObserver>(
      port, pidfd, kj::UnixEventPort::FdObserver::OBSERVE_READ);
  auto gone = observer->whenBecomesReadable();
  return gone.attach(kj::mv(observer));
}

void SystemProcesses::taskFailed(kj::Exception&& exception) {
  KJ_LOG(ERROR, "cannot reap a child process", exception);
}

}  // namespace orch
