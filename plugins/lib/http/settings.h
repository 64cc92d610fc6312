// Settings of plugins that are clients of other servers. What is wrong fails, naming the setting.
#pragma once

#include <capnp/blob.h>
#include <capnp/list.h>

#include <string>
#include <vector>

#include "http/endpoint.h"

namespace orch::http {

// `endpoints`, at most 16; `fallback` if there are none.
std::vector<Endpoint> endpointsOf(capnp::List<capnp::Text>::Reader given, kj::StringPtr fallback);
// An absolute path, or nothing.
std::string fileOf(kj::StringPtr setting, kj::StringPtr path);

// A file's setting and what it says.
struct FileSetting {
  kj::StringPtr name;
  kj::StringPtr path;
};
TlsFiles tlsFilesOf(FileSetting ca, FileSetting certificate, FileSetting key);

}  // namespace orch::http
