#include "skopeo.h"

#include <kj/encoding.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>

namespace orch::image::oci {

namespace {

constexpr size_t MAX_REASON = 300;

// What decides how registries are reached and who asks. The rest of the environment is not
// skopeo's.
constexpr const char* INHERITED[] = {"HOME",         "PATH",          "XDG_RUNTIME_DIR",
                                     "HTTP_PROXY",   "HTTPS_PROXY",   "NO_PROXY",
                                     "http_proxy",   "https_proxy",   "no_proxy",
                                     "SSL_CERT_DIR", "SSL_CERT_FILE", "REGISTRY_AUTH_FILE"};

bool insecure(const SkopeoSettings& settings, const Reference& reference) {
  if (reference.loopback()) return true;
  auto host = reference.registry.substr(0, reference.registry.rfind(':'));
  for (auto& name : settings.insecureRegistries) {
    if (name == reference.registry || name == host) return true;
  }
  return false;
}

// The text of msg="…" in a line of logrus, unquoted. Empty if there is none.
std::string messageOf(const std::string& line) {
  constexpr std::string_view KEY = "msg=\"";
  auto begin = line.find(KEY);
  if (begin == std::string::npos) return {};
  std::string text;
  for (size_t i = begin + KEY.size(); i < line.size() && line[i] != '"'; ++i) {
    if (line[i] == '\\' && i + 1 < line.size()) {
      ++i;
      text += line[i] == 'n' || line[i] == 't' ? ' ' : line[i];
    } else {
      text += line[i];
    }
  }
  return text;
}

std::vector<std::string> linesOf(kj::StringPtr text) {
  std::vector<std::string> lines(1);
  for (char c : text) {
    if (c == '\n') {
      lines.emplace_back();
    } else {
      lines.back() += c;
    }
  }
  return lines;
}

std::string shortened(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < ' '; }, ' ');
  if (text.size() > MAX_REASON) text = text.substr(0, MAX_REASON) + "…";
  return text;
}

// skopeo says where it was before it says what was wrong; the caller names the image itself.
std::string withoutPlace(std::string text) {
  for (std::string_view place : {"initializing source docker://", "reading manifest "}) {
    if (!text.starts_with(place)) continue;
    auto end = text.find(": ", place.size());
    if (end != std::string::npos) text.erase(0, end + 2);
  }
  return text;
}

// A site's policy is where skopeo looks (containers-policy.json(5)). Where there is none it would
// refuse everything. Looked at each time: a policy counts from when it is there.
void addPolicy(ProcessSpec& spec, const std::string& policy) {
  if (!policy.empty() && policy != "insecure") {
    spec.argv.add(kj::str("--policy=", policy.c_str()));
    return;
  }
  const char* home = getenv("HOME");
  auto own = std::string(home == nullptr ? "" : home) + "/.config/containers/policy.json";
  bool there = access(own.c_str(), F_OK) == 0 || access("/etc/containers/policy.json", F_OK) == 0;
  if (policy == "insecure" || !there) spec.argv.add(kj::str("--insecure-policy"));
}

// The program and what holds for all that it does.
ProcessSpec command(const SkopeoSettings& settings) {
  ProcessSpec spec;
  spec.argv.add(kj::str(settings.program.c_str()));
  addPolicy(spec, settings.policy);
  spec.argv.add(kj::str("--override-os=linux"));
  spec.argv.add(kj::str("--override-arch=", settings.architecture.c_str()));
  for (auto* name : INHERITED) {
    if (const char* value = getenv(name)) spec.env.add(kj::str(name, "=", value));
  }
  return spec;
}

void addSource(ProcessSpec& spec, const SkopeoSettings& settings, const Reference& reference) {
  if (!settings.authFile.empty()) {
    spec.argv.add(kj::str("--authfile=", settings.authFile.c_str()));
  }
  spec.argv.add(kj::str("docker://", reference.canonical().c_str()));
}

}  // namespace

// Base64 needs no escapes, and a registry's name has only letters, digits, '.', '-', ':' and '[]'.
kj::String authDocument(schema::RegistryLogin::Reader login) {
  auto both = kj::str(login.getUser(), ":", login.getPassword());
  return kj::str(R"({"auths":{")", login.getRegistry(), R"(":{"auth":")",
                 kj::encodeBase64(both.asBytes()), R"("}}})");
}

ProcessSpec skopeoCopy(const SkopeoSettings& settings, const Reference& reference,
                       const std::string& layout, const std::string& temporary) {
  auto spec = command(settings);
  spec.argv.add(kj::str("--tmpdir=", temporary.c_str()));
  spec.argv.add(kj::str("copy"));
  spec.argv.add(kj::str("--dest-oci-accept-uncompressed-layers"));
  if (insecure(settings, reference)) spec.argv.add(kj::str("--src-tls-verify=false"));
  addSource(spec, settings, reference);
  spec.argv.add(kj::str("oci:", layout.c_str()));
  return spec;
}

ProcessSpec skopeoManifest(const SkopeoSettings& settings, const Reference& reference) {
  auto spec = command(settings);
  spec.argv.add(kj::str("inspect"));
  spec.argv.add(kj::str("--raw"));
  if (insecure(settings, reference)) spec.argv.add(kj::str("--tls-verify=false"));
  addSource(spec, settings, reference);
  return spec;
}

ProcessSpec skopeoConfig(const SkopeoSettings& settings, const Reference& reference) {
  auto spec = skopeoManifest(settings, reference);
  spec.argv.add(kj::str("--config"));
  return spec;
}

ProcessSpec skopeoDigest(const SkopeoSettings& settings, const std::string& file) {
  auto spec = command(settings);
  spec.argv.add(kj::str("manifest-digest"));
  spec.argv.add(kj::str(file.c_str()));
  return spec;
}

std::string skopeoReason(kj::StringPtr errors, int status) {
  std::string reason;
  for (auto& line : linesOf(errors)) {
    if (line.find("level=fatal") == std::string::npos) continue;
    auto message = messageOf(line);
    if (!message.empty()) reason = withoutPlace(message);
  }
  if (reason.empty()) reason = lastLine(errors);
  if (reason.empty()) reason = "skopeo ended with status " + std::to_string(status);
  return shortened(reason);
}

std::string lastLine(kj::StringPtr text) {
  std::string last;
  for (auto& line : linesOf(text)) {
    if (!line.empty()) last = line;
  }
  return last;
}

}  // namespace orch::image::oci
