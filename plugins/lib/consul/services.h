// Services as an agent of consul keeps them, from and to its JSON. Pure. What cannot be read is
// FAILED with a text that begins with "answers ".
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace orch::consul {

// A check that the agent makes, or waits for. Durations as consul writes them: `10s`. What is empty
// is not said.
struct ServiceCheck {
  std::string id;
  std::string name;
  // One of these says what is checked.
  std::string http;               // URL
  std::string tcp;                // address
  std::string grpc;               // address
  std::string ttl;                // nobody else may be silent for longer
  std::vector<std::string> args;  // a program that the agent runs

  std::string method;  // of `http`
  bool grpcTls = false;
  bool trustAll = false;  // whatever certificate it shows
  std::string interval;
  std::string timeout;
  std::string status;           // until it was made first
  std::string deregisterAfter;  // critical for so long, the service goes

  bool operator==(const ServiceCheck&) const = default;
};

struct RegisteredService {
  std::string id;
  std::string name;
  std::string address;
  uint16_t port = 0;
  std::vector<std::string> tags;
  std::map<std::string, std::string> meta;

  bool operator==(const RegisteredService&) const = default;
};

// consul refuses a service with more of it, or with others.
constexpr size_t MAX_META = 64;
bool isMetaKey(std::string_view key);  // 1 to 128 of A-Z, a-z, 0-9, '-' and '_'
bool isMetaValue(std::string_view value);

// For `PUT /v1/agent/service/register`.
std::string registrationText(const RegisteredService& service,
                             const std::vector<ServiceCheck>& checks);
// The checks alone.
std::string checksText(const std::vector<ServiceCheck>& checks);
// Of `GET /v1/agent/services`.
std::vector<RegisteredService> readServices(std::string_view json);
// Of `GET /v1/agent/service/ID`.
RegisteredService readService(std::string_view json);
// Of `GET /v1/catalog/nodes`: their names.
std::vector<std::string> readNodes(std::string_view json);
// Of `GET /v1/catalog/node/NODE`; none of a node that is not there.
std::vector<RegisteredService> readNodeServices(std::string_view json);
// For `PUT /v1/catalog/register`: a service of a node that no agent runs on. The node is made with
// that address if need be.
std::string nodeServiceText(std::string_view node, std::string_view address,
                            const RegisteredService& service);
// For `PUT /v1/catalog/deregister`: a service, of whichever node. An agent that runs there brings
// it back.
std::string deregistrationText(std::string_view node, std::string_view service);

}  // namespace orch::consul
