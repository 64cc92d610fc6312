#include "unpack/layer-path.h"

#include <limits.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "orch/fail.h"

namespace orch::image::oci {

namespace {

constexpr unsigned MAX_LINKS = 40;  // as the kernel's own (MAXSYMLINKS)

[[noreturn]] void refuse(const char* what, std::string_view name, kj::StringPtr why) {
  fail(kj::str("its ", what, " '", std::string(name.substr(0, 300)).c_str(), "' ", why));
}

void checkLimits(const std::string& path, const char* what) {
  if (path.size() >= PATH_MAX) refuse(what, path, kj::str("is longer than a path may be"));
  if (std::count(path.begin(), path.end(), '/') >= MAX_LAYER_DEPTH) {
    refuse(what, path, kj::str("is deeper than ", MAX_LAYER_DEPTH, " folders"));
  }
}

// Puts the parts of a path on a stack, the first on top.
void pushParts(std::vector<std::string>& stack, std::string_view path) {
  size_t end = path.size();
  while (end > 0) {
    auto slash = path.rfind('/', end - 1);
    size_t begin = slash == std::string_view::npos ? 0 : slash + 1;
    auto part = path.substr(begin, end - begin);
    if (!part.empty() && part != ".") stack.emplace_back(part);
    end = slash == std::string_view::npos ? 0 : slash;
  }
}

std::string parentOf(const std::string& path) {
  auto slash = path.rfind('/');
  return slash == std::string::npos ? std::string() : path.substr(0, slash);
}

}  // namespace

std::string plainPath(std::string_view path) {
  std::string plain;
  for (size_t begin = 0; begin < path.size();) {
    size_t end = std::min(path.find('/', begin), path.size());
    auto part = path.substr(begin, end - begin);
    begin = end + 1;
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      plain = parentOf(plain);
    } else {
      plain += (plain.empty() ? "" : "/") + std::string(part);
    }
  }
  return plain;
}

std::string cleanPath(std::string_view name, const char* what) {
  std::string clean;
  for (size_t begin = 0; begin < name.size();) {
    size_t end = std::min(name.find('/', begin), name.size());
    auto part = name.substr(begin, end - begin);
    begin = end + 1;
    if (part.empty() || part == ".") continue;
    if (part == "..") refuse(what, name, "leads out of the layer"_kj);
    if (!clean.empty()) clean += '/';
    clean += part;
  }
  checkLimits(clean, what);
  return clean;
}

std::string followLinks(const std::string& path) {
  std::string done;  // no part of it is a link
  std::vector<std::string> left;
  pushParts(left, path);
  unsigned links = 0;
  while (!left.empty()) {
    auto part = std::move(left.back());
    left.pop_back();
    if (part == "..") {
      done = parentOf(done);
      continue;
    }
    auto here = done.empty() ? part : done + '/' + part;
    checkLimits(here, "entry");
    char target[PATH_MAX];
    ssize_t size = readlink(here.c_str(), target, sizeof(target));
    if (size < 0) {  // no link, or not there at all
      done = std::move(here);
      continue;
    }
    if (++links > MAX_LINKS) refuse("entry", path, "goes through too many symbolic links"_kj);
    if (size > 0 && target[0] == '/') done.clear();
    pushParts(left, std::string_view(target, size));
  }
  return done;
}

std::string followParents(const std::string& path) {
  auto slash = path.rfind('/');
  if (slash == std::string::npos) return path;
  auto folder = followLinks(path.substr(0, slash));
  auto whole = folder.empty() ? path.substr(slash + 1) : folder + path.substr(slash);
  checkLimits(whole, "entry");
  return whole;
}

}  // namespace orch::image::oci
