// Objects in rows, as `ls` and `ps` print them: a table, ids (--quiet), the objects (--json), or
// what --format says of each.
#pragma once

#include "command.h"
#include "output.h"

namespace orch::cli {

#define ORCH_LIST_OPTIONS                                                                      \
  {"--format", "FORMAT", "Print a table, json, or a template as '{{.ID}}' ('table {{.ID}}')"}, \
      {"-q,--quiet", nullptr, "Print ids only"}, {"--no-trunc", nullptr, "Do not shorten ids"},

// A column: docker's name for it in a template, and its heading. Without a name it is of the table
// only, without a heading of templates only.
struct Column {
  const char* field;
  const char* heading;
};

class Listing final {
 public:
  // Fails if --format is none, before anything is asked. `columns` outlive it.
  Listing(Context& context, kj::ArrayPtr<const Column> columns);

  // An id of the cluster as the options want it.
  kj::String id(kj::StringPtr whole) const;
  // One row: a cell for each column. The rows of one object, called `id`, follow each other.
  void row(kj::StringPtr id, capnp::DynamicStruct::Reader object, kj::Array<kj::String> cells);
  void finish();

 private:
  kj::String expand(kj::ArrayPtr<const kj::String> cells) const;
  kj::Array<kj::String> shown(kj::ArrayPtr<kj::String> cells) const;

  Context& context;
  kj::ArrayPtr<const Column> columns;
  kj::String format;  // the template; empty: none
  bool asTable;
  Table table;
  kj::Vector<kj::String> documents;
  kj::String last;
};

}  // namespace orch::cli
