// Opens a checked plugin file in this process. Never closes it: objects, exceptions and vtables of
// it may live on anywhere.
#pragma once

#include "kernel/plugin/elf-reader.h"
#include "orch/env.h"
#include "orch/schema/plugin.capnp.h"

namespace orch::plugin {

using CreateFunction = void (*)(Env& env, schema::Plugin::Client* out);

// Blocks. A file that has taken the place of one that is loaded is another one. Fails if the file
// needs another ABI than `orch_plugin_create` of this build, if the linker refuses it, or if the
// symbol is missing.
CreateFunction loadPlugin(const PluginFile& file);

}  // namespace orch::plugin
