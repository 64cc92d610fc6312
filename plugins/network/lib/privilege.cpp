#include "lib/privilege.h"

#include <kj/debug.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace orch::network {

kj::Maybe<kj::String> missingPrivilege() {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
  KJ_SYSCALL(syscall(SYS_capget, &header, data));
  auto has = [&](unsigned capability) {
    return (data[CAP_TO_INDEX(capability)].effective & CAP_TO_MASK(capability)) != 0;
  };
  bool network = has(CAP_NET_ADMIN), system = has(CAP_SYS_ADMIN);
  if (network && system) return nullptr;
  if (network) return kj::str("CAP_SYS_ADMIN");
  return kj::str(system ? "CAP_NET_ADMIN" : "CAP_NET_ADMIN and CAP_SYS_ADMIN");
}

}  // namespace orch::network
