// What the state of a simulated cluster was at each of its revisions, and since when somebody
// outside knows it to have come so far. With that it can be said of an answer whether it may be: an
// answer of now is what the state was at some revision since the last that anybody had seen before
// it was asked for (linearizability), one that is old what it was since then, of its own time.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "book.h"
#include "orch/schema/cluster.capnp.h"

namespace orch::testing {

class History final {
 public:
  enum class Part { SERVICES, TASKS };
  // Of all services, or all tasks: the same if they are, in any order.
  using Print = uint64_t;

  // A batch of the managers' store, which `book` has taken: the next revision.
  void wrote(kj::ArrayPtr<const MemoryStore::Written> batch, const Book& book);
  uint64_t revision() const { return prints.size() - 1; }
  // The one with which a request was done; 0: it was not.
  uint64_t doneAt(const std::string& requestId) const;

  // Somebody outside knows from now on that the state has come so far.
  void seen(uint64_t revision, int64_t nowNs);
  // What was known then, or before.
  uint64_t knownAt(int64_t ns) const;

  static Print printOf(capnp::List<schema::ServiceRow>::Reader services);
  static Print printOf(capnp::List<schema::Task>::Reader tasks);
  // The first revision from `since` on at which that part was so; 0: none.
  uint64_t find(Part part, Print print, uint64_t since) const;

 private:
  std::vector<std::pair<Print, Print>> prints{{0, 0}};      // by revision
  std::map<std::pair<Part, std::string>, Print> lines;      // that the last of them are made of
  std::map<std::string, uint64_t> requests;                 // by id
  std::vector<std::pair<int64_t, uint64_t>> known{{0, 0}};  // times and revisions, both ascending
};

}  // namespace orch::testing
