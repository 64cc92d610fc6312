#include "prepare.h"

#include <kj/debug.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "bundle.h"
#include "etc-files.h"
#include "orch/fail.h"
#include "process-table.h"
#include "record.h"
#include "volumes.h"

namespace orch::runtime {

namespace {

constexpr unsigned MAX_KILL_ROUNDS = 10;

void makeFolder(const std::string& path, mode_t mode = 0711) {
  if (mkdir(path.c_str(), mode) != 0 && errno != EEXIST) {
    KJ_FAIL_SYSCALL("mkdir", errno, path.c_str());
  }
}

kj::ArrayPtr<const kj::byte> bytesOf(const std::string& text) {
  return kj::arrayPtr(reinterpret_cast<const kj::byte*>(text.data()), text.size());
}

std::vector<std::string> layersOf(schema::ContainerRequest::Reader request) {
  std::vector<std::string> layers;
  for (auto layer : request.getLayers()) layers.push_back(layer.cStr());
  return layers;
}

// The three files that are the container's own, whatever the image has there.
void addEtcFiles(const BundleInput& input, const std::string& bundle,
                 std::vector<BundleMount>& mounts) {
  kj::StringPtr hostname = input.checked.hostname.c_str();
  struct File {
    const char* name;
    kj::String text;
  };
  File files[] = {
      {"hosts", hostsText(input.request, hostname, readSmallFile("/etc/hosts"))},
      {"hostname", kj::str(hostname, "\n")},
      {"resolv.conf", resolvText(input.request, hostResolvConf())},
  };
  for (auto& file : files) {
    std::string target = std::string("/etc/") + file.name;
    bool mounted = false;
    for (auto& mount : input.checked.mounts) mounted = mounted || mount.target == target;
    if (mounted) continue;
    std::string path = bundle + "/" + file.name;
    writeNew(path, file.text.asBytes());
    mounts.push_back({target, "bind", path, {"bind", "rprivate", "rw"}});
  }
}

void addUserMounts(const BundleInput& input, const Layout& layout, const std::string& id,
                   const RootFolder& root, std::vector<BundleMount>& mounts) {
  for (auto& mount : input.checked.mounts) {
    BundleMount ready{mount.target, "bind", mount.source, mount.options};
    if (mount.kind == CheckedMount::Kind::TMPFS) {
      ready.type = "tmpfs";
      ready.source = "tmpfs";
    } else if (mount.kind == CheckedMount::Kind::VOLUME) {
      ready.source = ensureVolume(layout.volume(mount.source), id, root, mount.target);
    } else if (mount.kind == CheckedMount::Kind::OWN_VOLUME) {
      std::string folder = layout.disk(id) + "/volumes/";
      std::filesystem::create_directories(folder);
      ready.source = ensureVolume(folder + mount.source, id, root, mount.target);
    }
    mounts.push_back(ready);
  }
}

}  // namespace

BundleMaker::BundleMaker(Layout where, Options chosen)
    : layout(std::move(where)),
      options(std::move(chosen)),
      cgroups(options.cgroupRoot, options.cgroupParent),
      limitsSwap(cgroups.limitsSwap()),
      bootId(orch::runtime::bootId()) {}

kj::Array<capnp::word> BundleMaker::prepare(schema::ContainerRequest::Reader request,
                                            int64_t nowNs) {
  auto checked = checkRequest(request);
  std::string id = request.getId().cStr();
  std::string disk = layout.disk(id);
  std::string bundle = layout.bundle(id);

  makeFolder(disk);
  auto record = makeRecord(request, checked.stopSignal, nowNs);
  writeRecord(layout.record(id), record);
  makeFolder(disk + "/upper", 0755);
  makeFolder(disk + "/work");
  makeFolder(bundle);
  makeFolder(bundle + "/rootfs");
  mountOverlay(layersOf(request), disk + "/upper", disk + "/work", layout.rootfs(id));

  RootFolder root(layout.rootfs(id));
  auto user = resolveUser(root.read("/etc/passwd"), root.read("/etc/group"), checked.user.c_str(),
                          request.getSpec().getGroups());
  BundleInput input{request, checked, user,      layout.rootfs(id), cgroups.pathOf(id),
                    {},      "",      limitsSwap};
  std::vector<BundleMount> mounts;
  addEtcFiles(input, bundle, mounts);
  if (!checked.initProgram.empty()) {
    mounts.push_back({"/sbin/docker-init", "bind", checked.initProgram, {"bind", "ro"}});
  }
  addUserMounts(input, layout, id, root, mounts);
  if (checked.workdir != "/") root.makeDirectories(checked.workdir);
  input.mounts = kj::mv(mounts);
  if (options.filterByAnnotation) input.seccompFilter = filters.filterBase64(checked.capabilities);
  writeNew(bundle + "/config.json", bytesOf(ociConfig(input)));
  return record;
}

void BundleMaker::takeAway(const std::string& id) {
  unmount(layout.rootfs(id));
  if (!cgroups.remove(id)) {
    fail(kj::str("cannot remove the cgroup '", cgroups.pathOf(id).c_str(),
                 "': something in it still runs"));
  }
  removeTree(layout.bundle(id));
  unlink(layout.exitFile(id).c_str());
  // The record goes last: until then a crash leaves something that is found again.
  for (auto name : {"/upper", "/work", "/work.empty", "/volumes"}) {
    removeTree(layout.disk(id) + name);
  }
  removeTree(layout.disk(id));
}

void BundleMaker::endProcesses(const std::string& id) {
  // More than one round: what is ended may have started something in between.
  for (unsigned round = 0; round < MAX_KILL_ROUNDS; ++round) {
    // conmon first: it would go on to start what its `create` left.
    auto pids = processesWithArgument(layout.bundle(id));
    for (int pid : cgroups.processes(id)) pids.push_back(pid);
    std::vector<kj::AutoCloseFd> ended;
    for (int pid : pids) {
      KJ_IF_MAYBE (fd, openProcess(pid, startTicks(pid))) {
        if (sendSignal(*fd, SIGKILL)) ended.push_back(kj::mv(*fd));
      }
    }
    if (ended.empty()) return;
    for (auto& fd : ended) {
      pollfd gone{fd.get(), POLLIN, 0};
      poll(&gone, 1, options.killTimeoutMs);
    }
  }
}

}  // namespace orch::runtime
