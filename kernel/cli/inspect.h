// `inspect`: objects by name, as a JSON array (as docker), by a template, or for humans.
#pragma once

#include "arguments.h"
#include "connection.h"
#include "output.h"

namespace orch::cli {

#define ORCH_FORMAT_OPTION \
  { "-f,--format", "FORMAT", "Print json, or what a template as '{{.Spec.Name}}' says of each" }
inline constexpr Option INSPECT_OPTIONS[] = {
    ORCH_FORMAT_OPTION,
    {"--pretty", nullptr, "Print for humans instead of as JSON"},
};

// Of a command that shows one object and has ORCH_FORMAT_OPTION: prints it as a template or --json
// want it. False: it is for humans.
bool printedFor(Context& context, capnp::DynamicStruct::Reader object);

// Collects what was found and prints it at the end; names that are not found are told one by one
// and make the exit status 1.
class Inspection final {
 public:
  explicit Inspection(Context& context);

  void found(capnp::DynamicStruct::Reader object);
  void add(kj::String text) { texts.add(kj::mv(text)); }
  bool asPretty() const { return context.args.on("--pretty") && !context.out.json; }
  // Wrong connections are not a matter of one name: they are thrown on.
  void missing(kj::Exception& error);
  int finish();

 private:
  Context& context;
  kj::StringPtr format;  // the template; empty: none
  kj::Vector<kj::String> texts;
};

// Asks for each operand with `ask(name)`; `get(response)` is the object.
template <typename Ask, typename Get>
Task<int> inspectEach(Context& context, Ask ask, Get get) {
  Inspection inspection(context);
  for (auto& name : context.args.operands()) {
    auto response = co_await attempt(ask(name));
    if (response.ok()) {
      inspection.found(capnp::toDynamic(get(response.value())));
    } else {
      inspection.missing(response.error());
    }
  }
  co_return inspection.finish();
}

// The same of objects of the cluster, which `Request` asks for by name or id: the whole of a
// command.
template <auto Request, auto Get>
Task<int> inspectInCluster(Context& context) {
  auto cluster = co_await context.connection.cluster();
  auto ask = [&](kj::StringPtr name) {
    auto request = (cluster.*Request)(nullptr);
    request.setId(name);
    return request.send();
  };
  auto get = [&](auto& response) {
    context.connection.noteAge(response);
    return (response.*Get)();
  };
  co_return co_await inspectEach(context, ask, get);
}

}  // namespace orch::cli
