#include "prepare.h"

#include <kj/debug.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "container-tree.h"
#include "etc-files.h"
#include "file-access.h"
#include "mount-sources.h"
#include "orch/fail.h"
#include "process-table.h"
#include "record.h"
#include "runnable.h"

namespace orch::runtime {

namespace {

kj::ArrayPtr<const kj::byte> bytesOf(const std::string& text) {
  return kj::arrayPtr(reinterpret_cast<const kj::byte*>(text.data()), text.size());
}

// Without CAP_SYS_RESOURCE, as inside another container, orchd's own limits are the highest.
RlimitCeiling rlimitCeiling() {
  RlimitCeiling ceiling;
  auto most = strtoull(readSmallFile("/proc/sys/fs/nr_open").cStr(), nullptr, 10);
  if (most > 0) ceiling.openFiles = most;
  constexpr unsigned SYS_RESOURCE = 24;
  auto status = readSmallFile("/proc/self/status");
  const char* held = strstr(status.cStr(), "CapEff:");
  if (held != nullptr && (strtoull(held + 7, nullptr, 16) >> SYS_RESOURCE & 1) != 0) return ceiling;
  auto lower = [](uint64_t& value, __rlimit_resource resource) {
    struct rlimit own;
    if (getrlimit(resource, &own) == 0) value = std::min<uint64_t>(value, own.rlim_max);
  };
  lower(ceiling.openFiles, RLIMIT_NOFILE);
  lower(ceiling.processes, RLIMIT_NPROC);
  lower(ceiling.coreBytes, RLIMIT_CORE);
  return ceiling;
}

// They tell containers about one another's work.
std::vector<std::string> thermalPaths() {
  std::vector<std::string> paths;
  const std::string processors = "/sys/devices/system/cpu";
  for (auto& name : entriesOf(processors)) {
    std::string path = processors + "/" + name + "/thermal_throttle";
    if (name.compare(0, 3, "cpu") == 0 && access(path.c_str(), F_OK) == 0) paths.push_back(path);
  }
  return paths;
}

std::vector<std::string> layersOf(schema::ContainerRequest::Reader request) {
  std::vector<std::string> layers;
  for (auto layer : request.getLayers()) layers.push_back(layer.cStr());
  return layers;
}

// Of a file system without a block or an inode for anybody.
bool takesNothing(const std::string& folder) {
  struct statvfs info;
  if (statvfs(folder.c_str(), &info) != 0) return false;
  return info.f_bavail == 0 || (info.f_files > 0 && info.f_ffree == 0);
}

}  // namespace

BundleMaker::BundleMaker(Layout where, Options chosen, std::string instance)
    : layout(std::move(where)),
      options(std::move(chosen)),
      cgroups(options.cgroupRoot, options.cgroupParent),
      volumes(layout.volumes, instance),
      bootId(orch::runtime::bootId()),
      ceiling(rlimitCeiling()),
      hiddenPaths(thermalPaths()) {}

struct Preparation::Mounted {
  explicit Mounted(const std::string& rootfs) : root(rootfs), tree(root) {}
  RootFolder root;
  ContainerTree tree;
  UserIds user;
  std::vector<BundleMount> mounts;
};

std::shared_ptr<Preparation> BundleMaker::check(
    std::shared_ptr<capnp::MallocMessageBuilder> message, int64_t nowNs) const {
  auto made = std::make_shared<Preparation>();
  auto& preparation = *made;
  preparation.request = message->getRoot<schema::ContainerRequest>().asReader();
  preparation.message = std::move(message);
  preparation.id = preparation.request.getId().cStr();
  preparation.checked = checkRequest(preparation.request);
  preparation.record = makeRecord(preparation.request, preparation.checked.stopSignal, nowNs);
  for (auto& mount : preparation.checked.mounts) {
    if (mount.kind != CheckedMount::Kind::BIND) continue;
    KJ_IF_MAYBE (mode, lookWithoutWaiting(mount.source)) {
      mount.isFolder = S_ISDIR(*mode);
    } else {
      preparation.unseen.push_back(mount.source);
    }
  }
  return made;
}

void BundleMaker::proceed(Preparation& preparation, bool mayCopy) {
  if (preparation.mounted == nullptr) begin(preparation);
  auto& mounts = preparation.checked.mounts;
  for (; preparation.nextMount < mounts.size(); ++preparation.nextMount) {
    if (!addMount(preparation, mounts[preparation.nextMount], mayCopy)) return;
  }
  finish(preparation);
  preparation.needs = Preparation::Needs::NOTHING;
}

// Up to the files of /etc, which are the container's own, whatever the image has there. Not on the
// run folder's tmpfs: the container may write to them as much as it likes.
void BundleMaker::begin(Preparation& preparation) {
  auto& id = preparation.id;
  auto& checked = preparation.checked;
  std::string disk = layout.disk(id);
  makeFolder(disk);
  writeRecord(layout.record(id), preparation.record);
  makeFolder(disk + "/upper", 0755);
  makeFolder(disk + "/work");
  makeFolder(layout.bundle(id));
  writeRecord(layout.recordCopy(id), preparation.record);
  makeFolder(layout.rootfs(id));
  mountOverlay(layersOf(preparation.request), disk + "/upper", disk + "/work", layout.rootfs(id));

  preparation.mounted = std::make_shared<Preparation::Mounted>(layout.rootfs(id));
  auto& mounted = *preparation.mounted;
  mounted.user = resolveUser(mounted.root.read("/etc/passwd"), mounted.root.read("/etc/group"),
                             checked.user.c_str(), preparation.request.getSpec().getGroups());
  setHome(checked.environment, mounted.user.home);
  auto addFile = [&](const std::string& target, const std::string& source, bool readOnly) {
    for (auto& mount : checked.mounts) {
      if (mount.target == target) return;
    }
    auto path = mounted.tree.makeTarget(target, false).path;
    mounted.mounts.push_back({path, "bind", source, {"bind", "rprivate", readOnly ? "ro" : "rw"}});
    mounted.tree.mount(path, source, false, readOnly);
  };
  kj::StringPtr hostname = checked.hostname.c_str();
  auto hosts = hostsText(preparation.request, hostname, readSmallFile("/etc/hosts"));
  auto resolver = resolvText(preparation.request, hostResolvConf());
  writeNew(disk + "/hosts", hosts.asBytes());
  writeNew(disk + "/hostname", kj::str(hostname, "\n").asBytes());
  writeNew(disk + "/resolv.conf", resolver.asBytes());
  bool readOnly = preparation.request.getSpec().getReadOnly();
  for (auto name : {"hosts", "hostname", "resolv.conf"}) {
    addFile(std::string("/etc/") + name, disk + "/" + name, readOnly);
  }
  if (!checked.initProgram.empty()) addFile("/sbin/docker-init", checked.initProgram, true);
}

// False if it has to wait; see `needs`.
bool BundleMaker::addMount(Preparation& preparation, const CheckedMount& mount, bool mayCopy) {
  auto& mounted = *preparation.mounted;
  auto& id = preparation.id;
  BundleMount ready{"", "bind", mount.source, mount.options};
  auto target = mounted.tree.makeTarget(mount.target, mount.isFolder);
  ready.target = target.path;
  std::string source = mount.source;
  switch (mount.kind) {
    case CheckedMount::Kind::BIND:
      break;
    case CheckedMount::Kind::TMPFS: {
      // crun gives it the mode that it is asked for, runc that of the folder below: so both are
      // the same. A folder of the user's own stays as it is.
      unsigned mode = mount.mode;
      if (target.inRoot) mounted.root.setMode(target.path, mode);
      if (!target.inRoot && target.mode != 0) mode = target.mode;
      char option[24];
      snprintf(option, sizeof(option), "mode=%o", mode);
      ready.options.push_back(option);
      ready.type = ready.source = "tmpfs";
      source.clear();
      break;
    }
    case CheckedMount::Kind::VOLUME: {
      auto use = volumes.use(mount.source, id, mounted.root, mount.target, mayCopy);
      preparation.needs =
          use.locked ? Preparation::Needs::VOLUME : Preparation::Needs::TURN_TO_COPY;
      preparation.volume = mount.source;
      if (use.data.empty()) return false;
      source = use.data;
      break;
    }
    case CheckedMount::Kind::OWN_VOLUME:
      preparation.needs = Preparation::Needs::TURN_TO_COPY;
      if (!mayCopy) return false;
      source = layout.disk(id) + "/volumes/" + mount.source + "/_data";
      makeFolders(source.substr(0, source.rfind('/')));
      makeFolder(source, 0755);
      copyFromImage(mounted.root, mount.target, source);
      break;
  }
  if (ready.type == "bind") ready.source = source;
  mounted.tree.mount(target.path, source, mount.isFolder, mount.readOnly);
  mounted.mounts.push_back(ready);
  return true;
}

void BundleMaker::finish(Preparation& preparation) {
  auto& id = preparation.id;
  auto& mounted = *preparation.mounted;
  auto& checked = preparation.checked;
  if (checked.workdir != "/") mounted.tree.makeFolder(checked.workdir);
  BundleInput input{
      preparation.request, checked, mounted.user,         layout.rootfs(id), cgroups.pathOf(id),
      mounted.mounts,      "",      cgroups.limitsSwap(), ceiling,           hiddenPaths};
  if (options.filterByAnnotation) input.seccompFilter = filters.filterBase64(checked.capabilities);
  writeNew(layout.bundle(id) + "/config.json", bytesOf(ociConfig(input)));
}

kj::Maybe<kj::String> BundleMaker::whyNotCreated(const Preparation& preparation) const {
  for (auto& folder : {layout.data, layout.run}) {
    if (takesNothing(folder)) {
      return kj::str("no space is left; free some on the file system of '", folder.c_str(), "'");
    }
  }
  if (preparation.mounted == nullptr) return nullptr;
  return whyNotRunnable(preparation.mounted->tree, preparation.checked);
}

void BundleMaker::takeAway(const std::string& id) {
  unmount(layout.rootfs(id));
  if (!cgroups.remove(id)) {
    fail(kj::str("cannot remove the cgroup '", cgroups.pathOf(id).c_str(),
                 "': something in it still runs"));
  }
  removeTree(layout.bundle(id));
  unlink(layout.exitFile(id).c_str());
  volumes.release(id);
  // The record goes last: until then a crash leaves something that is found again.
  for (auto name : {"/upper", "/work", "/work.empty", "/volumes"}) {
    removeTree(layout.disk(id) + name);
  }
  removeTree(layout.disk(id));
}

std::vector<kj::AutoCloseFd> BundleMaker::killProcesses(const std::string& id) const {
  // conmon first: it would go on to start what its `create` left.
  std::vector<int> pids;
  for (int pid : processesWithArgument(layout.bundle(id))) {
    // Somebody may just be reading a file there.
    if (runsOneOf(pid, {options.conmon, options.program})) pids.push_back(pid);
  }
  for (int pid : cgroups.processes(id)) pids.push_back(pid);
  std::vector<kj::AutoCloseFd> killed;
  for (int pid : pids) {
    KJ_IF_MAYBE (fd, openProcess({pid, startTicks(pid)})) {
      if (sendSignal(*fd, SIGKILL)) killed.push_back(kj::mv(*fd));
    }
  }
  return killed;
}

}  // namespace orch::runtime
