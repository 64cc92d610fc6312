// Whether this one leads at this moment: what is known here counts only as long as nobody else has
// been elected, of whom a manager that stood still, or was cut off, has not heard.
#include <algorithm>
#include <iterator>
#include <utility>

#include "lead/leadership.h"
#include "orch/attempt.h"

namespace orch::control::manager {

kj::Promise<void> Leadership::confirmed() {
  if (!leads()) return whyNotConfirmed();
  if (!members.isShared()) return kj::READY_NOW;
  auto pair = kj::newPromiseAndFulfiller<void>();
  unconfirmed.push_back(kj::mv(pair.fulfiller));
  if (!confirming) {
    confirming = true;
    confirmation = confirm().promise().eagerlyEvaluate(nullptr);
  }
  return kj::mv(pair.promise);
}

// One question for all who have come before it was asked.
Task<void> Leadership::confirm() {
  while (!unconfirmed.empty()) {
    inQuestion = std::exchange(unconfirmed, {});
    auto answer = co_await attempt(store->lead());
    if (!answer.ok()) {
      // Whether it has fallen silent is found out by who keeps the lead.
      std::move(unconfirmed.begin(), unconfirmed.end(), std::back_inserter(inQuestion));
      unconfirmed = std::exchange(inQuestion, {});
      co_await beats(1);
      continue;
    }
    if (!isHeard(answer.value())) {
      deposed();
      refuseUnconfirmed();
      break;
    }
    for (auto& fulfiller : std::exchange(inQuestion, {})) fulfiller->fulfill();
  }
  confirming = false;
}

void Leadership::refuseUnconfirmed() {
  for (auto* all : {&inQuestion, &unconfirmed}) {
    for (auto& fulfiller : std::exchange(*all, {})) fulfiller->reject(whyNotConfirmed());
  }
}

kj::Exception Leadership::whyNotConfirmed() const {
  return kj::Exception(kj::Exception::Type::DISCONNECTED, __FILE__, __LINE__,
                       kj::str("this manager does not lead the cluster; ask again"));
}

}  // namespace orch::control::manager
