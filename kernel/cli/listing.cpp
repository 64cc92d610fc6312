#include "listing.h"

#include <algorithm>
#include <string>

#include "arguments.h"
#include "human.h"
#include "orch/fail.h"
#include "template.h"

namespace orch::cli {

namespace {

// `CreatedAt` is `CREATED AT`.
kj::String headingOf(const Column& column) {
  if (column.heading != nullptr) return kj::str(column.heading);
  std::string text;
  for (kj::StringPtr rest = column.field; char c : rest) {
    bool capital = c >= 'A' && c <= 'Z';
    if (capital && !text.empty() && c != 'D') text += ' ';
    text += static_cast<char>(capital ? c : c - 'a' + 'A');
  }
  return kj::str(text.c_str());
}

kj::Array<kj::String> cellsOf(kj::StringPtr line) {
  kj::Vector<kj::String> cells;
  for (;;) {
    auto tab = line.findFirst('\t').orDefault(line.size());
    cells.add(kj::heapString(line.begin(), tab));
    if (tab == line.size()) return cells.releaseAsArray();
    line = line.slice(tab + 1);
  }
}

}  // namespace

Listing::Listing(Context& context, kj::ArrayPtr<const Column> columns)
    : context(context), columns(columns) {
  kj::StringPtr asked = context.args.text("--format");
  if (asked.size() > 0 && context.out.json)
    fail(kj::str("usage: --format and --json exclude each other"));
  asTable = asked.size() == 0 || asked.startsWith("table");
  if (asked.startsWith("table")) asked = asked.slice(asked.startsWith("table ") ? 6 : 5);
  format = kj::str(asked);
  auto all = KJ_MAP(column, columns) { return headingOf(column); };
  if (format.size() == 0) {
    table.row(shown(all));
  } else {
    auto heading = expand(all);  // which says early what is wrong with it
    if (asTable) table.row(cellsOf(heading));
  }
}

kj::String Listing::id(kj::StringPtr whole) const {
  return shortId(whole, context.args.on("--no-trunc"));
}

kj::String Listing::expand(kj::ArrayPtr<const kj::String> cells) const {
  kj::Vector<Field> fields;
  for (size_t i = 0; i < columns.size(); ++i) {
    if (columns[i].field != nullptr) fields.add(Field{columns[i].field, cells[i]});
  }
  // As docker's own JSON: by name.
  std::sort(fields.begin(), fields.end(), [](const Field& a, const Field& b) {
    return std::string_view(a.name.cStr()) < b.name.cStr();
  });
  return expandRow(format, fields);
}

kj::Array<kj::String> Listing::shown(kj::ArrayPtr<kj::String> cells) const {
  kj::Vector<kj::String> found;
  for (size_t i = 0; i < columns.size(); ++i) {
    if (columns[i].heading != nullptr) found.add(kj::mv(cells[i]));
  }
  return found.releaseAsArray();
}

void Listing::row(kj::StringPtr id, capnp::DynamicStruct::Reader object,
                  kj::Array<kj::String> cells) {
  bool again = last == id;
  last = kj::str(id);
  if (context.out.json) {
    if (!again) documents.add(toJson(object, true));
  } else if (format.size() > 0 && asTable) {
    table.row(cellsOf(expand(cells)));
  } else if (format.size() > 0) {
    context.out.line(expand(cells));
  } else if (context.args.on("--quiet")) {
    if (!again) context.out.line(id);
  } else {
    table.row(shown(cells));
  }
}

void Listing::finish() {
  if (context.out.json) return context.out.documents(documents);
  bool tabular = format.size() > 0 ? asTable : !context.args.on("--quiet");
  if (tabular) context.out.table(table);
}

}  // namespace orch::cli
