// Who needs which image. A hold is an empty file `<holder>.<64 digits of the image's id>`: making
// it and syncing its folder once is all that an answer waits for, and a file without content cannot
// be half-written. Holds of many callers share one sync.
#pragma once

#include <kj/async.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "orch/env.h"

namespace orch::image::oci {

// Lives on the loop's thread. Memory is ahead of the disk: `holders` counts a hold from the call of
// `add` on, so that nobody removes its image while it is being written.
class HoldTable final {
 public:
  static constexpr size_t MAX_HOLDER = 128;  // characters of a holder's name

  HoldTable(Workers& workers, std::string folder);
  KJ_DISALLOW_COPY(HoldTable);

  // What a folder holds; blocking. Files of other names are not ours and stay.
  struct Hold {
    std::string holder;
    std::string imageId;
  };
  static std::vector<Hold> read(const std::string& folder);
  void take(const std::vector<Hold>& holds);

  // Durable when the promise settles. If the disk refuses, nothing is held.
  kj::Promise<void> add(const std::string& holder, const std::string& imageId);
  kj::Promise<void> release(const std::string& holder);
  // Releases all others.
  kj::Promise<void> retain(const std::set<std::string>& holders);

  std::vector<std::string> holders(const std::string& imageId) const;
  // Some hold is of an image that is not among `known`.
  bool holdsUnknown(const std::set<std::string>& known) const;

  // Letters, digits, '.', '_', '-', at most MAX_HOLDER. Fails otherwise.
  static void checkHolder(kj::StringPtr holder);

 private:
  struct Change {
    std::string holder;
    std::string imageId;
    bool make;
  };
  static void writeFiles(const std::string& folder, const std::vector<Change>& changes);
  kj::Promise<void> write(std::vector<Change> changes);
  kj::Promise<void> writePending();
  void settle(const std::vector<Change>& changes, bool written);
  void forget(const std::string& holder, const std::string& imageId);

  Workers& workers;
  const std::string folder;
  std::map<std::string, std::set<std::string>> byHolder;
  std::map<std::string, std::set<std::string>> byImage;
  std::set<std::string> unsynced;  // files of holds on their way to the disk
  std::vector<Change> pending;     // of the batch that `next` will write
  bool nextWaits = false;          // `next` has not begun yet
  kj::ForkedPromise<void> next;    // the last batch, begun or not
};

}  // namespace orch::image::oci
