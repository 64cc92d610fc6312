// For tests: the service of `integration.template`. It keeps up two files, and a rendered text says
// what was asked.
#pragma once

#include "orch/schema/template.capnp.h"

namespace orch::cli {

class RecordingTemplates final : public schema::Templates::Server {
 public:
  kj::Promise<void> render(RenderContext context) override {
    auto params = context.getParams();
    kj::Vector<kj::String> variables;
    for (auto one : params.getVariables()) {
      variables.add(kj::str(" ", one.getKey(), "=", one.getValue()));
    }
    context.getResults().setText(
        kj::str("<", params.getText(), ">", kj::strArray(variables, ""), "\n"));
    return kj::READY_NOW;
  }
  kj::Promise<void> list(ListContext context) override {
    auto all = context.getResults().initTemplates(2);
    all[0].setSource("/etc/orch/web.ctmpl");
    all[0].setDestination("/etc/nginx/web.conf");
    all[0].setState(schema::TemplateStatus::State::RENDERED);
    all[1].setSource("/etc/orch/keys.ctmpl");
    all[1].setDestination("/etc/keys");
    all[1].setReason("waits for key 'a'");
    return kj::READY_NOW;
  }
};

}  // namespace orch::cli
