// `inspect`: objects by name, as a JSON array (as docker), or with --pretty for humans.
#pragma once

#include "arguments.h"
#include "connection.h"
#include "output.h"
#include "pretty.h"

namespace orch::cli {

inline constexpr Option INSPECT_OPTIONS[] = {
    {"--pretty", nullptr, "Print for humans instead of as JSON"},
};

// Collects what was found and prints it at the end; names that are not found are told one by one
// and make the exit status 1.
class Inspection final {
 public:
  explicit Inspection(Context& context) : context(context) {}

  void found(capnp::DynamicStruct::Reader object) {
    texts.add(asPretty() ? pretty(object) : toJson(object, false));
  }
  void add(kj::String text) { texts.add(kj::mv(text)); }
  bool asPretty() const { return context.args.on("--pretty") && !context.out.json; }
  // Wrong connections are not a matter of one name: they are thrown on.
  void missing(kj::Exception& error) {
    if (context.args.operands().size() == 1 ||
        error.getType() == kj::Exception::Type::DISCONNECTED) {
      kj::throwFatalException(kj::mv(error));
    }
    context.out.error(plainText(error));
    status = 1;
  }
  int finish() {
    if (asPretty()) {
      context.out.write(kj::strArray(texts, "\n"));
    } else {
      context.out.documents(texts);
    }
    return status;
  }

 private:
  Context& context;
  kj::Vector<kj::String> texts;
  int status = 0;
};

}  // namespace orch::cli
