#include "runc.h"

namespace orch::runtime::runc {

Options options(Config::Reader settings) {
  // runc compiles the seccomp profile of config.json itself, and works on hybrid hosts.
  return optionsFrom("runc", settings);
}

}  // namespace orch::runtime::runc
