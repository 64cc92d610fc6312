// What a user asked for, checked and merged with what the image says, before anything is made.
#pragma once

#include <kj/string.h>

#include <string>
#include <vector>

#include "capabilities.h"
#include "orch/schema/runtime.capnp.h"

namespace orch::runtime {

struct CheckedMount {
  enum class Kind { BIND, VOLUME, OWN_VOLUME, TMPFS } kind;
  std::string source;  // bind: path; VOLUME: name; OWN_VOLUME: number of it, `0`
  std::string target;  // absolute, without `.`, `..` and double slashes
  std::vector<std::string> options;
  bool readOnly = false;
  unsigned mode = 0;     // TMPFS
  bool isFolder = true;  // of a bind: found out later, since its file system may hang
};

struct CheckedRlimit {
  std::string type;  // `RLIMIT_NOFILE`
  uint64_t soft;
  uint64_t hard;
};

struct CheckedRequest {
  std::vector<std::string> arguments;  // of the program; never empty
  std::vector<std::string> environment;
  std::string workdir;  // absolute
  std::string user;
  std::string hostname;
  std::string initProgram;  // path on the host; empty: none
  int stopSignal;
  CapabilitySet capabilities;
  std::vector<CheckedMount> mounts;  // in the order of mounting
  std::vector<CheckedRlimit> rlimits;
  std::string rootPropagation;  // empty, `shared` or `slave`
};

// Fails with one line that names the input. Reads from the host only whether an init program
// exists.
CheckedRequest checkRequest(schema::ContainerRequest::Reader request);

// What goes to the OCI runtime and to a program as text: UTF-8 without a NUL byte.
void mustBeText(kj::StringPtr what, kj::StringPtr text);
// `KEY=value` in place of what is there by that name; a bare name takes it away, as in docker.
void setVariable(std::vector<std::string>& environment, kj::StringPtr entry);

// [a-z0-9] first, then also `_`, `.`, `-`; at most 64 bytes: it becomes the name of folders.
void checkId(kj::StringPtr id);
void checkVolumeName(kj::StringPtr name);
// Without `.`, `..`, double and trailing slashes; `path` is absolute.
std::string normalPath(kj::StringPtr path);

}  // namespace orch::runtime
