// What the user gets to see. Text is collected and written in one piece; a reader that went away
// (`orch service ls | head -1`) ends the program quietly.
#pragma once

#include <capnp/dynamic.h>
#include <kj/string.h>
#include <kj/vector.h>

#include "orch/json/json.h"
#include "table.h"

namespace orch::cli {

class Output final {
 public:
  // Borrows the descriptors.
  Output(int out, int errors);
  ~Output() noexcept(false) {}
  KJ_DISALLOW_COPY(Output);

  // Asked for with --json: then stdout carries JSON and nothing else.
  bool json = false;

  bool terminal() const { return isTerminal; }
  unsigned columns() const;  // of the terminal; 80 if unknown

  void write(kj::ArrayPtr<const char> text);
  template <typename... Parts>
  void line(Parts&&... parts) {
    write(kj::str(kj::fwd<Parts>(parts)..., '\n'));
  }
  void table(const Table& table) { write(table.text(isTerminal ? columns() : 0)); }
  // With --json prints a document, and that is all there is to print; otherwise false.
  bool wroteJson(capnp::DynamicStruct::Reader value, bool oneLine = false);
  bool wroteJson(capnp::DynamicList::Reader value);
  // An array of documents that are JSON already.
  void documents(kj::ArrayPtr<const kj::String> items);
  // One in a line, or an array of texts.
  void names(kj::ArrayPtr<const kj::String> items);
  // What a flush has not written yet is written at the latest after 64 KiB.
  void flush();

  // To stderr, at once, with `orch: ` before it.
  void error(kj::StringPtr text);
  void toErrors(kj::ArrayPtr<const char> text);  // as it is
  // The terminal has shown `^C`.
  void interrupted() { lineOpen = true; }

 private:
  int out;
  int errors;
  bool isTerminal;
  bool lineOpen = false;  // what was written last has no end of line yet
  kj::Vector<char> pending;
};

// Thrown on a reader that went away; has no text, so that nothing is printed.
[[noreturn]] void throwReaderGone();

}  // namespace orch::cli
