// Constraints: what a node has to be. Any key is taken; which there are the manager knows.
#pragma once

#include <algorithm>

#include "lib/expression-filter.h"

namespace orch::filter::constraint {

class Constraint final : public Meaning {
 public:
  Dialect dialect() const override { return {"constraint"_kj, "node.labels.zone"_kj}; }

  void describe(kj::StringPtr text, const Expression& expression,
                schema::Rule::Builder rule) const override {
    rule.setSubject(schema::Rule::Subject::NODE);
    auto keys = expression.keys();
    auto list = rule.initKeys(keys.size());
    for (uint32_t i = 0; i < list.size(); ++i) list.set(i, keys[i].c_str());
    rule.initRefusals(1).set(0, kj::str("constraint ", text, " not met"));
    std::string key, value;
    if (!expression.isPlain(key, value)) return;
    auto remedy = rule.initRemedy();
    remedy.setKey(key.c_str());
    remedy.setValue(value.c_str());
  }

  bool holds(const Expression& expression, const std::vector<std::string>& keys,
             capnp::List<capnp::Text>::Reader values) const override {
    return expression.isMetBy([&](std::string_view key) {
      auto at = std::find(keys.begin(), keys.end(), key) - keys.begin();
      return std::string(values[static_cast<uint32_t>(at)].cStr());
    });
  }
};

inline constexpr Constraint CONSTRAINT;

}  // namespace orch::filter::constraint
