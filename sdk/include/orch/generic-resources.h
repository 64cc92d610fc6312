// What nodes have beside cores and memory, and what tasks want and have of it: GenericResource of
// objects.capnp.
#pragma once

#include <kj/string.h>

#include <cstdint>
#include <string_view>

#include "orch/schema/objects.capnp.h"

namespace orch {

using GenericResources = capnp::List<schema::GenericResource>;

inline constexpr size_t MAX_RESOURCE_KINDS = 64;  // of a node or a service
inline constexpr size_t MAX_RESOURCE_NAMES = 256;
inline constexpr uint64_t MAX_RESOURCE_AMOUNT = 1'000'000;

// What `accepted` says of a kind and of a name.
inline constexpr kj::StringPtr RESOURCE_KINDS =
    "a kind of 1 to 63 letters, digits, '_', '.' and '-' that begins with a letter or a digit"_kj;
inline constexpr kj::StringPtr RESOURCE_NAMES =
    "names of 1 to 127 bytes without blanks, ',', '=' and control characters"_kj;
bool isResourceKind(std::string_view text);
bool isResourceName(std::string_view text);

// `fpga=2`, `gpu=GPU-1,GPU-2`
kj::String resourceText(schema::GenericResource::Reader resource);
// The amount of that kind; 0 if there is none.
uint64_t amountOf(GenericResources::Reader resources, std::string_view kind);
// The line of a task's environment that says what it has of one: `DOCKER_RESOURCE_GPU=GPU-1,GPU-2`,
// as in swarm mode; of what has no names the amount.
kj::String environmentText(schema::GenericResource::Reader resource);

}  // namespace orch
