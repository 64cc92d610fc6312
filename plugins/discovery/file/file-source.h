// Follows the file and tells what is in it.
#pragma once

#include "folder-watch.h"
#include "host-file.h"
#include "lib/watchers.h"
#include "orch/env.h"

namespace orch::discovery::file {

// A file that somebody is writing is not read before he closes it: half a list would remove hosts.
// Where the system tells nothing of writers, and of one who stays, a change counts once the file
// has looked the same twice. On the loop's thread; reads on a worker.
class FileSource final {
 public:
  // How long a file has to look the same, and how long a writer may be silent before what he has
  // written counts though he has not closed it.
  static constexpr auto SETTLE = 2 * kj::SECONDS;
  static constexpr auto WRITER = 10 * kj::SECONDS;

  // `env` and `watchers` outlive it.
  FileSource(Env& env, std::string path, kj::Duration poll, Watchers& watchers);
  // Until it is cancelled.
  Task<void> run();

 private:
  void arm();
  void takeEvents();
  Task<void> look(bool certain);
  Task<void> waitFor(kj::Duration most);

  Env& env;
  std::string path;
  kj::Duration poll;
  Watchers& watchers;
  kj::Maybe<kj::Own<FolderWatch>> watch;
  bool canWatch = true;
  bool writing = false;
  bool written = true;  // at the beginning: whatever is there counts
  kj::TimePoint writerEnd;
  kj::TimePoint nextLook;
  HostFile::Stamp told, seen;
};

}  // namespace orch::discovery::file
