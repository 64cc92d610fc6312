// `user[:group]` of a container, looked up in its own /etc/passwd and /etc/group.
#pragma once

#include <kj/string.h>

#include <cstdint>
#include <string>
#include <vector>

#include "orch/schema/objects.capnp.h"

namespace orch::runtime {

struct UserIds {
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::vector<uint32_t> groups;  // supplementary, with gid first as docker does; no duplicates
  std::string home = "/";        // what HOME is unless somebody says so
};

// `user` may be empty (root), a name or a number, with `:group` behind it. A number needs no entry.
// Without a group: that of passwd, else 0, plus all groups that list the user. `extraGroups` are
// names or numbers. Lines are read as leniently as docker does: space around them does not count,
// fields at the end may be missing. Fails with a text that names what cannot be found.
UserIds resolveUser(kj::StringPtr passwd, kj::StringPtr group, kj::StringPtr user,
                    capnp::List<capnp::Text>::Reader extraGroups);

}  // namespace orch::runtime
