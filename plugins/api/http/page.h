// The dashboard: the files of page/, which the build puts into the plugin. The same for everybody;
// what it shows it asks for.
#pragma once

#include <kj/common.h>

#include <string_view>

#include "request.h"

namespace orch::api::http {

struct PageFile {
  std::string_view name, text;
};
// The build writes this.
kj::ArrayPtr<const PageFile> pageFiles();

// `/` and `/page/…`.
bool isPage(const std::string& path);
kj::Maybe<Answer> pageAt(const std::string& path);

}  // namespace orch::api::http
