#include "lib/testing/checked.h"

#include "orch/attempt.h"
#include "orch/fail.h"
#include "orch/testing/test-host.h"

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

std::vector<std::string> topicsOf(const testing::TestHost& host) {
  std::vector<std::string> topics;
  for (auto& event : host.events()) topics.push_back(event.topic);
  return topics;
}

std::string errorOf(kj::FunctionParam<void()> run) {
  auto outcome = attemptNow([&] { run(); });
  return outcome.ok() ? "" : plainText(outcome.error()).cStr();
}

}  // namespace orch::network
