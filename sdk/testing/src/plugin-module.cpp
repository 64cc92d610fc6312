#include "orch/testing/plugin-module.h"

#include <capnp/rpc-twoparty.h>
#include <dlfcn.h>
#include <kj/debug.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>

namespace orch::testing {

namespace {
constexpr kj::StringPtr SERVE = "--serve-plugin"_kj;
constexpr int SERVE_FD = 3;

void* symbolOf(const char* file, const char* name) {
  void* opened = dlopen(file, RTLD_NOW | RTLD_LOCAL);
  KJ_REQUIRE(opened != nullptr, dlerror());
  void* symbol = dlsym(opened, name);
  KJ_REQUIRE(symbol != nullptr, dlerror());
  return symbol;
}

schema::Plugin::Client create(Env& env, kj::StringPtr file) {
  using Create = void (*)(Env&, schema::Plugin::Client*);
  schema::Plugin::Client made = nullptr;
  reinterpret_cast<Create>(symbolOf(file.cStr(), "orch_plugin_create"))(env, &made);
  return made;
}
}  // namespace

struct PluginModule::Host {
  Host(kj::Own<kj::AsyncIoStream> stream, kj::Own<Process> process)
      : stream(kj::mv(stream)), process(kj::mv(process)), connection(*this->stream) {}
  ~Host() noexcept(false) { process->signal(SIGKILL); }

  kj::Own<kj::AsyncIoStream> stream;
  kj::Own<Process> process;
  capnp::TwoPartyClient connection;
};

namespace {
kj::Own<PluginModule::Host> spawn(Env& env, kj::StringPtr file, kj::WaitScope& waitScope) {
  int pair[2];
  KJ_SYSCALL(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
  kj::AutoCloseFd ours(pair[0]), theirs(pair[1]);
  ProcessSpec spec;
  spec.argv.add(kj::str("/proc/self/exe"));
  spec.argv.add(kj::str(SERVE));
  spec.argv.add(kj::str(file));
  spec.fds.add(ProcessSpec::Fd{SERVE_FD, theirs.get()});
  spec.fds.add(ProcessSpec::Fd{2, STDERR_FILENO});
  spec.dieWithParent = true;
  auto process = env.processes().spawn(kj::mv(spec)).wait(waitScope);
  constexpr uint FLAGS =
      kj::LowLevelAsyncIoProvider::TAKE_OWNERSHIP | kj::LowLevelAsyncIoProvider::ALREADY_CLOEXEC;
  auto stream = env.lowLevelIo().wrapSocketFd(ours.release(), FLAGS);
  return kj::heap<PluginModule::Host>(kj::mv(stream), kj::mv(process));
}
}  // namespace

PluginModule::PluginModule(Env& env, kj::StringPtr file, Isolation isolation,
                           kj::WaitScope& waitScope)
    : client(nullptr) {
  if (isolation == Isolation::KERNEL) {
    client = create(env, file);
  } else {
    auto made = spawn(env, file, waitScope);
    client = made->connection.bootstrap().castAs<schema::Plugin>();
    host = kj::mv(made);
  }
}

PluginModule::~PluginModule() noexcept(false) { client = nullptr; }

void PluginModule::kill(kj::WaitScope& waitScope) {
  auto& process = *KJ_REQUIRE_NONNULL(host, "it is in this process")->process;
  process.signal(SIGKILL);
  process.onExit().wait(waitScope);
}

uint32_t PluginModule::pid() const {
  KJ_IF_MAYBE (running, host) return (*running)->process->pid();
  return 0;
}

kj::Maybe<int> serveModule(int argc, char** argv) {
  if (argc != 3 || argv[1] != SERVE) return nullptr;
  using Serve = int (*)(int);
  return reinterpret_cast<Serve>(symbolOf(argv[2], "orch_plugin_serve"))(SERVE_FD);
}

}  // namespace orch::testing
