#include "uri.h"

#include <kj/string.h>

#include <algorithm>

#include "address.h"
#include "orch/attempt.h"
#include "orch/fail.h"

namespace orch::discovery {

namespace {

constexpr std::string_view HUB_FORM =
    "accepted: token://host:port/v1/TOKEN, or token+http://… for a hub without TLS";

[[noreturn]] void refuseHub(std::string_view text, std::string_view why) {
  fail(kj::str("'", std::string(text.substr(0, 200)).c_str(), "' ", std::string(why).c_str()));
}

// `host` or `host:port`, as an address would have it.
std::string parseHubHost(std::string_view text, std::string_view host) {
  bool six = !host.empty() && host.back() == ']';
  bool port = !six && host.find(':') != host.npos;
  auto address = attemptNow([&] { return parseAddress(std::string(host) + (port ? "" : ":1")); });
  if (!address.ok()) refuseHub(text, std::string("has no host; ") + std::string(HUB_FORM));
  auto& checked = address.value();
  return port ? checked : checked.substr(0, checked.size() - 2);
}

bool isPath(std::string_view path) {
  return !path.empty() && path.front() != '/' && path.back() != '/' &&
         path.find("//") == path.npos && path.find("..") == path.npos &&
         std::all_of(path.begin(), path.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-' || c == '_' || c == '.' || c == '/';
         });
}

// `text` without a token; `path` as it stands behind the host, without slashes around it.
HubUri hubAt(std::string_view text, const Uri& uri, std::string_view host, std::string_view path) {
  if (!isPath(path)) refuseHub(text, std::string("has no path; ") + std::string(HUB_FORM));
  auto place = parseHubHost(text, host) + "/" + std::string(path);
  return {(uri.scheme == "token" ? "https://" : "http://") + place, uri.scheme + "://" + place, ""};
}

Uri splitHub(std::string_view text) {
  if (text.size() > 512) refuseHub(text, "is longer than 512 bytes");
  auto uri = splitUri(text);
  if (uri.scheme != "token" && uri.scheme != "token+http") {
    refuseHub(text, std::string("is no hub; ") + std::string(HUB_FORM));
  }
  return uri;
}

}  // namespace

Uri splitUri(std::string_view text) {
  auto at = text.find("://");
  if (at == text.npos) return {"", std::string(text)};
  std::string scheme(text.substr(0, at));
  for (auto& c : scheme) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return {scheme, std::string(text.substr(at + 3))};
}

std::string parseFileUri(std::string_view text) {
  auto uri = splitUri(text);
  bool good = uri.scheme == "file" && uri.rest.size() > 1 && uri.rest[0] == '/' &&
              uri.rest.back() != '/' && uri.rest.find('\0') == std::string::npos &&
              ("/" + uri.rest + "/").find("/../") == std::string::npos;
  if (!good) refuseHub(text, "is no file; accepted: file:///absolute/path");
  return uri.rest;
}

bool isToken(std::string_view text) {
  return !text.empty() && text.size() <= 128 && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
  });
}

HubUri parseHubUri(std::string_view text) {
  auto uri = splitHub(text);
  std::string_view rest = uri.rest;
  auto slash = rest.find('/');
  if (slash == rest.npos) {
    refuseHub(text, std::string("names no hub, and the public one of docker is shut; ") +
                        std::string(HUB_FORM));
  }
  if (rest.back() == '/') return parseHub(text);
  auto last = rest.rfind('/');
  auto token = rest.substr(last + 1);
  if (!isToken(token)) refuseHub(text, std::string("has no token; ") + std::string(HUB_FORM));
  auto path = last == slash ? "v1" : rest.substr(slash + 1, last - slash - 1);
  auto hub = hubAt(text, uri, rest.substr(0, slash), path);
  hub.token = token;
  return hub;
}

HubUri parseHub(std::string_view text) {
  auto uri = splitHub(text);
  std::string_view rest = uri.rest;
  while (!rest.empty() && rest.back() == '/') rest.remove_suffix(1);
  auto slash = rest.find('/');
  auto path = slash == rest.npos ? "v1" : rest.substr(slash + 1);
  return hubAt(text, uri, rest.substr(0, slash), path);
}

}  // namespace orch::discovery
