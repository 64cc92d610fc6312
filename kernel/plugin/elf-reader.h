// What a plugin's file says of itself, read from the file: nothing in it runs. Comes before dlopen,
// which runs constructors and can kill the process on a truncated file.
#pragma once

#include <kj/array.h>

#include <string>
#include <vector>

#include "orch/descriptor.h"

namespace orch::plugin {

// One file, whatever its name: a file that takes another's place is another one.
struct FileIdentity {
  uint64_t device = 0, number = 0, bytes = 0;
  int64_t changedNs = 0;
  bool operator==(const FileIdentity&) const = default;
};

struct PluginFile {
  std::string path;
  FileIdentity identity;
  PluginDescriptor descriptor;
  kj::Array<kj::byte> schema;  // of .orch.schema
  std::vector<std::string> requirements() const;
  std::vector<std::string> calls() const;
};

// Blocks. Fails with the path and what is wrong: not a regular file, not an ELF file of this
// machine, truncated, no descriptor, another descriptor version, writable by others than its owner;
// so are the folders on the way to it, up to /.
// The kind is OVERLOADED if the file ends too early: it may still be on its way.
PluginFile readPluginFile(const std::string& path);

// Blocks. Fails with OVERLOADED if another file has taken the place of `file`.
void requireSameFile(const PluginFile& file);

}  // namespace orch::plugin
