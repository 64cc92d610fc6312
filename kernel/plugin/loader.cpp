#include "kernel/plugin/loader.h"

#define BOOST_DLL_USE_STD_FS
#include <boost/dll/shared_library.hpp>

#include <list>
#include <mutex>

#include "kernel/loop/stack.h"
#include "orch/abi.h"
#include "orch/fail.h"

namespace orch::plugin {

namespace {
// Keeps what was opened open. The list is the process's, as the mappings are.
void keepForever(boost::dll::shared_library library) {
  static std::mutex mutex;
  static auto* libraries = std::make_unique<std::list<boost::dll::shared_library>>().release();
  std::lock_guard guard(mutex);
  libraries->push_back(std::move(library));
}
}  // namespace

CreateFunction loadPlugin(const PluginFile& file) {
  if (std::string(file.descriptor.abiId) != ORCH_ABI_ID) {
    fail(kj::str("plugin file '", file.path.c_str(), "' was built for another ABI (",
                 file.descriptor.abiId, ", this orchd is ", ORCH_ABI_ID,
                 "); rebuild it, or set isolation = \"process\""));
  }
  boost::dll::shared_library library;
  boost::dll::fs::error_code error;
  library.load(file.path, error,
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
  auto& create = library.get<void(Env&, schema::Plugin::Client*)>("orch_plugin_create");
  keepForever(std::move(library));
  loop::notePluginFile(reinterpret_cast<void*>(&create), file.path.c_str());
  return &create;
}

}  // namespace orch::plugin
