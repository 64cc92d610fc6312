// Affinity: near a task of a service, or away from all of them. The service is meant by its name,
// its image or a label.
#pragma once

#include "lib/expression-filter.h"

namespace orch::filter::affinity {

class Affinity final : public Meaning {
 public:
  Dialect dialect() const override { return {"affinity"_kj, "service"_kj}; }
  void describe(kj::StringPtr text, const Expression& expression,
                schema::Rule::Builder rule) const override;
  bool holds(const Expression& expression, const std::vector<std::string>& keys,
             capnp::List<capnp::Text>::Reader values) const override;
};

inline constexpr Affinity AFFINITY;

}  // namespace orch::filter::affinity
