// `--format`: templates as docker's users type them, of which this much: paths (`{{.Spec.Name}}`),
// `json`, `join`, `index`, `len`, `lower`, `upper`, `title`, `println`, `eq`, `|`, brackets,
// `range` and `if` with `else`, `{{-` and `-}}`. No variables but `$`. `json` alone is `{{json
// .}}`.
#pragma once

#include <capnp/dynamic.h>
#include <kj/string.h>

namespace orch::cli {

// What a row of a list has for a template: docker's names of the columns.
struct Field {
  kj::StringPtr name;
  kj::StringPtr text;
};

// Both fail with `usage: …` on what is no template, and on a field that there is not, with those
// that there are. `\t` and `\n` stand for themselves.
kj::String expandRow(kj::StringPtr text, kj::ArrayPtr<const Field> row);
// Fields by the names of sdk/schema, capitals or not, with or without the unit at their end (a time
// without it is a date), and by docker's where those are others (`.Spec.TaskTemplate`). Those of
// `meta` are the object's own, and lists of keys and values are maps.
kj::String expandObject(kj::StringPtr text, capnp::DynamicStruct::Reader object);

}  // namespace orch::cli
