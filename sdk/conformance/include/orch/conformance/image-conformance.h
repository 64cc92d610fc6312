// What every plugin of kind `image` has to keep (sdk/schema/image.capnp), as checks that know only
// the interface. They import plain root file systems, and ask no registry.
#pragma once

#include <kj/async.h>
#include <kj/common.h>

#include <string>

#include "orch/schema/image.capnp.h"

namespace orch::conformance {

// A store without an image, made anew for each check.
class ImageSubject {
 public:
  virtual ~ImageSubject() noexcept(false) {}
  virtual kj::WaitScope& waitScope() = 0;
  // Of the run that there is.
  virtual schema::ImageStore::Client images() = 0;
  // Ends the run as it is, and begins another: configure, recover, start.
  virtual void restart() = 0;
  // A folder that exists, for files that the store shall import.
  virtual std::string folder() = 0;
  // Returns when there is nothing of an image on the disk: layers, blobs, holds, what a call has
  // not finished; waits for what the store does by itself a little later. Fails, and says what it
  // is, if something stays.
  virtual void untilNothingIsLeft() = 0;
};

struct ImageCheck {
  const char* name;  // a sentence
  void (*run)(ImageSubject& subject);
};

// Each needs a subject of its own and throws an exception that says what was not kept.
kj::ArrayPtr<const ImageCheck> imageChecks();

}  // namespace orch::conformance
