// The two folders of a node, `data` and `run`: who may write to them, and the one orchd that owns
// them.
#pragma once

#include <kj/io.h>
#include <sys/types.h>

#include <string>

namespace orch {

// Makes `path` with its parents; one that it makes gets `mode`, one that is there stays as it is.
// `key` is how [node] calls it. Fails with the folder, the system's reason and the remedy.
void makeNodeFolder(const std::string& path, const char* key, mode_t mode);

// Fails if others than root and the user of orchd may write to it: what is in it is trusted.
void requireOwnFolder(const std::string& path, const char* key);

// Takes <folder>/orchd.lock, before anything in the folder is read or written, for as long as the
// descriptor is open. Fails with the folder and its owner's pid while another orchd has it.
kj::AutoCloseFd lockNodeFolder(const std::string& folder, const char* key);

}  // namespace orch
