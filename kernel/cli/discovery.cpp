#include <map>
#include <string>

#include "arguments.h"
#include "commands.h"
#include "connection.h"
#include "display.h"
#include "filter.h"
#include "listing.h"

namespace orch::cli {

namespace {

constexpr Option DISCOVERY_LS_OPTIONS[] = {
    {"-f,--filter", "FILTER", "Only what matches: address=, role=, node=, backend=", true},
    ORCH_LIST_OPTIONS  //
};
constexpr Column DISCOVERY_COLUMNS[] = {{"Address", "ADDRESS"}, {"Role", "ROLE"},
                                        {"Node", "NODE"},       {"Cluster", nullptr},
                                        {"Status", "STATUS"},   {"Backends", "BACKENDS"}};

kj::String roleOf(schema::DiscoveryEntry::Reader entry) {
  bool known = entry.getRole() != schema::DiscoveryEntry::Role::UNKNOWN;
  return known ? kj::str(nameOf(entry.getRole())) : kj::String();
}

Task<int> listDiscovered(Context& context) {
  Filters filters(context.args, {"address", {"role", "manager|worker|unknown"}, "node", "backend"});
  Listing list(context, DISCOVERY_COLUMNS);
  auto discovery = co_await context.connection.discovery();
  auto response = co_await discovery.listRequest().send();
  for (auto row : response.getEntries()) {
    auto entry = row.getEntry();
    bool shown = filters.allowSame("address", entry.getAddress()) &&
                 filters.allowSame("role", nameOf(entry.getRole())) &&
                 filters.allowPrefix("node", entry.getNodeId()) &&
                 filters.allow("backend", [&](auto value) {
                   for (auto name : row.getBackends()) {
                     if (name == value) return true;
                   }
                   return false;
                 });
    if (!shown) continue;
    auto backends = KJ_MAP(name, row.getBackends()) { return kj::str(name); };
    list.row(entry.getAddress(), row,
             kj::arr(kj::str(entry.getAddress()), roleOf(entry), list.id(entry.getNodeId()),
                     kj::str(entry.getClusterDigest()), kj::str(row.getHeld() ? "Held" : ""),
                     kj::strArray(backends, ", ")));
  }
  list.finish();
  for (auto backend : response.getBackends()) {
    if (backend.getError().size() > 0) {
      context.out.error(kj::str("warning: ", backend.getName(), ": ", backend.getError()));
    }
    if (backend.getRegisterError().size() > 0) {
      context.out.error(kj::str("warning: ", backend.getName(),
                                ": this node is not registered: ", backend.getRegisterError()));
    }
  }
  co_return 0;
}

// `+` who came and `-` who went, those who went first.
class ChangePrinter final : public schema::DiscoverySink::Server {
 public:
  explicit ChangePrinter(Output& out) : out(out) {}

  kj::Promise<void> entries(EntriesContext context) override {
    auto params = context.getParams();
    if (!out.wroteJson(capnp::toDynamic(params), true)) print(params.getEntries());
    out.flush();
    return kj::READY_NOW;
  }

 private:
  void print(capnp::List<schema::DiscoveryEntry>::Reader entries) {
    std::map<std::string, std::string> now;
    for (auto entry : entries) {
      auto role = roleOf(entry);
      auto text = kj::str(entry.getAddress(), role.size() > 0 ? " " : "", role,
                          entry.getNodeId().size() > 0 ? " " : "", entry.getNodeId());
      now[entry.getAddress().cStr()] = text.cStr();
    }
    for (auto& [address, text] : before) {
      if (now.count(address) == 0) out.line("- ", text.c_str());
    }
    for (auto& [address, text] : now) {
      auto known = before.find(address);
      if (known == before.end() || known->second != text) out.line("+ ", text.c_str());
    }
    before = std::move(now);
  }
  Output& out;
  std::map<std::string, std::string> before;
};

Task<int> watchDiscovered(Context& context) {
  auto discovery = co_await context.connection.discovery();
  auto request = discovery.watchRequest();
  request.setSink(kj::heap<ChangePrinter>(context.out));
  co_await request.send();
  co_return 0;
}

Task<int> createCluster(Context& context) {
  auto discovery = co_await context.connection.discovery();
  auto request = discovery.createRequest();
  request.setHub(context.args.operands()[0]);
  auto response = co_await request.send();
  schema::NodeDiscovery::CreateResults::Reader made = response;
  if (!context.out.wroteJson(capnp::toDynamic(made))) context.out.line(made.getUri());
  co_return 0;
}

}  // namespace

const Command DISCOVER_LS = {"discovery ls", "",
                             "List the hosts that the backends of discovery name",
                             DISCOVERY_LS_OPTIONS, listDiscovered};
const Command DISCOVER_WATCH = {"discovery watch", "",
                                "Show the hosts that are there, then who comes and goes", nullptr,
                                watchDiscovered};
const Command DISCOVER_CREATE = {"discovery create", "HUB",
                                 "Make a token at a hub (token://HOST:PORT, or token+http://… "
                                 "without TLS) and print its URI for the manifest",
                                 nullptr, createCluster};

}  // namespace orch::cli
