#include "check.h"

namespace orch::integration::registrator {

namespace {

using orch::consul::ServiceCheck;

constexpr const char* DEFAULT_INTERVAL = "10s";  // as registrator's

std::string attributeOf(const ServiceEntry& entry, const char* key) {
  auto found = entry.attributes.find(key);
  return found == entry.attributes.end() ? std::string() : found->second;
}

std::string hostPort(const ServiceEntry& entry) {
  bool v6 = entry.address.find(':') != std::string::npos;
  return (v6 ? "[" + entry.address + "]" : entry.address) + ":" + std::to_string(entry.port);
}

void replaceAll(std::string& text, const std::string& what, const std::string& by) {
  for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size())) {
    text.replace(at, what.size(), by);
  }
}

// What is checked, in registrator's order: the first one that is said counts.
bool chooseSubject(const ServiceEntry& entry, ServiceCheck& check) {
  auto said = [&](const char* key) { return attributeOf(entry, key); };
  if (auto path = said("check_http"); !path.empty()) {
    check.http = "http://" + hostPort(entry) + path;
    check.method = said("check_http_method");
  } else if (auto safe = said("check_https"); !safe.empty()) {
    check.http = "https://" + hostPort(entry) + safe;
    check.method = said("check_https_method");
  } else if (auto script = said("check_script"); !script.empty()) {
    replaceAll(script, "$SERVICE_IP", entry.address);
    replaceAll(script, "$SERVICE_PORT", std::to_string(entry.port));
    check.args = {"/bin/sh", "-c", script};
  } else if (auto ttl = said("check_ttl"); !ttl.empty()) {
    check.ttl = ttl;
  } else if (!said("check_tcp").empty()) {
    check.tcp = hostPort(entry);
  } else if (!said("check_grpc").empty()) {
    check.grpc = hostPort(entry);
    check.grpcTls = !said("check_grpc_use_tls").empty();
    check.trustAll = check.grpcTls && !said("check_tls_skip_verify").empty();
  } else {
    return false;
  }
  return true;
}

}  // namespace

CheckChoice checkOf(const ServiceEntry& entry, bool scripts) {
  CheckChoice choice;
  bool command =
      attributeOf(entry, "check_http").empty() && attributeOf(entry, "check_https").empty();
  if (command && !attributeOf(entry, "check_cmd").empty()) {
    choice.refused =
        "SERVICE_CHECK_CMD needs a program of registrator's in consul's container; use "
        "--health-cmd";
    return choice;
  }
  ServiceCheck check;
  if (!chooseSubject(entry, check)) return choice;
  if (!check.args.empty() && !scripts) {
    choice.refused =
        "SERVICE_CHECK_SCRIPT would have consul run on its host what a container says; use "
        "--health-cmd, or 'scripts = true'";
    return choice;
  }
  check.status = attributeOf(entry, "check_initial_status");
  check.deregisterAfter = attributeOf(entry, "check_deregister_after");
  if (check.ttl.empty()) {
    auto interval = attributeOf(entry, "check_interval");
    check.interval = interval.empty() ? DEFAULT_INTERVAL : interval;
  }
  if (check.args.empty() && check.ttl.empty()) check.timeout = attributeOf(entry, "check_timeout");
  choice.checks.push_back(std::move(check));
  return choice;
}

}  // namespace orch::integration::registrator
