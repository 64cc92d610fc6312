// What the compiled schemas in plugins' files say of the methods that a plugin may have: their
// names, and which of them are $longRunning. The kernel itself knows no interface of a kind.
#pragma once

#include <kj/common.h>

#include <map>
#include <string>

namespace orch::rpc {

class MethodTable final {
 public:
  struct Method {
    std::string name;
    bool longRunning = false;  // such a call has no deadline
  };

  // `request` is a CodeGeneratorRequest, the section .orch.schema. What is known already stays.
  void learn(kj::ArrayPtr<const kj::byte> request);
  // A method that no schema has is called by its number, and has a deadline.
  Method find(uint64_t interfaceId, uint16_t methodId) const;

 private:
  std::map<std::pair<uint64_t, uint16_t>, Method> methods;
};

}  // namespace orch::rpc
