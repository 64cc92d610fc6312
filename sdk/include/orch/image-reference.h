// Names of images as docker's users write them: `nginx`, `registry:5000/team/app:1.2`,
// `name@sha256:…`. Pure; the rules are those of github.com/distribution/distribution/reference.
#pragma once

#include <kj/string.h>

#include <string>
#include <string_view>

namespace orch {

// Either a tag or a digest is set. A digest beside a tag wins, as for docker.
struct ImageReference {
  std::string registry;    // `docker.io`, `registry:5000`
  std::string repository;  // without the registry: `library/nginx`
  std::string tag;         // `latest`
  std::string digest;      // `sha256:…`

  std::string canonical() const;  // docker.io/library/nginx:latest
  std::string familiar() const;   // nginx:latest
  std::string name() const;       // nginx
  // The registry is this machine: plain HTTP is no risk.
  bool loopback() const;
};

// Fails with a text that names the input and what is accepted.
ImageReference parseImageReference(kj::StringPtr text);

// `sha256:` and 64 lower-case hexadecimal digits.
bool isDigest(std::string_view text);
bool isHex(std::string_view text);

}  // namespace orch
