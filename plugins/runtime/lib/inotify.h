// One inotify descriptor for everything that a runtime watches.
#pragma once

#include <kj/async-unix.h>
#include <kj/function.h>
#include <kj/io.h>

#include <map>
#include <string>

namespace orch::runtime {

// On the loop's thread only. Watches must not outlive it.
class Inotify final {
 public:
  explicit Inotify(kj::UnixEventPort& port);
  KJ_DISALLOW_COPY(Inotify);

  // Ends when dropped.
  class Watch {
   public:
    virtual ~Watch() noexcept(false) {}
  };
  // `changed` gets the name of the entry, empty if the kernel dropped events: look at all. It may
  // not drop watches. Watching one folder twice from one Inotify is fine: both are told.
  kj::Own<Watch> watch(const std::string& folder, uint32_t mask,
                       kj::Function<void(kj::StringPtr)> changed);

 private:
  class Subscription;
  kj::Promise<void> deliver();
  void drain();

  kj::AutoCloseFd fd;  // before the observer
  kj::UnixEventPort::FdObserver observer;
  std::multimap<int, Subscription*> watches;  // by watch descriptor
  kj::Promise<void> delivery;
};

}  // namespace orch::runtime
