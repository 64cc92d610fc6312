#include "runnable.h"

#include <cstdio>

namespace orch::runtime {

namespace {

std::string variable(const std::vector<std::string>& environment, const std::string& name) {
  for (auto& entry : environment) {
    if (entry.compare(0, name.size() + 1, name + "=") == 0) return entry.substr(name.size() + 1);
  }
  return "";
}

// Empty if it can be executed by somebody; else what it is instead.
std::string fault(const ContainerTree::Entry& entry) {
  using Kind = ContainerTree::Kind;
  if (entry.kind == Kind::NOTHING) return "the container has no such file";
  if (entry.kind == Kind::FOLDER) return "it is a folder";
  if (entry.kind == Kind::UNKNOWN || (entry.mode & 0111) != 0) return "";
  char mode[16];
  snprintf(mode, sizeof(mode), "%04o", entry.mode);
  return std::string("it is not executable (its mode is ") + mode + ")";
}

}  // namespace

kj::Maybe<kj::String> whyNotRunnable(const ContainerTree& tree, const CheckedRequest& checked) {
  auto& name = checked.arguments[0];
  if (name.find('/') != std::string::npos) {
    bool absolute = name[0] == '/';
    auto why = fault(tree.look(absolute ? name : checked.workdir + "/" + name));
    if (why.empty()) return nullptr;
    return kj::str("cannot run '", name.c_str(), "': ", why.c_str());
  }
  auto path = variable(checked.environment, "PATH");
  std::string why;
  for (size_t begin = 0; begin < path.size();) {
    size_t end = std::min(path.find(':', begin), path.size());
    auto candidate = path.substr(begin, end - begin) + "/" + name;
    begin = end + 1;
    auto entry = tree.look(candidate);
    if (entry.kind == ContainerTree::Kind::NOTHING) continue;
    auto found = fault(entry);
    if (found.empty()) return nullptr;
    if (why.empty()) why = "of '" + candidate + "': " + found;
  }
  if (why.empty()) why = "none of the folders of PATH (" + path + ") in the container has it";
  return kj::str("cannot run '", name.c_str(), "': ", why.c_str());
}

void setHome(std::vector<std::string>& environment, const std::string& home) {
  for (auto& entry : environment) {
    if (entry.compare(0, 5, "HOME=") != 0) continue;
    if (entry.size() == 5) entry += home;
    return;
  }
  environment.push_back("HOME=" + home);
}

}  // namespace orch::runtime
