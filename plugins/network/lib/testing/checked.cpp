#include "lib/testing/checked.h"

namespace orch::network {

std::vector<std::string> linesOf(capnp::List<schema::NetworkFinding>::Reader findings) {
  std::vector<std::string> lines;
  auto text = [](kj::StringPtr what) { return what.size() > 0 ? what : "nothing"_kj; };
  for (auto one : findings) {
    lines.push_back(kj::str(one.getObject(), ": ", text(one.getExpected()), ", found ",
                            text(one.getFound()), one.getRepaired() ? " repaired" : "")
                        .cStr());
  }
  return lines;
}

}  // namespace orch::network
