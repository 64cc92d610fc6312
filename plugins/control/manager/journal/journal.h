// What was decided, and from which state: for `orch replay`. Files of entries in the plugin's data
// folder; each begins with the whole state, so that the older ones may go. Not synced: it is for
// looking at what happened, nobody goes by it. Written a second later.
#pragma once

#include <kj/filesystem.h>

#include <deque>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "config.capnp.h"
#include "manager.h"
#include "orch/segments/frames.h"

namespace orch::control::manager {

class Journal final : public ChangeObserver, private kj::TaskSet::ErrorHandler {
 public:
  Journal(Env& env, Host& host, Manager& manager, Config::Reader settings);
  KJ_DISALLOW_COPY(Journal);

  static constexpr uint64_t SEGMENT_BYTES = 8 << 20;
  // All that was decided is in the files.
  kj::Promise<void> flush();
  const kj::Path& folder() const { return path; }

  void changing(const Key& key, const Snapshot& before, const Snapshot& after) override;
  void sighted(const std::string& nodeId) override;
  void passed(int64_t atNs, const std::vector<std::string>& placed) override;
  void reloaded() override;

 private:
  void add(JournalEntry::Reader entry);
  void addObject(const Key& key, const Snapshot& object, bool words, bool status);
  void addSighting(const std::string& nodeId);
  // Of tasks that were placed in this pass: who had their images.
  void addImages();
  void closeFrame();
  void begin();
  Task<void> addAll();
  void kick();
  void wake();
  Task<void> serve();
  Task<void> write(kj::Array<kj::byte> content, bool first);
  void taskFailed(kj::Exception&& exception) override;

  struct Closed {
    kj::Array<kj::byte> content;
    bool first;  // of a file
  };

  Env& env;
  Host& host;
  Manager& manager;
  const uint64_t maxBytes;
  const kj::Path path;
  kj::Vector<kj::byte> frame;
  bool beginsFile = false;                               // the frame
  bool decided = false;                                  // something since the last pass
  std::set<std::string> images;                          // digests of what was placed since then
  std::map<std::string, std::set<std::string>> holders;  // by digest, as the file says
  std::deque<Closed> waiting;
  size_t waitingBytes = 0;
  uint64_t written = 0;  // to the file
  bool serving = false;
  bool hurried = false;  // somebody waits until all is written
  kj::Own<kj::PromiseFulfiller<void>> gathering;
  bool beginning = false;  // the state is being written down
  bool lost = false;       // something is missing: a new file has to begin
  std::vector<kj::Own<kj::PromiseFulfiller<void>>> idle;
  kj::Promise<void> copying;  // the state, while `beginning`
  kj::TaskSet tasks;
};

}  // namespace orch::control::manager
