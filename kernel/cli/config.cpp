#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "orchd.h"
#include "output.h"

namespace orch::cli {

namespace {

constexpr Option SHOW_OPTIONS[] = {
    {"--defaults", nullptr,
     "Show also what the manifest leaves to the defaults, with what it means"},
};

Task<int> checkConfig(Context& context) {
  kj::Vector<kj::String> arguments;
  arguments.add(kj::str("--check"));
  if (context.out.json) arguments.add(kj::str("--json"));
  for (auto& operand : context.args.operands()) arguments.add(kj::str(operand));
  becomeOrchd(arguments.releaseAsArray());
  co_return 1;
}

Task<int> show(Context& context) {
  auto kernel = co_await context.connection.kernel();
  auto request = kernel.configShowRequest();
  request.setDefaults(context.args.on("--defaults"));
  auto response = co_await request.send();
  schema::Kernel::ConfigShowResults::Reader answer = response;
  if (!context.out.wroteJson(capnp::toDynamic(answer))) context.out.write(answer.getToml());
  co_return 0;
}

Task<int> reload(Context& context) {
  auto kernel = co_await context.connection.kernel();
  auto response = co_await kernel.configReloadRequest().send();
  schema::Kernel::ConfigReloadResults::Reader answer = response;
  if (context.out.wroteJson(capnp::toDynamic(answer))) co_return 0;
  for (auto text : response.getApplied()) context.out.line("applied: ", text);
  for (auto text : response.getNeedRestart()) context.out.line("needs a restart of orchd: ", text);
  if (response.getApplied().size() + response.getNeedRestart().size() == 0) {
    context.out.line("nothing has changed");
  }
  co_return 0;
}

}  // namespace

const Command CONFIG_CHECK = {"config check",
                              "[FILE]",
                              "Say whether a manifest is valid, without a running orchd",
                              {},
                              checkConfig};
const Command CONFIG_SHOW = {"config show", "", "Show the manifest that orchd runs with",
                             SHOW_OPTIONS, show};
const Command CONFIG_RELOAD = {
    "config reload", "", "Read the manifest again and apply what can be applied", {}, reload};

}  // namespace orch::cli
