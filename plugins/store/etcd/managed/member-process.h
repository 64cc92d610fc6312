// The process of a managed etcd's member: started again whenever it ends, unless it ended since it
// is no member any more.
#pragma once

#include <kj/function.h>

#include <string>

#include "orch/env.h"
#include "orch/host.h"
#include "orch/log-limit.h"

namespace orch::store::etcd {

// On the loop. The process ends with this object, or with orchd, in whichever way that does.
class MemberProcess final {
 public:
  // How it is started, each time; its outputs are not in it.
  using Command = kj::Function<ProcessSpec()>;
  // Told of its end. This object is not to be dropped within them.
  struct Owner {
    // Once, when it has ended for good.
    kj::Function<void()> removed;
    // It has ended otherwise, or did not begin, for this reason. It is started again later.
    kj::Function<void(const std::string&)> failed;
  };

  // Starts it. The references outlive it.
  MemberProcess(Env& env, Log& log, Command command, Owner owner);
  ~MemberProcess() noexcept(false);
  KJ_DISALLOW_COPY(MemberProcess);

  // Lets it go in order: one that leads hands that on. Settles when it is gone, which it is after
  // ten seconds at the latest; asked again, at the same time.
  kj::Promise<void> stop();
  // Why it does not run; empty: it does, as far as is known.
  const std::string& trouble() const { return reason; }

 private:
  Task<void> run();
  Task<void> end();
  // Answers its wait status.
  Task<int> runOnce();
  Task<void> read(kj::Own<kj::AsyncInputStream> output);
  void take(const std::string& line);

  Env& env;
  Log& log;
  Command command;
  Owner owner;
  kj::Own<Process> process;
  bool stopping = false;
  bool wasRemoved = false;  // says its log
  std::string last;         // of what its log complains about
  std::string reason;
  LogLimit lines;
  kj::Promise<void> running = kj::READY_NOW;
  kj::ForkedPromise<void> ending = nullptr;  // once it is being stopped
};

}  // namespace orch::store::etcd
