#include "orch/plugin.h"

#include <dlfcn.h>
#include <kj/debug.h>

#include <climits>
#include <cstdlib>
#include <cstring>

#include "config.capnp.h"
#include "image-store.h"
#include "orch/fail.h"

namespace orch::image::oci {
namespace {

// As images name architectures, which is Go's way.
constexpr const char* ARCHITECTURE =
#if defined(__x86_64__)
    "amd64";
#elif defined(__aarch64__)
    "arm64";
#elif defined(__riscv) && __riscv_xlen == 64
    "riscv64";
#elif defined(__powerpc64__) && defined(__LITTLE_ENDIAN__)
    "ppc64le";
#elif defined(__s390x__)
    "s390x";
#else
#error "which architecture do images for this machine name?"
#endif

// <folder>/plugins/image.oci.so and <folder>/orch-image-unpack
std::string unpackerBesideThisFile() {
  Dl_info info;
  KJ_REQUIRE(dladdr(reinterpret_cast<void*>(&unpackerBesideThisFile), &info) != 0,
             "this plugin is in no file");
  char path[PATH_MAX];
  KJ_REQUIRE(realpath(info.dli_fname, path) != nullptr, "this plugin's file has gone",
             info.dli_fname);
  *strrchr(path, '/') = '\0';
  return std::string(path) + "/../orch-image-unpack";
}

StoreSettings settingsOf(const NodeFacts& node, Config::Reader config) {
  StoreSettings settings;
  settings.root = config.getRoot().cStr();
  if (settings.root.empty()) {
    settings.root = std::string(node.dataDir.cStr()) + "/" + node.instance.cStr();
  }
  if (settings.root.front() != '/') {
    fail(kj::str("root '", settings.root.c_str(), "' is no absolute path"));
  }
  settings.unpacker = config.getUnpacker().cStr();
  if (settings.unpacker.empty()) settings.unpacker = unpackerBesideThisFile();
  settings.skopeo.program = config.getSkopeo().cStr();
  if (settings.skopeo.program.empty()) fail(kj::str("skopeo must name a program"));
  settings.skopeo.authFile = config.getAuthFile().cStr();
  settings.skopeo.policy = config.getPolicy().cStr();
  for (auto name : config.getInsecureRegistries()) {
    settings.skopeo.insecureRegistries.push_back(name.cStr());
  }
  settings.skopeo.architecture = ARCHITECTURE;
  settings.pullTimeout = config.getPullTimeoutSeconds() * kj::SECONDS;
  settings.unpackTimeout = config.getUnpackTimeoutSeconds() * kj::SECONDS;
  settings.concurrentTransfers = config.getConcurrentTransfers();
  settings.maxLayerBytes = config.getMaxLayerBytes();
  settings.keepBlobs = config.getKeepBlobs();
  return settings;
}

class Oci final : public PluginInstance {
 public:
  Oci(Env& env, Host& host, Config::Reader config)
      : host(host), store(env, host, settingsOf(host.node(), config)) {}

  Task<void> recover() override { return store.recover(); }
  Task<Services> start() override {
    Services services;
    services.add(host.node().instance, newImageService(store));
    co_return kj::mv(services);
  }

 private:
  Host& host;
  ImageStore store;
};

}  // namespace
}  // namespace orch::image::oci

// For the layers of images: owners and modes, devices, trusted.* attributes, and to remove what is
// there. CAP_SETPCAP, so that the unpacker can drop what it does not need.
ORCH_PLUGIN("image", "oci", "1.0.0", orch::image::oci::Oci, orch::image::oci::Config,
            orch::Capabilities{CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID, CAP_SETPCAP,
                               CAP_MKNOD, CAP_SETFCAP, CAP_SYS_ADMIN})
