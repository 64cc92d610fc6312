// Where services are registered: one kind of server each.
#pragma once

#include <map>
#include <string>

#include "orch/task.h"
#include "service-entry.h"

namespace orch::integration::registrator {

// What it has of an entry is a text of its own (`recordOf`), by the place where that is
// (`placeOf`): two that are equal need not be written again.
class Catalog {
 public:
  using Records = std::map<std::string, std::string>;
  virtual ~Catalog() noexcept(false) {}

  virtual kj::String name() const = 0;  // `consul at 'http://…'`
  virtual std::string placeOf(const ServiceEntry& entry) const = 0;
  virtual std::string recordOf(const ServiceEntry& entry) const = 0;

  // All of the following fail if the server cannot be reached, and can be repeated.

  // What this node has registered there, and nobody else.
  virtual Task<Records> list() = 0;
  // Empty: it is there as it should be. Otherwise why it will not be: the server refuses it, or
  // somebody else has registered one there, which is left alone.
  virtual Task<std::string> put(ServiceEntry entry) = 0;
  // Gone already is success, as is one that is somebody else's by now.
  virtual Task<void> remove(std::string place) = 0;
  // What this node has there stays for another while: at least every `renewMs`. 0: it stays anyhow.
  virtual Task<void> renew(std::vector<std::string> places) = 0;
  virtual uint64_t renewMs() const = 0;
  // What another node has registered there is taken out.
  virtual Task<void> forgetNode(std::string nodeId) = 0;
  // Before all of these: who this is to a server with users.
  virtual void open(std::string /*user*/, std::string /*password*/) {}
};

}  // namespace orch::integration::registrator
