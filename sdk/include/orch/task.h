// Task<T>: what a coroutine of orch returns. KJ 0.9 has no coroutines of its own, so the
// coroutine's frame is itself the promise node and the event that resumes it: an await costs no
// allocation.
//
//   orch::Task<int> answer(Thing& thing) {
//     auto response = co_await thing.askRequest().send();
//     co_return response.getN();
//   }
//
// A Task converts to kj::Promise<T>; dropping either cancels the coroutine at its current await.
// Rules (checked by scripts/lint, since g++ 12 compiles the other forms wrongly): co_await is a
// statement, a whole initialiser, or `co_return co_await …`; never inside a condition, a `?:`, a
// macro's arguments or beside a brace-initialised temporary. A capturing lambda is never a
// coroutine.
#pragma once

#include <capnp/capability.h>
#include <capnp/common.h>
#include <kj/async.h>
#include <kj/debug.h>

#include <coroutine>
#include <exception>

static_assert(CAPNP_VERSION >= 9000 && CAPNP_VERSION < 10000,
              "Task is built on the promise nodes of Cap'n Proto 0.9; 0.10 has coroutines itself");

namespace orch {

// The exception that is being handled, as a kj::Exception. Call it inside a catch block only.
kj::Exception currentException();

namespace coroutine {

// The part of a frame that does not depend on the result's type: a promise node that somebody waits
// on, and an event that fires when what the coroutine awaits is ready.
class FrameBase : public kj::_::PromiseNode, public kj::_::Event {
 public:
  explicit FrameBase(std::coroutine_handle<> handle) : handle(handle) {}
  ~FrameBase() noexcept(false) {}
  KJ_DISALLOW_COPY(FrameBase);

  std::suspend_never initial_suspend() noexcept { return {}; }
  std::suspend_always final_suspend() noexcept { return {}; }

  void onReady(kj::_::Event* event) noexcept override { ready.init(event); }
  void tracePromise(kj::_::TraceBuilder& builder, bool stopAtNextEvent) override {
    if (!stopAtNextEvent && awaited != nullptr) awaited->tracePromise(builder, stopAtNextEvent);
  }
  kj::Maybe<kj::Own<kj::_::Event>> fire() override {
    awaited = nullptr;
    handle.resume();
    return nullptr;
  }
  void traceEvent(kj::_::TraceBuilder& builder) override {
    if (awaited != nullptr) awaited->tracePromise(builder, true);
    ready.traceEvent(builder);
  }

  void suspendOn(kj::Own<kj::_::PromiseNode>& node) {
    node->setSelfPointer(&node);
    awaited = node.get();
    node->onReady(this);
  }
  void forgetAwaited() noexcept { awaited = nullptr; }

 protected:
  void settle() {
    done = true;
    ready.arm();
  }
  bool done = false;
  OnReadyEvent ready;

 private:
  friend struct FrameDisposer;
  std::coroutine_handle<> handle;
  kj::_::PromiseNode* awaited = nullptr;
};

// Lets kj::Own<PromiseNode> destroy the coroutine's frame.
struct FrameDisposer final : public kj::Disposer {
  void disposeImpl(void* pointer) const override {
    static_cast<FrameBase*>(reinterpret_cast<kj::_::PromiseNode*>(pointer))->handle.destroy();
  }
  static const FrameDisposer instance;
};
inline const FrameDisposer FrameDisposer::instance{};

template <typename U>
class Awaiter {
 public:
  explicit Awaiter(kj::Promise<U>&& promise) : node(kj::_::PromiseNode::from(kj::mv(promise))) {}
  Awaiter(Awaiter&&) = default;
  ~Awaiter() noexcept(false) {
    if (frame != nullptr) frame->forgetAwaited();
    unwind.catchExceptionsIfUnwinding([this] { node = nullptr; });
  }
  bool await_ready() const noexcept { return false; }
  template <typename P>
  void await_suspend(std::coroutine_handle<P> handle) {
    frame = &static_cast<FrameBase&>(handle.promise());
    frame->suspendOn(node);
  }
  U await_resume() {
    frame->forgetAwaited();
    node->get(result);
    KJ_IF_MAYBE (exception, result.exception) {
      auto moved = kj::mv(*exception);
      kj::throwFatalException(kj::mv(moved));
    }
    KJ_IF_MAYBE (value, result.value) {
      if constexpr (std::is_void_v<U>) {
        return;
      } else {
        return kj::mv(*value);
      }
    }
    KJ_UNREACHABLE;
  }

