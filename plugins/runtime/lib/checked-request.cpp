#include "checked-request.h"

#include <kj/debug.h>
#include <kj/encoding.h>
#include <strings.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "orch/fail.h"
#include "orch/kernel-names.h"
#include "signals.h"

namespace orch::runtime {

namespace {
std::string nameIn(const std::string& entry) { return entry.substr(0, entry.find('=')); }
}  // namespace

void mustBeText(kj::StringPtr what, kj::StringPtr text) {
  // A program would get what is before it.
  if (text.findFirst('\0') != nullptr) fail(kj::str(what, " has a NUL byte in it"));
  // The runtime reads JSON, which holds nothing else.
  if (kj::encodeUtf32(text).hadErrors) fail(kj::str(what, " is not valid UTF-8"));
}

void setVariable(std::vector<std::string>& environment, kj::StringPtr entry) {
  std::string text = entry.cStr();
  std::string key = nameIn(text);
  auto same = std::find_if(environment.begin(), environment.end(),
                           [&](auto& old) { return nameIn(old) == key; });
  if (text.find('=') == std::string::npos) {  // a bare name takes the variable away, as in docker
    if (same != environment.end()) environment.erase(same);
  } else if (same != environment.end()) {
    *same = text;
  } else {
    environment.push_back(text);
  }
}

namespace {

constexpr kj::StringPtr DEFAULT_PATH =
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"_kj;
constexpr const char* PROPAGATIONS[] = {"rprivate", "private", "rshared",
                                        "shared",   "rslave",  "slave"};
// A namespace's own; others would change the host (moby, opts/opts.go, ValidateSysctl).
constexpr const char* SYSCTL_PREFIXES[] = {"net.", "kernel.msg", "kernel.shm", "fs.mqueue."};
constexpr const char* INIT_PROGRAMS[] = {"/usr/bin/tini-static", "/usr/bin/docker-init",
                                         "/usr/libexec/docker/docker-init"};
constexpr uint64_t MIN_MEMORY_BYTES = 4ull << 20;
constexpr uint64_t MIN_CPU_NANOS = 1'000'000;
constexpr size_t MAX_NAME_BYTES = 64;

std::vector<std::string> environmentOf(schema::ContainerRequest::Reader request,
                                       const std::string& hostname) {
  std::vector<std::string> environment;
  setVariable(environment, DEFAULT_PATH);
  setVariable(environment, kj::str("HOSTNAME=", hostname.c_str()));
  if (request.getSpec().getTty()) setVariable(environment, "TERM=xterm");
  for (auto entry : request.getImage().getEnv()) {
    mustBeText(kj::str("env '", entry.cStr(), "' of the image"), entry);
    setVariable(environment, entry);
  }
  for (auto entry : request.getSpec().getEnv()) {
    mustBeText(kj::str("env '", entry.cStr(), "'"), entry);
    if (entry.size() == 0 || entry[0] == '=') {
      fail(kj::str("env '", entry, "' has no name: write KEY=value"));
    }
    setVariable(environment, entry);
  }
  return environment;
}

std::vector<std::string> argumentsOf(schema::ContainerRequest::Reader request) {
  auto spec = request.getSpec();
  auto image = request.getImage();
  std::vector<std::string> arguments;
  auto append = [&](capnp::List<capnp::Text>::Reader list) {
    for (auto text : list) {
      mustBeText(kj::str("argument '", text.cStr(), "'"), text);
      arguments.push_back(text.cStr());
    }
  };
  // One empty text is how docker writes "no entrypoint": of an image, or taken away by the user.
  auto appendEntrypoint = [&](capnp::List<capnp::Text>::Reader list) {
    if (list.size() != 1 || list[0].size() > 0) append(list);
  };
  if (spec.getCommand().size() > 0) {
    appendEntrypoint(spec.getCommand());
    append(spec.getArgs());
  } else {
    appendEntrypoint(image.getEntrypoint());
    append(spec.getArgs().size() > 0 ? spec.getArgs() : image.getCommand());
  }
  if (arguments.empty()) {
    fail(kj::str("no command: image '", spec.getImage(), "' names none; give one"));
  }
  if (arguments[0].empty()) fail(kj::str("no command: the program's name is empty"));
  return arguments;
}

std::string hostnameOf(schema::ContainerRequest::Reader request) {
  auto given = request.getSpec().getHostname();
  if (given.size() > 0) {
    bool bad = given.size() > 63 || given[0] == '-' || given[given.size() - 1] == '-';
    for (char c : given) {
      bad = bad || !(isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '.' || c == '_');
    }
    if (bad) {
      fail(kj::str("hostname '", given,
                   "' is invalid: letters, digits, '-', '_' and '.', at most 63"));
    }
    return given.cStr();
  }
  if (request.getNetwork().isHost()) {
    char name[256] = "";
    gethostname(name, sizeof(name) - 1);
    return name;
  }
  return std::string(request.getId().cStr()).substr(0, 12);
}

CheckedMount checkBind(schema::Mount::Reader mount, CheckedMount checked) {
  auto source = mount.getSource();
  if (!source.startsWith("/")) {
    fail(kj::str("bind source '", source, "' is not an absolute path"));
  }
  checked.kind = CheckedMount::Kind::BIND;
  checked.source = source.cStr();
  kj::StringPtr propagation = mount.getPropagation();
  if (propagation.size() == 0) propagation = "rprivate";
  bool known = false;
  for (auto name : PROPAGATIONS) known = known || propagation == name;
  if (!known) {
    fail(kj::str("propagation '", propagation, "' of the mount at '", mount.getTarget(),
                 "' is unknown: rprivate, private, rshared, shared, rslave or slave"));
  }
  checked.options = {"rbind", propagation.cStr()};
  return checked;
}

CheckedMount checkMount(schema::Mount::Reader mount, unsigned& ownVolumes) {
  auto target = mount.getTarget();
  mustBeText("a mount's target", target);
  mustBeText("a mount's source", mount.getSource());
  if (!target.startsWith("/")) {
    fail(kj::str("mount target '", target, "' is not an absolute path"));
  }
  CheckedMount checked{CheckedMount::Kind::TMPFS, "", normalPath(target), {}, mount.getReadOnly()};
  if (checked.target == "/") fail(kj::str("mount target '", target, "' is the root itself"));
  switch (mount.getType()) {
    case schema::Mount::Type::BIND:
      checked = checkBind(mount, checked);
      break;
    case schema::Mount::Type::VOLUME:
      if (mount.getSource().size() > 0) {
        checkVolumeName(mount.getSource());
        checked.kind = CheckedMount::Kind::VOLUME;
        checked.source = mount.getSource().cStr();
      } else {
        checked.kind = CheckedMount::Kind::OWN_VOLUME;
        checked.source = std::to_string(ownVolumes++);
      }
      checked.options = {"rbind", "rprivate"};
      break;
    case schema::Mount::Type::TMPFS: {
      if (mount.getTmpfsMode() > 07777) {
        fail(kj::str("tmpfs mode of the mount at '", target, "' is not within 0 and 07777"));
      }
      checked.mode = mount.getTmpfsMode();
      checked.options = {"noexec", "nosuid", "nodev"};
      if (mount.getTmpfsSizeBytes() > 0) {
        checked.options.push_back("size=" + std::to_string(mount.getTmpfsSizeBytes()));
      }
      break;
    }
  }
  checked.options.push_back(mount.getReadOnly() ? "ro" : "rw");
  return checked;
}

std::vector<CheckedMount> mountsOf(schema::ContainerRequest::Reader request) {
  std::map<std::string, CheckedMount> byTarget;  // a folder sorts before what is in it
  unsigned ownVolumes = 0;
  for (auto mount : request.getSpec().getMounts()) {
    auto checked = checkMount(mount, ownVolumes);
    if (byTarget.count(checked.target) > 0) {
      fail(kj::str("mount target '", checked.target.c_str(), "' is given twice"));
    }
    byTarget.emplace(checked.target, checked);
  }
  for (auto target : request.getImage().getVolumes()) {
    auto path = normalPath(kj::str("/", target));  // `./data` and `data` are meant from the root
    if (path == "/" || byTarget.count(path) > 0) continue;
    byTarget.emplace(path, CheckedMount{CheckedMount::Kind::OWN_VOLUME,
                                        std::to_string(ownVolumes++),
                                        path,
                                        {"rbind", "rprivate", "rw"}});
  }
  std::vector<CheckedMount> mounts;
  for (auto& entry : byTarget) mounts.push_back(entry.second);
  return mounts;
}

std::vector<CheckedRlimit> rlimitsOf(schema::ContainerSpec::Reader spec) {
  std::vector<CheckedRlimit> limits;
  for (auto ulimit : spec.getUlimits()) {
    std::string type;
    for (auto name : ULIMIT_NAMES) {
      if (ulimit.getName() == name) type = std::string("RLIMIT_") + name;
    }
    if (type.empty()) {
      fail(kj::str("unknown ulimit '", ulimit.getName(), "': use a name such as nofile or nproc"));
    }
    for (auto& c : type) c = toupper(c);
    if (ulimit.getSoft() < -1 || ulimit.getHard() < -1) {
      fail(kj::str("ulimit '", ulimit.getName(), "' is below -1 (unlimited)"));
    }
    auto soft = static_cast<uint64_t>(ulimit.getSoft());
    auto hard = static_cast<uint64_t>(ulimit.getHard());
    if (soft > hard) {
      fail(kj::str("ulimit '", ulimit.getName(), "': the soft limit is above the hard one"));
    }
    limits.push_back({type, soft, hard});
  }
  return limits;
}

void checkSysctls(schema::ContainerRequest::Reader request) {
  for (auto sysctl : request.getSpec().getSysctls()) {
    auto key = sysctl.getKey();
    bool allowed = key == "kernel.sem";
    for (auto prefix : SYSCTL_PREFIXES) allowed = allowed || key.startsWith(prefix);
    if (!allowed) {
      fail(kj::str("sysctl '", key,
                   "' belongs to the host: only net.*, kernel.msg*, kernel.sem, "
                   "kernel.shm* and fs.mqueue.* are a container's own"));
    }
    if (request.getNetwork().isHost() && key.startsWith("net.")) {
      fail(kj::str("sysctl '", key, "' would change the host: the task uses the host's network"));
    }
  }
}

void checkLimits(schema::ContainerRequest::Reader request) {
  auto resources = request.getResources();
  auto memory = resources.getLimitMemoryBytes();
  if (memory > 0 && memory < MIN_MEMORY_BYTES) {
    fail(kj::str("memory limit ", memory, " is below the minimum of 4 MiB"));
  }
  auto cpu = resources.getLimitCpuNanos();
  if (cpu > 0 && cpu < MIN_CPU_NANOS) {
    fail(kj::str("cpu limit of ", cpu, " billionths is below the minimum of 0.001 cores"));
  }
  auto swap = resources.getMemorySwapBytes();
  if (swap < -1 || (swap > 0 && static_cast<uint64_t>(swap) < memory)) {
    fail(kj::str("memory plus swap ", swap, " is below the memory limit ", memory));
  }
  auto oom = request.getSpec().getOomScoreAdj();
  if (oom < -1000 || oom > 1000) {
    fail(kj::str("oom score adjustment ", oom, " is not within -1000 and 1000"));
  }
}

std::string initOf(schema::ContainerSpec::Reader spec) {
  if (!spec.getInit()) return "";
  for (auto path : INIT_PROGRAMS) {
    if (access(path, X_OK) == 0) return path;
  }
  fail(kj::str("an init was asked for, but this node has none (", INIT_PROGRAMS[0], " or ",
               INIT_PROGRAMS[1], "): install tini"));
}

std::string propagationOf(schema::ContainerSpec::Reader spec) {
  std::string root;
  for (auto mount : spec.getMounts()) {
    auto name = mount.getPropagation();
    if (mount.getType() != schema::Mount::Type::BIND) continue;
    if (name.endsWith("shared")) return "shared";
    if (name.endsWith("slave")) root = "slave";
  }
  return root;
}

}  // namespace

CheckedRequest checkRequest(schema::ContainerRequest::Reader request) {
  auto spec = request.getSpec();
  auto image = request.getImage();
  checkId(request.getId());
  CheckedRequest checked;
  checked.arguments = argumentsOf(request);
  checked.hostname = hostnameOf(request);
  checked.environment = environmentOf(request, checked.hostname);
  kj::StringPtr workdir = spec.getWorkdir().size() > 0 ? spec.getWorkdir() : image.getWorkdir();
  if (workdir.size() == 0) workdir = "/";
  if (!workdir.startsWith("/")) {
    fail(kj::str("working directory '", workdir, "' is not an absolute path"));
  }
  mustBeText("the working directory", workdir);
  checked.workdir = normalPath(workdir);
  mustBeText("the user", spec.getUser());
  checked.user = (spec.getUser().size() > 0 ? spec.getUser() : image.getUser()).cStr();
  checked.stopSignal =
      signalNumber(spec.getStopSignal().size() > 0 ? spec.getStopSignal() : image.getStopSignal());
  checked.capabilities = capabilitiesFor(spec.getCapAdd(), spec.getCapDrop(), lastCapability());
  checked.mounts = mountsOf(request);
  checked.rlimits = rlimitsOf(spec);
  for (auto entry : spec.getHosts()) {
    auto colon = entry.findFirst(':').orDefault(0);
    if (colon == 0 || colon + 1 == entry.size()) {
      fail(kj::str("host entry '", entry, "' is not of the form name:address"));
    }
  }
  checkSysctls(request);
  checkLimits(request);
  checked.initProgram = initOf(spec);
  checked.rootPropagation = propagationOf(spec);
  if (!checked.initProgram.empty()) {
    checked.arguments.insert(checked.arguments.begin(), {"/sbin/docker-init", "--"});
  }
  return checked;
}

void checkId(kj::StringPtr id) {
  bool bad = id.size() == 0 || id.size() > MAX_NAME_BYTES || id == "state" || id == "exits";
  for (size_t i = 0; i < id.size(); ++i) {
    bool alnum = (id[i] >= 'a' && id[i] <= 'z') || (id[i] >= '0' && id[i] <= '9');
    bad = bad || !(alnum || (i > 0 && (id[i] == '_' || id[i] == '.' || id[i] == '-')));
  }
  if (bad) {
    fail(kj::str("container id '", id, "' is invalid: [a-z0-9][a-z0-9_.-]*, at most 64"));
  }
}

void checkVolumeName(kj::StringPtr name) {
  bool bad = name.size() == 0 || name.size() > 255 || !isalnum(static_cast<unsigned char>(name[0]));
  for (char c : name) {
    bad = bad || !(isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.' || c == '-');
  }
  if (bad) fail(kj::str("volume name '", name, "' is invalid: [a-zA-Z0-9][a-zA-Z0-9_.-]*"));
}

std::string normalPath(kj::StringPtr path) {
  std::string normal = std::filesystem::path(path.cStr()).lexically_normal().string();
  while (normal.size() > 1 && normal.back() == '/') normal.pop_back();
  size_t slashes = normal.find_first_not_of('/');
  if (slashes == std::string::npos) return "/";
  return normal.substr(slashes - 1);
}

}  // namespace orch::runtime
