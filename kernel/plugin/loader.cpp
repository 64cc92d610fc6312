#include "kernel/plugin/loader.h"

#define BOOST_DLL_USE_STD_FS
#include <boost/dll/shared_library.hpp>
#include <fcntl.h>
#include <kj/debug.h>
#include <kj/io.h>

#include <algorithm>
#include <list>
#include <mutex>

#include "kernel/loop/stack.h"
#include "orch/abi.h"
#include "orch/fail.h"

namespace orch::plugin {

namespace {

using Create = void(Env&, schema::Plugin::Client*);

// What was opened stays so. The list is the process's, as the mappings are.
struct Loaded {
  std::string path;
  FileIdentity identity;
  boost::dll::shared_library library;
  kj::AutoCloseFd folder;  // if it is known to the linker by that
};
struct LoadedFiles {
  std::mutex mutex;
  std::list<Loaded> all;
};
LoadedFiles& loadedFiles() {
  static auto* files = std::make_unique<LoadedFiles>().release();
  return *files;
}

// The linker takes an equal name for an equal file: one that has taken another's place needs a name
// of its own. It is one by which $ORIGIN is found as well.
std::string nameFor(const std::list<Loaded>& all, const std::string& path, Loaded& fresh) {
  bool taken = std::any_of(all.begin(), all.end(), [&](auto& one) { return one.path == path; });
  if (!taken) return path;
  auto slash = path.rfind('/');
  int folder;
  KJ_SYSCALL(folder = open(path.substr(0, slash + 1).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  fresh.folder = kj::AutoCloseFd(folder);
  return kj::str("/proc/self/fd/", folder, path.substr(slash).c_str()).cStr();
}

}  // namespace

CreateFunction loadPlugin(const PluginFile& file) {
  if (std::string(file.descriptor.abiId) != ORCH_ABI_ID) {
    fail(kj::str("plugin file '", file.path.c_str(), "' was built for another ABI (",
                 file.descriptor.abiId, ", this orchd is ", ORCH_ABI_ID,
                 "); rebuild it, or set isolation = \"process\""));
  }
  auto& files = loadedFiles();
  std::lock_guard guard(files.mutex);
  for (auto& one : files.all) {
    if (one.identity == file.identity) return &one.library.get<Create>("orch_plugin_create");
  }
  Loaded fresh{file.path, {}, {}, nullptr};
  auto& library = fresh.library;
  boost::dll::fs::error_code error;
  library.load(nameFor(files.all, file.path, fresh), error,
               boost::dll::load_mode::rtld_now | boost::dll::load_mode::rtld_local);
  if (error) {
    const char* reason = dlerror();  // Boost's own text is "Bad file descriptor" for everything
    fail(kj::str("plugin file '", file.path.c_str(),
                 "' cannot be loaded: ", reason == nullptr ? error.message().c_str() : reason));
  }
  if (!library.has("orch_plugin_create")) {
    fail(kj::str("plugin file '", file.path.c_str(),
                 "' has no symbol orch_plugin_create; use ORCH_PLUGIN of orch/plugin.h"));
  }
  auto& create = library.get<Create>("orch_plugin_create");
  files.all.push_back(std::move(fresh));
  requireSameFile(file);
  files.all.back().identity = file.identity;
  loop::notePluginFile(reinterpret_cast<void*>(&create), file.path.c_str());
  return &create;
}

}  // namespace orch::plugin
