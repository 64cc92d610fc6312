// What a template is told while it is rendered: what is known so far. What it asks for is what it
// depends on. Pure.
#pragma once

#include <map>
#include <memory>
#include <set>

#include "language/rendering.h"
#include "query.h"

namespace orch::integration::templates {

// A key that is not there is nil. They never change: a new answer makes a new map.
using Answers = std::map<Query, Value>;
using Variables = std::map<std::string, std::string>;  // of the environment

struct Rendered {
  std::string text;
  std::string problem;      // why there is no text, `NAME:LINE:COLUMN: WHY`; empty: there is
  std::set<Query> used;     // all that it asked for
  std::set<Query> missing;  // of these, what it has to wait for: then neither counts
};

// Blocks for as long as the rendering takes. Never fails.
Rendered renderWith(const Tree& tree, const Answers& answers, const Variables& variables,
                    int64_t nowNs, const RenderOptions& options);

}  // namespace orch::integration::templates
