#include "prepare.h"

#include <kj/debug.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "etc-files.h"
#include "file-access.h"
#include "orch/fail.h"
#include "process-table.h"
#include "record.h"

namespace orch::runtime {

namespace {

constexpr unsigned MAX_KILL_ROUNDS = 10;

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

// The three files that are the container's own, whatever the image has there. Not on the run
// folder's tmpfs: the container may write to them as much as it likes.
void addEtcFiles(const BundleInput& input, const std::string& folder,
                 std::vector<BundleMount>& mounts) {
  kj::StringPtr hostname = input.checked.hostname.c_str();
  bool readOnly = input.request.getSpec().getReadOnly();
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
    std::string path = folder + "/" + file.name;
    writeNew(path, file.text.asBytes());
    mounts.push_back({target, "bind", path, {"bind", "rprivate", readOnly ? "ro" : "rw"}});
  }
}

void addUserMounts(const BundleInput& input, const BundleMaker& maker, const std::string& id,
                   const RootFolder& root, std::vector<BundleMount>& mounts) {
  for (auto& mount : input.checked.mounts) {
    BundleMount ready{mount.target, "bind", mount.source, mount.options};
    if (mount.kind == CheckedMount::Kind::TMPFS) {
      ready.type = "tmpfs";
      ready.source = "tmpfs";
    } else if (mount.kind == CheckedMount::Kind::VOLUME) {
      ready.source = maker.volumes.use(mount.source, id, root, mount.target);
    } else if (mount.kind == CheckedMount::Kind::OWN_VOLUME) {
      ready.source = maker.layout.disk(id) + "/volumes/" + mount.source + "/_data";
      makeFolders(ready.source.substr(0, ready.source.rfind('/')));
      makeFolder(ready.source, 0755);
      copyFromImage(root, mount.target, ready.source);
    }
    mounts.push_back(ready);
  }
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
  writeRecord(layout.recordCopy(id), record);
  makeFolder(bundle + "/rootfs");
  mountOverlay(layersOf(request), disk + "/upper", disk + "/work", layout.rootfs(id));

  RootFolder root(layout.rootfs(id));
  auto user = resolveUser(root.read("/etc/passwd"), root.read("/etc/group"), checked.user.c_str(),
                          request.getSpec().getGroups());
  BundleInput input{request,
                    checked,
                    user,
                    layout.rootfs(id),
                    cgroups.pathOf(id),
                    {},
                    "",
                    cgroups.limitsSwap(),
                    ceiling,
                    hiddenPaths};
  std::vector<BundleMount> mounts;
  addEtcFiles(input, disk, mounts);
  if (!checked.initProgram.empty()) {
    mounts.push_back({"/sbin/docker-init", "bind", checked.initProgram, {"bind", "ro"}});
  }
  addUserMounts(input, *this, id, root, mounts);
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
  volumes.release(id);
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
    std::vector<int> pids;
    for (int pid : processesWithArgument(layout.bundle(id))) {
      // Somebody may just be reading a file there.
      if (runsOneOf(pid, {options.conmon, options.program})) pids.push_back(pid);
    }
    for (int pid : cgroups.processes(id)) pids.push_back(pid);
    std::vector<kj::AutoCloseFd> ended;
    for (int pid : pids) {
      KJ_IF_MAYBE (fd, openProcess({pid, startTicks(pid)})) {
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
