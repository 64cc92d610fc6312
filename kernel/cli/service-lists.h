// The flags of a service that may be given more than once: one row each, from which its options,
// its help and what it does to a spec follow.
#pragma once

#include <capnp/dynamic.h>

#include "arguments.h"
#include "entry.h"

namespace orch::cli {

using ListItem = capnp::Orphan<capnp::DynamicValue>;
using ListItems = kj::Vector<ListItem>;
using AnyReader = capnp::DynamicValue::Reader;

// What the value of a flag is read with.
struct ListParsing {
  capnp::Orphanage orphanage;
  const LookUp& lookUp;
  ListItems items;
};

// The groups of help, in their order.
inline constexpr const char* GROUP_FREQUENT = "Frequent";
inline constexpr const char* GROUP_CONTAINER = "Container";
inline constexpr const char* GROUP_RESOURCES = "Resources";
inline constexpr const char* GROUP_NETWORK = "Network";
inline constexpr const char* GROUP_RESTART = "Restarts and updates";
inline constexpr const char* GROUP_PLACEMENT = "Placement and logs";
inline constexpr const char* GROUP_INEFFECTIVE = "Without effect here";

struct ServiceList {
  const char* names;  // of `service create`: `-e,--env`; update has `--env-add` and `--env-rm`
  const char* value;
  const char* removal;  // what `--env-rm` takes
  const char* what;     // `an environment variable`
  const char* group;
  const char* path;  // in the ServiceSpec: `task.container.env`
  void (*parse)(kj::StringPtr flag, kj::StringPtr text, ListParsing& parsing);
  // What is added takes the place of what has the same key.
  kj::String (*key)(AnyReader item);
  // Whether what was typed after `--env-rm` names it; null: by its key or as a whole.
  bool (*removes)(kj::StringPtr typed, AnyReader item) = nullptr;
  bool (*replaces)(AnyReader fresh, AnyReader old) = nullptr;  // null: by the key
  bool createOnly = false;
  bool once = false;  // the same key twice is refused on create
};
kj::ArrayPtr<const ServiceList> serviceLists();

// The struct in `spec` that holds what `path` leads to, of which the field's name is left.
capnp::DynamicStruct::Builder holderOf(schema::ServiceSpec::Builder spec, kj::StringPtr& path);

// Part of applyOptions (service-spec.h). On update, first removes, then adds. What a `--…-rm` names
// and is not there goes to `absent`, one text each.
void applyLists(const Arguments& args, schema::ServiceSpec::Builder spec, const LookUp& lookUp,
                kj::Vector<kj::String>& absent);

}  // namespace orch::cli
