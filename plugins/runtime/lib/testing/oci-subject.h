// A real runtime plugin on a folder of the test's own, with a busybox root file system. Everything
// that it makes is named after the test and the pid, and gone with it.
#pragma once

#include <sys/stat.h>

#include "orch/conformance/runtime-conformance.h"
#include "orch/env.h"
#include "orch/plugin.h"
#include "orch/testing/held-time.h"
#include "orch/testing/test-host.h"

namespace orch::runtime {

// Defined by the test program of each plugin.
struct PluginUnderTest {
  MakeInstance make;
  kj::StringPtr name;  // `crun`
  // Its settings with this parent cgroup, in a message of their own. With a program of the test's
  // own commands may take half a second, and waits one and a half.
  kj::Own<capnp::MallocMessageBuilder> (*settings)(kj::StringPtr cgroupParent,
                                                   kj::StringPtr program);
  schema::Plugin::Client (*configure)(testing::TestHost& host, schema::Plugin::Client plugin,
                                      capnp::MessageBuilder& settings, kj::WaitScope& scope);
};
extern const PluginUnderTest PLUGIN_UNDER_TEST;

class OciSubject final : public conformance::RuntimeSubject {
 public:
  // With a data folder of this size, or on the disk that there is.
  explicit OciSubject(kj::StringPtr testName, uint64_t diskBytes = 0);
  ~OciSubject() noexcept(false) override;

  kj::WaitScope& waitScope() override { return world->io.waitScope; }
  kj::Timer& timer() override { return world->io.provider->getTimer(); }
  schema::Runtime::Client runtime() override { return *world->service; }
  void script(schema::ContainerRequest::Builder request,
              const conformance::Behaviour& behaviour) override;
  std::vector<std::string> command(const conformance::Command& command) override;
  kj::StringPtr breakRequest(schema::ContainerRequest::Builder request) override;
  bool canHaveFaults() override { return diskBytes > 0; }
  void killMonitor(kj::StringPtr id) override;
  void stopMonitor(kj::StringPtr id) override;
  void setDiskFull(bool full) override;
  void restartAfterCrash() override;
  int conmonOf(kj::StringPtr id);
  // Of the container, on disk: `state`.
  std::string diskFile(kj::StringPtr id, kj::StringPtr name) const;
  // How often the plugin has logged this.
  unsigned logged(kj::StringPtr line) const;

  // As after SIGKILL of orchd: everything in memory is gone, nothing is told.
  void crash();
  // As the kernel does when orchd ends.
  void stopPlugin();
  // From the next `restart` on: a script in front of the OCI runtime. `"$@"` are its arguments.
  void setProgram(kj::StringPtr script);
  // From the next `restart` on the plugin's deadlines come when the test says so.
  void holdTime() { timeHeld = true; }
  testing::HeldTime& time() { return *world->time; }
  // A new plugin on the same folders.
  void restart();

  // A request for `sh -c script`, or for another program.
  capnp::Request<schema::Runtime::CreateParams, schema::Runtime::CreateResults> request(
      kj::StringPtr id, kj::StringPtr script);
  // Creates, starts, waits, answers with the exit code.
  int run(capnp::Request<schema::Runtime::CreateParams, schema::Runtime::CreateResults> request);
  void start(kj::StringPtr id);
  int wait(kj::StringPtr id);
  void remove(kj::StringPtr id);
  // What it printed to stdout, lines joined.
  std::string output(kj::StringPtr id);
  uint32_t pidOf(kj::StringPtr id);
  std::string cgroupFile(kj::StringPtr id, kj::StringPtr controller, kj::StringPtr v1File,
                         kj::StringPtr v2File);
  kj::StringPtr folder() const { return home.path(); }
  const testing::TestHost& host() const { return *world->host; }
  Env& env() { return *world->env; }
  std::string layer;  // the busybox root file system

 private:
  struct World {
    explicit World(OciSubject& subject);
    kj::AsyncIoContext io;
    kj::Own<Env> env;
    kj::Own<testing::HeldTime> time;  // null unless it is held
    kj::Own<testing::TestHost> host;
    kj::Maybe<schema::Plugin::Client> plugin;
    kj::Own<schema::Runtime::Client> service;
  };
  testing::TestFolder home;
  kj::String parent;
  uint64_t diskBytes;
  kj::String program;
  bool timeHeld = false;
  kj::Own<World> world;
};

// Mounts, cgroups and processes that name this folder or cgroup. Empty when all is cleaned up.
std::vector<std::string> leftovers(kj::StringPtr folder, kj::StringPtr cgroup);

}  // namespace orch::runtime
