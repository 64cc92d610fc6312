// A pipe, a socket or a terminal that the loop reads and writes. Unlike KJ's streams it says
// whether there is something now, and takes the errors by which a terminal ends for the end.
#pragma once

#include <kj/async-unix.h>
#include <kj/io.h>

#include "orch/env.h"

namespace orch::runtime {

class FdStream final {
 public:
  enum class Way { READ, WRITE, BOTH };
  FdStream(Env& env, kj::AutoCloseFd fd, Way way);
  KJ_DISALLOW_COPY(FdStream);

  // How many bytes were there, 0 at the end of the stream; null if there is nothing at present.
  kj::Maybe<size_t> read(kj::ArrayPtr<kj::byte> buffer);
  // After `read` has found nothing.
  kj::Promise<void> whenReadable() { return observer.whenBecomesReadable(); }
  // All of it, one at a time. False if nobody reads it any more.
  Task<bool> write(kj::ArrayPtr<const kj::byte> bytes);
  int fd() const { return descriptor.get(); }

 private:
  kj::AutoCloseFd descriptor;
  kj::UnixEventPort::FdObserver observer;
};

}  // namespace orch::runtime
