// What a plugin's file says of itself before anything in it runs: plain arrays in the ELF section
// `.orch.plugin`, read from the file. The section `.orch.schema` beside it holds the compiled
// config.capnp (a CodeGeneratorRequest, with the comments of the fields).
#pragma once

#include <cstdint>

namespace orch {

inline constexpr char DESCRIPTOR_MAGIC[9] = "ORCHPLG1";
inline constexpr uint32_t DESCRIPTOR_VERSION = 1;
inline constexpr int MAX_REQUIRES = 8;

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
                [64];  // kinds (`store`) or plugins (`store.local`) that must run first
};
static_assert(sizeof(PluginDescriptor) == 8 + 4 + 4 + 128 + 16 + 4 + 4 + 8 + 32 + 32 + 16 + 512);

}  // namespace orch
