// Answers as JSON: what `orch … --json` prints. What is large is written by a worker thread.
#pragma once

#include <capnp/message.h>

#include <string>

#include "orch/env.h"
#include "orch/json/json.h"
#include "orch/task.h"

namespace orch::api::http {

// More than that would be felt on the loop.
inline constexpr size_t MAX_WORDS_ON_LOOP = 4096;

// `write` gets the message, on the loop or on a worker.
Task<std::string> written(Env& env, kj::Own<capnp::MallocMessageBuilder> message,
                          std::string (*write)(capnp::MallocMessageBuilder&));

template <typename T>
std::string writeList(capnp::MallocMessageBuilder& message) {
  auto list = message.getRoot<capnp::AnyPointer>().asReader().getAs<capnp::List<T>>();
  auto all = KJ_MAP(element, list) { return toJson(capnp::toDynamic(element), true); };
  return std::string(jsonArray(all).cStr()) + "\n";
}
template <typename T>
std::string writeOne(capnp::MallocMessageBuilder& message) {
  auto value = message.getRoot<T>().asReader();
  return std::string(toJson(capnp::toDynamic(value), false).cStr()) + "\n";
}

// One in a line.
template <typename T>
Task<std::string> listText(Env& env, typename capnp::List<T>::Reader list) {
  auto message = kj::heap<capnp::MallocMessageBuilder>();
  message->getRoot<capnp::AnyPointer>().setAs<capnp::List<T>>(list);
  return written(env, kj::mv(message), &writeList<T>);
}
template <typename T>
Task<std::string> oneText(Env& env, typename T::Reader value) {
  auto message = kj::heap<capnp::MallocMessageBuilder>();
  message->setRoot(value);
  return written(env, kj::mv(message), &writeOne<T>);
}

}  // namespace orch::api::http
