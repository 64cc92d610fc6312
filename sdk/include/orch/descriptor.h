// What a plugin's file says of itself before anything in it runs: plain arrays in the ELF section
// `.orch.plugin`, read from the file. The section `.orch.schema` beside it holds the compiled
// config.capnp (a CodeGeneratorRequest, with the comments of the fields).
#pragma once

#include <cstdint>

namespace orch {

inline constexpr char DESCRIPTOR_MAGIC[9] = "ORCHPLG1";
inline constexpr uint32_t DESCRIPTOR_VERSION = 2;
inline constexpr int MAX_REQUIRES = 8;

// What a plugin in a process of its own keeps of the host's rights beside `capabilities`.
inline constexpr uint64_t HOST_MOUNTS = 1;     // its mounts are the host's and stay when it ends
inline constexpr uint64_t NEW_PRIVILEGES = 2;  // what it starts may gain rights that it has not

// Appended to, never reordered. Texts end with a zero and are padded with zeros.
struct PluginDescriptor {
  char magic[8];     // DESCRIPTOR_MAGIC
  uint32_t size;     // of this struct
  uint32_t version;  // DESCRIPTOR_VERSION
  char abiId[128];   // isolation `kernel` needs the kernel's own
  char sdkVersion[16];
  uint32_t capnpVersion;  // CAPNP_VERSION
  uint32_t reserved;
  uint64_t settingsType;  // id of the struct in .orch.schema
  char kind[32];          // `scheduler`
  char name[32];          // `spread`
  char pluginVersion[16];
  char requires_[MAX_REQUIRES]
                [64];            // kinds (`store`) or plugins (`store.local`) that must run first
  char calls[MAX_REQUIRES][64];  // kinds, plugins or services that it calls when they are there
  uint64_t capabilities;         // 1 << CAP_…: what it asks for in a process of its own
  uint64_t keeps;                // HOST_MOUNTS, NEW_PRIVILEGES
};
static_assert(sizeof(PluginDescriptor) ==
              8 + 4 + 4 + 128 + 16 + 4 + 4 + 8 + 32 + 32 + 16 + 2 * 512 + 2 * 8);

}  // namespace orch
