#include "oci-subject.h"

#include <catch2/catch.hpp>
#include <kj/debug.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "orch/testing/stopped-process.h"
#include "private-cgroups.h"
#include "process-table.h"

namespace orch::runtime {

namespace fs = std::filesystem;

namespace {

// busybox with the few files that a lookup of users needs.
std::string makeLayer(const std::string& path) {
  for (auto name : {"bin", "etc", "tmp", "proc", "sys", "dev", "data"}) {
    fs::create_directories(path + "/" + name);
  }
  fs::copy_file("/bin/busybox", path + "/bin/busybox", fs::copy_options::overwrite_existing);
  for (auto name :
       {"sh",     "cat",   "id",     "echo",     "sleep", "ls",  "env",  "touch", "hostname",
        "stat",   "mount", "pwd",    "test",     "dd",    "seq", "grep", "kill",  "unshare",
        "mkdir",  "awk",   "chroot", "readlink", "tr",    "wc",  "sort", "uniq",  "ps",
        "printf", "true",  "tail",   "yes",      "head",  "tty", "stty"}) {
    fs::create_symlink("busybox", path + "/bin/" + name);
  }
  std::ofstream(path + "/etc/passwd") << "root:x:0:0:root:/root:/bin/sh\n"
                                         "alice:x:1000:1001::/home/alice:/bin/sh\n";
  std::ofstream(path + "/etc/group") << "root:x:0:\nalice:x:1001:\nstaff:x:50:alice\nwheel:x:10:\n";
  std::ofstream(path + "/data/seed") << "from the image\n";
  KJ_SYSCALL(chown((path + "/data/seed").c_str(), 1000, 1001));
  KJ_SYSCALL(chmod((path + "/data").c_str(), 0750));
  return path;
}

}  // namespace

OciSubject::World::World(OciSubject& subject)
    : io(kj::setupAsyncIo()),
      env(newSystemEnv(io)),
      host(kj::heap<testing::TestHost>(subject.home.sub("data"), subject.home.sub("run"),
                                       kj::str("runtime.", PLUGIN_UNDER_TEST.name))) {}

OciSubject::OciSubject(kj::StringPtr testName, uint64_t diskBytes)
    : home(kj::str(PLUGIN_UNDER_TEST.name, "-", testName)),
      parent(kj::str("/orch-test-", PLUGIN_UNDER_TEST.name, "-", testName, "-", getpid())),
      diskBytes(diskBytes) {
  enterPrivateCgroups();
  if (diskBytes > 0) {
    fs::create_directories(home.sub("data").cStr());
    auto options = kj::str("size=", diskBytes);
    KJ_SYSCALL(mount("tmpfs", home.sub("data").cStr(), "tmpfs", 0, options.cStr()));
  }
  layer = makeLayer(home.sub("layer").cStr());
  restart();
}

OciSubject::~OciSubject() noexcept(false) {
  if (world.get() == nullptr) restart();
  auto listed = runtime().listRequest().send().wait(waitScope());
  for (auto container : listed.getContainers()) remove(container.getId());
  stopPlugin();
  crash();
  auto ownDisk = home.sub("data");
  for (auto& left : leftovers(home.path(), parent)) {
    if (diskBytes > 0 && left.find(kj::str(" ", ownDisk, " ").cStr()) != std::string::npos)
      continue;
    UNSCOPED_INFO(left);
    CHECK(left == "nothing may be left over");
  }
  if (diskBytes > 0) umount2(ownDisk.cStr(), MNT_DETACH);
}

void OciSubject::restartAfterCrash() {
  crash();
  restart();
}

int OciSubject::conmonOf(kj::StringPtr id) {
  auto bundle = kj::str(home.path(), "/run/runtime.", PLUGIN_UNDER_TEST.name, "/", id);
  for (int pid : processesWithArgument(bundle.cStr())) {
    if (runsOneOf(pid, {"conmon"})) return pid;
  }
  KJ_FAIL_REQUIRE("no conmon", id);
}

void OciSubject::killMonitor(kj::StringPtr id) { KJ_SYSCALL(kill(conmonOf(id), SIGKILL)); }

void OciSubject::stopMonitor(kj::StringPtr id) { testing::stopProcess(conmonOf(id)); }

void OciSubject::setDiskFull(bool full) {
  auto filler = home.sub("data/filler");
  if (full) {
    std::ofstream(filler.cStr()) << std::string(diskBytes, 'x');
  } else {
    fs::remove(filler.cStr());
  }
}

std::string OciSubject::diskFile(kj::StringPtr id, kj::StringPtr name) const {
  return kj::str(home.path(), "/data/runtime.", PLUGIN_UNDER_TEST.name, "/containers/", id, "/",
                 name)
      .cStr();
}

unsigned OciSubject::logged(kj::StringPtr line) const {
  auto& lines = world->host->logLines();
  return std::count(lines.begin(), lines.end(), line.cStr());
}

void OciSubject::stopPlugin() {
  KJ_ASSERT_NONNULL(world->plugin).stopRequest().send().wait(waitScope());
}

void OciSubject::crash() {
  world->service = nullptr;
  world->plugin = nullptr;
  world = nullptr;
}

void OciSubject::setProgram(kj::StringPtr script) {
  program = home.sub("program");
  std::ofstream(program.cStr()) << "#!/bin/sh\n"
                                << script.cStr() << "\nexec " << PLUGIN_UNDER_TEST.name.cStr()
                                << " \"$@\"\n";
  KJ_SYSCALL(chmod(program.cStr(), 0755));
}

void OciSubject::restart() {
  world = kj::heap<World>(*this);
  if (timeHeld) world->time = kj::heap<testing::HeldTime>(*world->env, waitScope());
  Env& env = timeHeld ? *world->time : *world->env;
  auto plugin = newPlugin(env, PLUGIN_UNDER_TEST.make);
  auto settings = PLUGIN_UNDER_TEST.settings(parent, program);
  PLUGIN_UNDER_TEST.configure(*world->host, plugin, *settings, waitScope());
  auto name = kj::str("runtime.", PLUGIN_UNDER_TEST.name);
  world->service = kj::heap<schema::Runtime::Client>(
      world->host->start<schema::Runtime>(plugin, name, waitScope()));
  world->plugin = kj::mv(plugin);
}

void OciSubject::script(schema::ContainerRequest::Builder request,
                        const conformance::Behaviour& behaviour) {
  std::string text;
  if (behaviour.ignoresTerm) text += "trap '' TERM; ";
  bool stays = behaviour.stays || behaviour.echoes;
  if (!behaviour.ignoresTerm && stays) {
    text += "trap 'exit " + std::to_string(behaviour.exitCode) + "' TERM; ";
  }
  for (auto& line : behaviour.output) text += "echo '" + line + "'; ";
  for (auto& line : behaviour.errors) text += "echo '" + line + "' >&2; ";
  for (auto& piece : behaviour.pieces) {
    auto quoted = piece.text;
    for (size_t at; (at = quoted.find('\n')) != std::string::npos;) quoted.replace(at, 1, "\\n");
    text += "printf '" + quoted + "'" + (piece.isError ? " >&2" : "") + "; read -r _; ";
  }
  if (behaviour.echoes) text += "while read -r line; do echo \"$line\"; done; ";
  request.getSpec().setInteractive(behaviour.echoes || !behaviour.pieces.empty());
  if (behaviour.stays) text += "while true; do sleep 0.05; done; ";
  text += "exit " + std::to_string(behaviour.exitCode);
  request.initLayers(1).set(0, layer.c_str());
  auto args = request.getSpec().initArgs(3);
  args.set(0, "/bin/sh");
  args.set(1, "-c");
  args.set(2, text.c_str());
}

std::vector<std::string> OciSubject::command(const conformance::Command& command) {
  if (command.missing) return {"/bin/nothing-there"};
  if (command.floods) return {"yes"};
  std::string text = "printf '" + command.output + "'; ";
  if (!command.errors.empty()) text += "printf '" + command.errors + "' >&2; ";
  if (command.echoes) text += "cat; ";
  if (command.stays) text += "sleep 1000; ";
  return {"sh", "-c", text + "exit " + std::to_string(command.exitCode)};
}

kj::StringPtr OciSubject::breakRequest(schema::ContainerRequest::Builder request) {
  request.getSpec().setUser("nobodyknows");
  return "unknown user 'nobodyknows'";
}

capnp::Request<schema::Runtime::CreateParams, schema::Runtime::CreateResults> OciSubject::request(
    kj::StringPtr id, kj::StringPtr script) {
  auto call = runtime().createRequest();
  auto request = call.initRequest();
  request.setId(id);
  request.setTaskName(kj::str("test.1.", id));
  request.getNetwork().setNone();
  request.initLayers(1).set(0, layer.c_str());
  auto args = request.getSpec().initArgs(3);
  args.set(0, "/bin/sh");
  args.set(1, "-c");
  args.set(2, script);
  return call;
}

int OciSubject::run(
    capnp::Request<schema::Runtime::CreateParams, schema::Runtime::CreateResults> request) {
  auto id = kj::str(request.getRequest().getId());
  request.send().wait(waitScope());
  start(id);
  return wait(id);
}

void OciSubject::start(kj::StringPtr id) {
  auto call = runtime().startRequest();
  call.setId(id);
  call.send().wait(waitScope());
}

int OciSubject::wait(kj::StringPtr id) {
  auto call = runtime().waitRequest();
  call.setId(id);
  return call.send().wait(waitScope()).getExit().getCode();
}

void OciSubject::remove(kj::StringPtr id) {
  auto call = runtime().removeRequest();
  call.setId(id);
  call.send().wait(waitScope());
}

std::string OciSubject::output(kj::StringPtr id) {
  std::string text;
  for (auto& line : conformance::readLogs(*this, id)) text += line.text + "\n";
  return text;
}

uint32_t OciSubject::pidOf(kj::StringPtr id) {
  auto listed = runtime().listRequest().send().wait(waitScope());
  for (auto container : listed.getContainers()) {
    if (container.getId() == id) return container.getPid();
  }
  KJ_FAIL_REQUIRE("no such container", id);
}

std::string OciSubject::cgroupFile(kj::StringPtr id, kj::StringPtr controller, kj::StringPtr v1File,
                                   kj::StringPtr v2File) {
  bool unified = access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0;
  auto path = unified ? kj::str("/sys/fs/cgroup", parent, "/", id, "/", v2File)
                      : kj::str("/sys/fs/cgroup/", controller, parent, "/", id, "/", v1File);
  std::ifstream file(path.cStr());
  std::string text;
  std::getline(file, text);
  return text;
}

std::vector<std::string> leftovers(kj::StringPtr folder, kj::StringPtr cgroup) {
  std::vector<std::string> left;
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    if (line.find(folder.cStr()) != std::string::npos) left.push_back("mount: " + line);
  }
  std::vector<std::string> roots = {"/sys/fs/cgroup"};
  for (auto& entry : fs::directory_iterator("/sys/fs/cgroup")) roots.push_back(entry.path());
  for (auto& root : roots) {
    if (fs::exists(root + cgroup.cStr())) left.push_back("cgroup: " + root + cgroup.cStr());
  }
  for (int pid : processesWithArgument(kj::str(folder, "/run").cStr())) {
    // conmon ends by itself a moment after it has written the exit file.
    auto fd = openProcess({pid, startTicks(pid)});
    KJ_IF_MAYBE (open, fd) {
      pollfd gone{open->get(), POLLIN, 0};
      if (poll(&gone, 1, 10'000) != 1) left.push_back("process: " + std::to_string(pid));
    }
  }
  for (auto sub : {"/data", "/run"}) {
    for (auto& plugin : fs::directory_iterator(std::string(folder.cStr()) + sub)) {
      for (auto name : {"/containers", "/exits"}) {
        std::string path = plugin.path().string() + name;
        if (fs::exists(path) && !fs::is_empty(path)) left.push_back("files in " + path);
      }
      // In `volumes` one folder per runtime.
      for (auto name : {"/.new", "/.users"}) {
        std::string path = plugin.path().string() + name;
        if (!fs::exists(path)) continue;
        for (auto& runtime : fs::directory_iterator(path)) {
          if (!fs::is_empty(runtime)) left.push_back("files in " + runtime.path().string());
        }
      }
    }
  }
  return left;
}

}  // namespace orch::runtime
