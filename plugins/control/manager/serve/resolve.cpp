#include "serve/resolve.h"

#include <algorithm>

#include "decide/slot-rules.h"
#include "orch/fail.h"
#include "orch/suggest.h"

namespace orch::control::manager {

namespace {
constexpr size_t MAX_LISTED = 5;
constexpr const char* TASK_LIST = "; see 'orch task ls'";

std::string byPrefix(const View& view, Kind kind, kj::StringPtr typed,
                     const std::vector<std::string>& names) {
  auto noun = traitsOf(kind).name;
  if (typed.size() == 0) fail(kj::str("usage: the name or id of a ", noun, " is needed"));
  auto ids = view.idsWithPrefix(kind, manager::view(typed), MAX_LISTED + 1);
  if (ids.size() == 1) return ids[0];
  if (ids.empty()) {
    auto meant = suggestion(manager::view(typed), names);
    fail(kj::str("no ", noun, " '", typed, "'", kind == Kind::TASK ? TASK_LIST : meant.c_str()));
  }
  std::string list;
  for (size_t i = 0; i < std::min(ids.size(), MAX_LISTED); ++i) {
    list += (i > 0 ? ", " : "") + ids[i].substr(0, std::max<size_t>(12, typed.size() + 4));
  }
  if (ids.size() > MAX_LISTED) list += ", …";
  fail(kj::str("'", typed, "' is the beginning of more than one ", noun, " id: ", list.c_str(),
               "; give more of it"));
}
}  // namespace

std::string suggestion(std::string_view typed, const std::vector<std::string>& names) {
  kj::Vector<kj::StringPtr> known;
  for (auto& name : names) known.add(name.c_str());
  return orch::suggestion(kj::heapString(typed.data(), typed.size()), known).cStr();
}

std::string resolveService(const View& view, kj::StringPtr typed) {
  auto named = view.serviceNamed(manager::view(typed));
  if (!named.empty()) return named;
  return byPrefix(view, Kind::SERVICE, typed, view.serviceNames());
}

std::string resolveNetwork(const View& view, kj::StringPtr typed) {
  auto named = view.networkNamed(manager::view(typed));
  if (!named.empty()) return named;
  return byPrefix(view, Kind::NETWORK, typed, view.networkNames());
}

std::string resolveTask(const View& view, kj::StringPtr typed) {
  std::string_view whole = manager::view(typed);
  size_t dot = whole.rfind('.');
  if (dot == std::string_view::npos) return byPrefix(view, Kind::TASK, typed, {});
  // web.1.<id>
  auto last = whole.substr(dot + 1);
  if (last.size() == FULL_ID && view.task(last) != nullptr) return std::string(last);
  auto serviceId = view.serviceNamed(whole.substr(0, dot));
  if (serviceId.empty()) {
    auto service = whole.substr(0, dot);
    auto meant = suggestion(service, view.serviceNames());
    fail(kj::str("no task '", typed, "': there is no service '", std::string(service).c_str(), "'",
                 meant.empty() ? TASK_LIST : meant.c_str()));
  }
  auto service = KJ_ASSERT_NONNULL(view.service(serviceId)).getSpec().getName();
  kj::Vector<kj::String> names;
  for (auto& slot : view.slots(serviceId)) {
    if (slot.tasks.empty()) continue;
    if (nameOf(slot.key) == last) return slot.tasks.back().id();
    if (names.size() < MAX_LISTED) {
      names.add(kj::str(service, ".", nameOf(slot.key).c_str()));
    } else if (names.size() == MAX_LISTED) {
      names.add(kj::str("…"));
    }
  }
  fail(kj::str("no task '", typed, "': service '", service, "' has ",
               names.empty() ? kj::str("none") : kj::strArray(names, ", "),
               "; see 'orch service ps ", service, "'"));
}

std::string resolveNode(const View& view, kj::StringPtr typed, kj::StringPtr ownId) {
  if (typed == "self") return byPrefix(view, Kind::NODE, ownId, {});
  std::vector<std::string> names;
  std::string found;
  for (auto node : view.nodes()) {
    auto name = text(node.getDescription().getHostname());
    names.push_back(name);
    if (name != typed.cStr()) continue;
    if (!found.empty()) fail(kj::str("more than one node is called '", typed, "'; give its id"));
    found = text(node.getMeta().getId());
  }
  if (!found.empty()) return found;
  return byPrefix(view, Kind::NODE, typed, names);
}

}  // namespace orch::control::manager
