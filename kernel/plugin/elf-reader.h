// What a plugin's file says of itself, read from the file: nothing in it runs. Comes before dlopen,
// which runs constructors and can kill the process on a truncated file.
#pragma once

#include <kj/array.h>

#include <string>
#include <vector>

#include "orch/descriptor.h"

namespace orch::plugin {

struct PluginFile {
  std::string path;
  PluginDescriptor descriptor;
  kj::Array<kj::byte> schema;  // of .orch.schema
  std::vector<std::string> requirements() const;
  std::vector<std::string> calls() const;
};

// Blocks. Fails with the path and what is wrong: not a regular file, not an ELF file of this
// machine, truncated, no descriptor, another descriptor version, writable by others than its owner.
// The kind is OVERLOADED if the file ends too early: it may still be on its way.
PluginFile readPluginFile(const std::string& path);

}  // namespace orch::plugin
