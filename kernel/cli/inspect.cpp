#include "inspect.h"

#include "orch/fail.h"
#include "pretty.h"
#include "template.h"

namespace orch::cli {

bool printedFor(Context& context, capnp::DynamicStruct::Reader object) {
  auto format = context.args.text("--format");
  if (format.size() > 0 && context.out.json) fail(kj::str("usage: --format excludes --json"));
  if (format.size() == 0) return context.out.wroteJson(object);
  context.out.line(expandObject(format, object));
  return true;
}

Inspection::Inspection(Context& context) : context(context) {
  format = context.args.text("--format");
  if (format.size() > 0 && (context.out.json || context.args.on("--pretty"))) {
    fail(kj::str("usage: --format excludes --json and --pretty"));
  }
}

void Inspection::found(capnp::DynamicStruct::Reader object) {
  texts.add(format.size() > 0 ? expandObject(format, object)
            : asPretty()      ? pretty(object)
                              : toJson(object, false));
}

void Inspection::missing(kj::Exception& error) {
  if (error.getType() == kj::Exception::Type::DISCONNECTED) kj::throwFatalException(kj::mv(error));
  context.failed(error);
}

int Inspection::finish() {
  if (format.size() > 0) {
    for (auto& text : texts) context.out.line(text);
  } else if (asPretty()) {
    context.out.write(kj::strArray(texts, "\n"));
  } else {
    context.out.documents(texts);
  }
  return context.status;
}

}  // namespace orch::cli
