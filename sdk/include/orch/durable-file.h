// Small files that are either the last one written or refused by name, and folders that go as a
// whole. All of it blocks: for worker threads, but for what is on a tmpfs.
#pragma once

#include <kj/array.h>
#include <kj/common.h>
#include <kj/string.h>
#include <sys/types.h>

#include <string>

namespace orch {

// Throws `cannot <what> '<path>': <the system's reason>`, with the remedy where there is one. The
// kind is OVERLOADED where the system has run out of descriptors or memory, else FAILED.
[[noreturn]] void failFile(kj::StringPtr what, const std::string& path, int error);

// What a file has to survive. Only against a loss of power it is synced, and its folder with it.
enum class Outlives { PROCESS, POWER };

// Replaces the file at `path`, or makes it, in one step: a reader, and the next process, sees the
// old content or the new one. On failure the old one stays and nothing is left beside it; a crash
// may leave `unfinishedName(path)`, which the next replacement takes over.
void replaceFile(const std::string& path, kj::ArrayPtr<const kj::byte> content, Outlives outlives,
                 mode_t mode = 0600);
// `folder/.name.new` of `folder/name`.
std::string unfinishedName(const std::string& path);
// Durable entries of a folder: what was made, renamed or removed in it.
void syncFolder(const std::string& path);

// XXH64.
uint64_t checksumOf(kj::ArrayPtr<const kj::byte> bytes);

// A file that outlives a loss of power, with a checksum before its content.
void writeChecked(const std::string& path, kj::ArrayPtr<const kj::byte> content);
// Nothing if there is no such file. Fails if it is damaged: `what` names it for the user ("index of
// images"), `remedy` says what to do. The content is aligned to 8 bytes.
kj::Maybe<kj::Array<kj::byte>> readChecked(const std::string& path, const char* what,
                                           const char* remedy);

// Removes a folder and all in it, or whatever else is at `path`; symbolic links are not followed.
// Gone already is success. Needs three descriptors at any depth, and a name's length of memory per
// level. On failure a part may be gone.
void removeTree(const std::string& path);

}  // namespace orch
