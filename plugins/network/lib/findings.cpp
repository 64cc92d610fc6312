#include "lib/findings.h"

#include <algorithm>

namespace orch::network {

namespace {
bool sameThing(const Finding& a, const Finding& b) {
  return a.network == b.network && a.object == b.object;
}
bool holds(const std::vector<Finding>& list, const Finding& one) {
  return std::any_of(list.begin(), list.end(), [&](auto& each) { return sameThing(each, one); });
}
}  // namespace

void Findings::compare(kj::StringPtr object, kj::StringPtr expected, kj::StringPtr found) {
  ++count;
  if (expected == found) return;
  list.push_back({network, object.cStr(), expected.cStr(), found.cStr()});
}

void Findings::add(const Findings& others) {
  count += others.count;
  list.insert(list.end(), others.list.begin(), others.list.end());
}

void Findings::repairedBut(const Findings& left) {
  for (auto& finding : list) finding.repaired = !holds(left.list, finding);
  for (auto& finding : left.list) {
    if (!holds(list, finding)) list.push_back(finding);
  }
}

void Findings::write(schema::NetworkChecker::CheckResults::Builder results) const {
  results.setThings(count);
  auto out = results.initFindings(list.size());
  for (uint32_t i = 0; i < out.size(); ++i) {
    out[i].setNetwork(list[i].network.c_str());
    out[i].setObject(list[i].object.c_str());
    out[i].setExpected(list[i].expected.c_str());
    out[i].setFound(list[i].found.c_str());
    out[i].setRepaired(list[i].repaired);
  }
}

}  // namespace orch::network
