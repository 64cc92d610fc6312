// How skopeo is asked for an image, and what its complaints mean. Pure, but for a
// look whether the site has a policy.
#pragma once

#include <kj/string.h>

#include <string>
#include <vector>

#include "orch/env.h"
#include "orch/schema/image.capnp.h"
#include "reference.h"

namespace orch::image::oci {

struct SkopeoSettings {
  std::string program;
  std::string authFile;
  std::vector<std::string> insecureRegistries;
  std::string architecture;  // as Go calls it
  std::string policy;        // of signatures: a file, `insecure`, or empty for the site's own
};

// What skopeo reads as --authfile (containers-auth.json(5)): one registry and who asks it.
kj::String authDocument(schema::RegistryLogin::Reader login);

// The copy of an image from its registry into the OCI layout `layout`. `temporary` is for skopeo's
// own large files.
ProcessSpec skopeoCopy(const SkopeoSettings& settings, const Reference& reference,
                       const std::string& layout, const std::string& temporary);

// The manifest of an image, or the list of them, as its registry has it, on stdout.
ProcessSpec skopeoManifest(const SkopeoSettings& settings, const Reference& reference);

// The configuration of an image as its registry has it, on stdout.
ProcessSpec skopeoConfig(const SkopeoSettings& settings, const Reference& reference);

// The digest of a manifest in a file, on stdout.
ProcessSpec skopeoDigest(const SkopeoSettings& settings, const std::string& file);

// The one reason in what skopeo wrote to stderr, in one line of at most 300 characters.
std::string skopeoReason(kj::StringPtr errors, int status);

// The last line that is not empty; of a program that just prints its reason.
std::string lastLine(kj::StringPtr text);

}  // namespace orch::image::oci
