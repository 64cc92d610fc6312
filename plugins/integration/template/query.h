// What a template asks for, as its functions write it. Pure.
#pragma once

#include <compare>
#include <string>
#include <vector>

namespace orch::integration::templates {

struct Query {
  enum class Kind { SERVICE, SERVICES, KEY, KEYS, NODE, NODES, DATACENTERS, FILE };
  Kind kind = Kind::SERVICE;
  std::string name;  // of a service, a key, a prefix of keys, a node or a file; empty: see NODE
  std::string tag;   // that a service has; empty: any
  std::string datacenter;  // empty: that of the one who answers
  std::string near;        // a node, or `_agent`; empty: in the order of names
  // Of a service's checks: `passing`, `warning`, `critical`, `maintenance` or `any`; sorted.
  std::vector<std::string> states;

  // `service 'web@dc1'`.
  std::string text() const;
  auto operator<=>(const Query&) const = default;
};

// `function` is that of the template; several arguments of `service` are one, with `|` between
// them. `problem` says what is wrong with them, and what it returns means nothing. A NODE without a
// name is the one of the agent that answers.
Query queryOf(std::string_view function, const std::vector<std::string>& arguments,
              std::string& problem);

}  // namespace orch::integration::templates
