#include "decide/mode.h"

namespace orch::control::manager {

const Mode* modeOf(schema::ServiceSpec::Reader spec) {
  switch (spec.getMode().which()) {
    case schema::ServiceSpec::Mode::REPLICATED:
      return &REPLICATED;
    case schema::ServiceSpec::Mode::GLOBAL:
      return nullptr;  // not available yet
  }
  return nullptr;
}

}  // namespace orch::control::manager
