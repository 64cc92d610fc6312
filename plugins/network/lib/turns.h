// One after the other per name: what is done to one task must not overlap. On the loop's thread.
#pragma once

#include <kj/async.h>

#include <list>
#include <map>
#include <string>

#include "orch/task.h"

namespace orch::network {

// Must outlive its turns. Turns are given in the order of asking; asking is bounded by the calls
// under way.
class Turns final {
 public:
  Turns() = default;
  KJ_DISALLOW_COPY(Turns);

  // While it lives, nobody else has a turn of that name.
  class Turn final {
   public:
    Turn(Turns& turns, std::string name) : turns(&turns), name(kj::mv(name)) {}
    Turn(Turn&& other) noexcept : turns(other.turns), name(kj::mv(other.name)) {
      other.turns = nullptr;
    }
    ~Turn() noexcept(false) {
      if (turns != nullptr) turns->next(name);
    }
    KJ_DISALLOW_COPY(Turn);

   private:
    Turns* turns;
    std::string name;
  };
  kj::Promise<Turn> take(const std::string& name);

 private:
  void next(const std::string& name);
  std::map<std::string, std::list<kj::Own<kj::PromiseFulfiller<Turn>>>> waiting;
};

}  // namespace orch::network
