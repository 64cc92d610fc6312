#include "page.h"

namespace orch::api::http {

namespace {

// Nothing from elsewhere, and nobody may show it as a part of theirs.
constexpr const char* POLICY =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const char* typeOf(std::string_view name) {
  if (name.ends_with(".js")) return "text/javascript; charset=utf-8";
  if (name.ends_with(".css")) return "text/css; charset=utf-8";
  return "text/html; charset=utf-8";
}

const PageFile* find(const std::string& path) {
  std::string_view name = path;
  name.remove_prefix(path.starts_with("/page/") ? 6 : 1);
  if (path == "/") name = "index.html";
  for (auto& file : pageFiles()) {
    if (file.name == name) return &file;
  }
  return nullptr;
}

}  // namespace

bool isPage(const std::string& path) { return path == "/" || path.starts_with("/page/"); }

kj::Maybe<Answer> pageAt(const std::string& path) {
  auto* file = isPage(path) ? find(path) : nullptr;
  if (file == nullptr) return nullptr;
  Answer answer;
  answer.type = typeOf(file->name);
  answer.body = file->text;
  answer.headers.emplace_back("Content-Security-Policy", POLICY);
  answer.headers.emplace_back("Referrer-Policy", "no-referrer");
  return kj::mv(answer);
}

}  // namespace orch::api::http
