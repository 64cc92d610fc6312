#include "orch/plugin.h"

#include "config.capnp.h"
#include "crun.h"
#include "oci-plugin.h"

namespace orch::runtime::crun {
namespace {

class Crun final : public OciPlugin {
 public:
  Crun(Env& env, Host& host, Config::Reader settings) : OciPlugin(env, host, options(settings)) {}
};

}  // namespace
}  // namespace orch::runtime::crun

ORCH_PLUGIN("runtime", "crun", "1.0.0", orch::runtime::crun::Crun, orch::runtime::crun::Config,
            orch::Everything{})
