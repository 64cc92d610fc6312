// A filter whose expressions are those of expression.h, as a plugin.
#pragma once

#include "lib/expression.h"
#include "orch/plugin.h"
#include "orch/schema/filter.capnp.h"

namespace orch::filter {

// What tells one from another. Without state.
class Meaning {
 public:
  virtual Dialect dialect() const = 0;
  // Fails with `usage: …` if the expression cannot mean anything.
  virtual void describe(kj::StringPtr text, const Expression& expression,
                        schema::Rule::Builder rule) const = 0;
  // Whether it is so; `values` are of the rule's keys.
  virtual bool holds(const Expression& expression, const std::vector<std::string>& keys,
                     capnp::List<capnp::Text>::Reader values) const = 0;

 protected:
  ~Meaning() = default;
};

// Remembers what it has parsed: at most as many expressions as services commonly have.
schema::Filter::Client newFilter(const Meaning& meaning);

template <const auto& MEANING, typename Config>
class FilterPlugin final : public PluginInstance {
 public:
  FilterPlugin(Env&, Host& host, typename Config::Reader) : host(host) {}
  Task<Services> start() override {
    Services services;
    services.add(host.node().instance, newFilter(MEANING));
    co_return kj::mv(services);
  }

 private:
  Host& host;
};

}  // namespace orch::filter
