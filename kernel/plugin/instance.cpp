#include "kernel/plugin/instance.h"

#include <capnp/rpc-twoparty.h>
#include <kj/debug.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel/loop/turned-for.h"
#include "kernel/plugin/loader.h"

namespace orch::plugin {

namespace {

constexpr int HOST_FD = 3;
// A socket closes a moment before its process can be reaped.
constexpr uint64_t REAP_MS = 5'000;

class KernelInstance final : public Instance {
 public:
  explicit KernelInstance(schema::Plugin::Client client) : client(kj::mv(client)) {}
  schema::Plugin::Client plugin() override { return client; }
  kj::Promise<kj::String> onGone() override { return kj::NEVER_DONE; }
  uint32_t pid() const override { return 0; }

 private:
  schema::Plugin::Client client;
};

kj::String describeExit(int status) {
  if (WIFEXITED(status)) return kj::str("its process ended with status ", WEXITSTATUS(status));
  return kj::str("its process was ended by signal ", WTERMSIG(status), " (",
                 strsignal(WTERMSIG(status)), ")");
}

class ProcessInstance final : public Instance {
 public:
  ProcessInstance(kj::Timer& timer, kj::Own<kj::AsyncIoStream> stream, kj::Own<Process> process)
      : timer(timer),
        stream(kj::mv(stream)),
        process(kj::mv(process)),
        connection(*this->stream),
        root(connection.bootstrap().castAs<schema::Plugin>()),
        exit(this->process->onExit().fork()) {}
  // A clean stop has closed the socket already; whatever still runs then has lost its purpose.
  ~ProcessInstance() noexcept(false) { process->signal(SIGKILL); }

  schema::Plugin::Client plugin() override { return root; }
  kj::Promise<kj::String> onGone() override {
    auto ended = exit.addBranch().then([](int status) { return describeExit(status); });
    auto broken = connection.onDisconnect().then(
        [this]() { return loop::turnedFor(timer, REAP_MS * kj::MILLISECONDS); });
    return ended.exclusiveJoin(broken.then([]() { return kj::str("its connection broke"); }));
  }
  uint32_t pid() const override { return process->pid(); }

 private:
  kj::Timer& timer;
  kj::Own<kj::AsyncIoStream> stream;
  kj::Own<Process> process;
  capnp::TwoPartyClient connection;
  schema::Plugin::Client root;  // asked for once: a connection that broke has no second bootstrap
  kj::ForkedPromise<int> exit;  // the wait status
};

}  // namespace

Task<kj::Own<Instance>> newKernelInstance(Env& env, PluginFile file) {
  auto load = [file = kj::mv(file)]() { return loadPlugin(file); };
  auto create = co_await env.workers().run(kj::mv(load));
  schema::Plugin::Client client = nullptr;
  create(env, &client);
  co_return kj::heap<KernelInstance>(kj::mv(client));
}

Task<kj::Own<Instance>> newProcessInstance(Env& env, PluginFile file, std::string hostProgram,
                                           Rights rights) {
  int pair[2];
  KJ_SYSCALL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
  kj::AutoCloseFd ours(pair[0]), theirs(pair[1]);
  ProcessSpec spec;
  spec.argv.add(kj::str(hostProgram.c_str()));
  spec.argv.add(kj::str(file.path.c_str()));
  spec.argv.add(kj::str(HOST_FD));
  spec.argv.add(kj::str(kj::hex(rights.capabilities)));
  spec.argv.add(kj::str(rights.keeps));
  spec.argv.add(kj::str(file.identity.number));
  // The later of two equal names would not count: what was granted comes first.
  for (auto& [key, value] : rights.env) spec.env.add(kj::str(key.c_str(), "=", value.c_str()));
  spec.env.add(kj::str("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
  spec.env.add(kj::str("LANG=C.UTF-8"));
  spec.fds.add(ProcessSpec::Fd{HOST_FD, theirs.get()});
  spec.fds.add(ProcessSpec::Fd{1, STDERR_FILENO});
  spec.fds.add(ProcessSpec::Fd{2, STDERR_FILENO});
  spec.dieWithParent = true;
  auto process = co_await env.processes().spawn(kj::mv(spec));
  auto stream = env.lowLevelIo().wrapSocketFd(
      ours.release(),
      kj::LowLevelAsyncIoProvider::TAKE_OWNERSHIP | kj::LowLevelAsyncIoProvider::ALREADY_CLOEXEC);
  co_return kj::heap<ProcessInstance>(env.timer(), kj::mv(stream), kj::mv(process));
}

}  // namespace orch::plugin
