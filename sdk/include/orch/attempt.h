// The one place that turns an exception into a value, for those who retry or go on without.
#pragma once

#include <kj/exception.h>

#include <variant>

#include "orch/fail.h"
#include "orch/task.h"

namespace orch {

// What became of a task: its value, or why there is none.
template <typename T>
class Outcome {
 public:
  using Value = kj::_::FixVoid<T>;
  explicit Outcome(Value&& value) : state(kj::mv(value)) {}
  explicit Outcome(kj::Exception&& exception) : state(kj::mv(exception)) {}

  bool ok() const { return state.index() == 0; }
  Value& value() {
    KJ_REQUIRE(ok(), "asked for the value of a failed attempt");
    return std::get<0>(state);
  }
  kj::Exception& error() {
    KJ_REQUIRE(!ok(), "asked for the error of an attempt that succeeded");
    return std::get<1>(state);
  }
  // What a user can read: plainText of the error.
  kj::StringPtr message() { return plainText(error()); }

 private:
  std::variant<Value, kj::Exception> state;
};

// Never fails. Cancelling it cancels the promise.
template <typename T>
Task<Outcome<T>> attempt(kj::Promise<T> promise) {
  auto settled =
      kj::mv(promise).then([](kj::_::FixVoid<T>&& value) { return Outcome<T>(kj::mv(value)); },
                           [](kj::Exception&& exception) { return Outcome<T>(kj::mv(exception)); });
  co_return co_await settled;
}
template <>
inline Task<Outcome<void>> attempt(kj::Promise<void> promise) {
  auto settled = kj::mv(promise).then([] { return Outcome<void>(kj::_::Void()); },
                                      [](kj::Exception&& e) { return Outcome<void>(kj::mv(e)); });
  co_return co_await settled;
}
template <typename T>
Task<Outcome<T>> attempt(Task<T>&& task) {
  return attempt(kj::mv(task).promise());
}
template <typename T>
Task<Outcome<capnp::Response<T>>> attempt(capnp::RemotePromise<T>&& promise) {
  kj::Promise<capnp::Response<T>> plain = kj::mv(promise);
  return attempt(kj::mv(plain));
}

// The same for code that does not wait. For calls into libraries that throw.
template <typename F>
auto attemptNow(F&& run) -> Outcome<decltype(run())> {
  using T = decltype(run());
  try {
    if constexpr (std::is_void_v<T>) {
      run();
      return Outcome<void>(kj::_::Void());
    } else {
      return Outcome<T>(run());
    }
  } catch (...) {
    return Outcome<T>(currentException());
  }
}

}  // namespace orch
