// For tests: the image store of RecordingServer.
#pragma once

#include "orch/fail.h"
#include "orch/schema/image.capnp.h"

namespace orch::cli {

// One image, `nginx:1`, which a task holds.
class RecordingImages final : public schema::ImageStore::Server {
 public:
  explicit RecordingImages(kj::StringPtr holder) : holder(kj::str(holder)) {}
  kj::Promise<void> remove(RemoveContext context) override {
    auto name = context.getParams().getReference();
    if (name != "nginx:1") fail(kj::str("no image '", name, "'; see 'orch image ls'"));
    fail(kj::str("cannot remove image '", name, "': it is held by ", holder,
                 "; remove what runs it first"));
  }

 private:
  const kj::String holder;
};

}  // namespace orch::cli
