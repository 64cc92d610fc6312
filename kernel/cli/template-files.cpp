#include <fcntl.h>
#include <kj/io.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "display.h"
#include "human.h"
#include "listing.h"
#include "orch/durable-file.h"

namespace orch::cli {

namespace {

constexpr kj::StringPtr TEMPLATE_PLUGIN = "integration.template"_kj;
constexpr size_t MAX_TEMPLATE_BYTES = 1 << 20;
constexpr mode_t RENDERED_MODE = 0644;

#define ORCH_TEMPLATE_PLUGIN \
  { "--plugin", "PLUGIN", "The plugin that is asked, if it is not integration.template" }

constexpr Option TEMPLATE_LS_OPTIONS[] = {ORCH_TEMPLATE_PLUGIN, ORCH_LIST_OPTIONS};
constexpr Option TEMPLATE_RENDER_OPTIONS[] = {
    {"-o,--output", "FILE", "Write it into this file, if it is another text, and not to stdout"},
    {"--dry", nullptr, "Print what --output would write"},
    {"--once", nullptr, "Render it once and end; there is nothing else that it does"},
    ORCH_TEMPLATE_PLUGIN};
constexpr Column TEMPLATE_COLUMNS[] = {{"Destination", "DESTINATION"},
                                       {"Source", "SOURCE"},
                                       {"State", "STATE"},
                                       {"Rendered", "RENDERED"},
                                       {"Reason", "REASON"}};

kj::StringPtr pluginOf(const Arguments& args) {
  return args.given("--plugin") ? args.text("--plugin") : TEMPLATE_PLUGIN;
}

Task<int> listTemplates(Context& context) {
  Listing list(context, TEMPLATE_COLUMNS);
  auto templates = co_await context.connection.templates(pluginOf(context.args));
  auto response = co_await templates.listRequest().send();
  auto now = context.env.nowNs();
  for (auto one : response.getTemplates()) {
    auto at = one.getRenderedAtNs();
    auto rendered = at == 0 ? kj::str("-") : kj::str(humanDuration(now - at), " ago");
    list.row(
        one.getDestination(), one,
        kj::arr(kj::str(one.getDestination()), kj::str(one.getSource()),
                capitalized(nameOf(one.getState())), kj::mv(rendered), kj::str(one.getReason())));
  }
  list.finish();
  co_return 0;
}

// Of the file, or of stdin for `-`.
kj::String readTemplate(kj::StringPtr name) {
  kj::AutoCloseFd file;
  int fd = STDIN_FILENO;
  if (name != "-") {
    fd = open(name.cStr(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) failFile("read", name.cStr(), errno);
    file = kj::AutoCloseFd(fd);
  }
  kj::Vector<char> text;
  char buffer[16 << 10];
  for (;;) {
    auto bytes = read(fd, buffer, sizeof buffer);
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes < 0) failFile("read", name.cStr(), errno);
    if (bytes == 0) break;
    text.addAll(buffer, buffer + bytes);
    if (text.size() > MAX_TEMPLATE_BYTES) fail(kj::str("'", name, "' has more than 1 MiB"));
  }
  text.add('\0');
  return kj::String(text.releaseAsArray());
}

// What the template may mean: variables whose names it does not have stay here.
void sendVariables(schema::Templates::RenderParams::Builder params, kj::StringPtr text) {
  kj::Vector<std::pair<kj::String, kj::StringPtr>> found;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    kj::StringPtr whole = *entry;
    KJ_IF_MAYBE (equals, whole.findFirst('=')) {
      auto name = kj::heapString(whole.begin(), *equals);
      if (name.size() == 0 || strstr(text.cStr(), name.cStr()) == nullptr) continue;
      found.add(kj::mv(name), whole.slice(*equals + 1));
    }
  }
  auto variables = params.initVariables(static_cast<uint32_t>(found.size()));
  for (uint32_t i = 0; i < found.size(); ++i) {
    variables[i].setKey(found[i].first);
    variables[i].setValue(found[i].second);
  }
}

bool isAlready(const std::string& path, kj::StringPtr text) {
  kj::AutoCloseFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return false;
  return kj::FdInputStream(file.get()).readAllText() == text;
}

Task<int> renderTemplate(Context& context) {
  auto name = kj::str(context.args.operands()[0]);
  bool dry = context.args.on("--dry");
  if (dry && !context.args.given("--output")) {
    fail(kj::str("usage: --dry says what --output would write; without --output it is printed"));
  }
  auto text = readTemplate(name);
  auto templates = co_await context.connection.templates(pluginOf(context.args));
  auto request = templates.renderRequest();
  request.setName(name);
  request.setText(text);
  sendVariables(request, text);
  auto response = co_await request.send();
  schema::Templates::RenderResults::Reader rendered = response;
  bool writes = context.args.given("--output") && !dry;
  if (writes) {
    std::string path = context.args.text("--output").cStr();
    if (isAlready(path, rendered.getText())) co_return 0;
    replaceFile(path, rendered.getText().asBytes(), Outlives::POWER, RENDERED_MODE);
    co_return 0;
  }
  if (!context.out.wroteJson(capnp::toDynamic(rendered))) context.out.write(rendered.getText());
  co_return 0;
}

}  // namespace

const Command TEMPLATE_LS = {"template ls", "", "List the files that are kept up from templates",
                             TEMPLATE_LS_OPTIONS, listTemplates};
const Command TEMPLATE_RENDER = {"template render", "FILE",
                                 "Print what comes of a template of consul-template's language",
                                 TEMPLATE_RENDER_OPTIONS, renderTemplate};

}  // namespace orch::cli
