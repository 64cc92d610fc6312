// What happens to one name in one folder, as inotify(7) tells it.
#pragma once

#include <kj/async-unix.h>
#include <kj/io.h>

#include <string>

namespace orch::discovery::file {

// On the loop's thread. The port outlives it.
class FolderWatch final {
 public:
  // Fails if there is no such folder.
  FolderWatch(kj::UnixEventPort& port, const std::string& folder, std::string name);
  KJ_DISALLOW_COPY(FolderWatch);

  struct Happened {
    bool writing = false;  // content changes, and the writer may not be done
    bool written = false;  // a writer closed it, or it was put there in one step
    bool removed = false;
    bool over = false;  // the folder is gone, or not watched any more
  };
  // All since the last call; `writing` and `written` say how it ended.
  Happened take();
  // Settles when there is something to take. Call it right after `take`, without an await between:
  // what came before is not told.
  kj::Promise<void> whenSomething() { return observer.whenBecomesReadable(); }

 private:
  std::string name;
  kj::AutoCloseFd fd;  // before the observer: that must die first
  kj::UnixEventPort::FdObserver observer;
};

}  // namespace orch::discovery::file
