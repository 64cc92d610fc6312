#include "documents.h"

namespace orch::api::http {

Task<std::string> written(Env& env, kj::Own<capnp::MallocMessageBuilder> message,
                          std::string (*write)(capnp::MallocMessageBuilder&)) {
  if (message->sizeInWords() <= MAX_WORDS_ON_LOOP) co_return write(*message);
  auto work = [message = kj::mv(message), write]() mutable { return write(*message); };
  co_return co_await env.workers().run(kj::mv(work));
}

}  // namespace orch::api::http