 private:
  kj::Own<kj::_::PromiseNode> node;
  kj::_::ExceptionOr<kj::_::FixVoid<U>> result;
  FrameBase* frame = nullptr;
  kj::UnwindDetector unwind;
};

template <typename T>
class Frame;

}  // namespace coroutine

// A kj::Promise<T> whose destructor is noexcept: g++ 12 crashes on a coroutine that returns a type
// whose destructor may throw.
template <typename T>
class [[nodiscard]] Task {
 public:
  explicit Task(kj::Promise<T>&& promise) noexcept : inner(kj::mv(promise)) {}
  Task(Task&& other) noexcept : inner(kj::mv(other.inner)) {}
  Task& operator=(Task&& other) noexcept {
    inner = kj::mv(other.inner);
    return *this;
  }
  ~Task() noexcept {}
  operator kj::Promise<T>() && { return kj::mv(inner); }  // NOLINT: conversion is the purpose
  kj::Promise<T> promise() && { return kj::mv(inner); }
  T wait(kj::WaitScope& waitScope) && { return inner.wait(waitScope); }

 private:
  kj::Promise<T> inner;
};

namespace coroutine {

template <typename Self, typename T>
struct ReturnPart {
  template <typename V>
  void return_value(V&& value) {
    static_cast<Self*>(this)->fulfill(T(kj::fwd<V>(value)));
  }
};
template <typename Self>
struct ReturnPart<Self, void> {
  void return_void() { static_cast<Self*>(this)->fulfill(kj::_::Void()); }
};

template <typename T>
class Frame final : public FrameBase, public ReturnPart<Frame<T>, T> {
 public:
  Frame() : FrameBase(std::coroutine_handle<Frame>::from_promise(*this)) {}

  Task<T> get_return_object() noexcept {
    return Task<T>(kj::_::PromiseNode::to<kj::Promise<T>>(
        kj::Own<kj::_::PromiseNode>(this, FrameDisposer::instance)));
  }
  void unhandled_exception() {
    result.addException(currentException());
    if (!done) settle();
  }
  void get(kj::_::ExceptionOrValue& output) noexcept override {
    output.as<kj::_::FixVoid<T>>() = kj::mv(result);
  }

  template <typename U>
  Awaiter<U> await_transform(kj::Promise<U>&& promise) {
    return Awaiter<U>(kj::mv(promise));
  }
  template <typename U>
  Awaiter<U> await_transform(kj::Promise<U>& promise) {
    return Awaiter<U>(kj::mv(promise));
  }
  template <typename U>
  Awaiter<U> await_transform(Task<U>&& task) {
    return Awaiter<U>(kj::mv(task).promise());
  }
  template <typename U>
  Awaiter<capnp::Response<U>> await_transform(capnp::RemotePromise<U>&& promise) {
    return Awaiter<capnp::Response<U>>(kj::Promise<capnp::Response<U>>(kj::mv(promise)));
  }

 private:
  friend struct ReturnPart<Frame<T>, T>;
  void fulfill(kj::_::FixVoid<T>&& value) {
    if (done) return;
    result = kj::mv(value);
    settle();
  }
  kj::_::ExceptionOr<kj::_::FixVoid<T>> result;
};

}  // namespace coroutine
}  // namespace orch

template <typename T, typename... Args>
struct std::coroutine_traits<orch::Task<T>, Args...> {
  using promise_type = orch::coroutine::Frame<T>;
};
