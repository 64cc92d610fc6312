#include "orch/plugin.h"

#include "config.capnp.h"
#include "oci-plugin.h"
#include "runc.h"

namespace orch::runtime::runc {
namespace {

class Runc final : public OciPlugin {
 public:
  Runc(Env& env, Host& host, Config::Reader settings) : OciPlugin(env, host, options(settings)) {}
};

}  // namespace
}  // namespace orch::runtime::runc

ORCH_PLUGIN("runtime", "runc", "1.0.0", orch::runtime::runc::Runc, orch::runtime::runc::Config,
            orch::Everything{})
