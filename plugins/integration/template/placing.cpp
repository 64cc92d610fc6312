#include "placing.h"

#include <fcntl.h>
#include <grp.h>
#include <kj/debug.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <filesystem>

#include "orch/attempt.h"
#include "orch/durable-file.h"
#include "orch/fail.h"

namespace orch::integration::templates {

namespace {

constexpr size_t MOST_SAID_BYTES = 500;
constexpr unsigned NEW_FILE_MODE = 0644;
// Where programs are looked for: nothing else of the environment is theirs.
constexpr const char* SEARCH_PATH =
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

std::string folderOf(const std::string& path) {
  auto slash = path.rfind('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}

template <typename Find>
uint32_t idOf(const std::string& name, const char* what, Find&& find) {
  uint32_t id = 0;
  auto* end = name.data() + name.size();
  auto read = std::from_chars(name.data(), end, id);
  if (read.ec == std::errc() && read.ptr == end) return id;
  if (!find(id)) fail(kj::str("there is no ", what, " '", name.c_str(), "' on this host"));
  return id;
}
uint32_t userId(const std::string& name) {
  return idOf(name, "user", [&](uint32_t& id) {
    char buffer[4096];
    passwd entry = {};
    passwd* found = nullptr;
    getpwnam_r(name.c_str(), &entry, buffer, sizeof buffer, &found);
    if (found != nullptr) id = found->pw_uid;
    return found != nullptr;
  });
}
uint32_t groupId(const std::string& name) {
  return idOf(name, "group", [&](uint32_t& id) {
    char buffer[16384];
    group entry = {};
    group* found = nullptr;
    getgrnam_r(name.c_str(), &entry, buffer, sizeof buffer, &found);
    if (found != nullptr) id = found->gr_gid;
    return found != nullptr;
  });
}

// What a file is to be beside its content. All of this blocks.
struct Rights {
  unsigned mode = NEW_FILE_MODE;
  uint32_t owner = 0, group = 0;
  bool operator==(const Rights&) const = default;
};

std::optional<Rights> rightsOf(const std::string& path) {
  struct stat info = {};
  if (stat(path.c_str(), &info) < 0) {
    if (errno == ENOENT) return {};
    failFile("look at", path, errno);
  }
  if (!S_ISREG(info.st_mode)) fail(kj::str("'", path.c_str(), "' is no file"));
  return Rights{info.st_mode & 07777u, info.st_uid, info.st_gid};
}

Rights wantedRights(const Destination& to, const std::optional<Rights>& before) {
  auto rights = before.value_or(Rights{NEW_FILE_MODE, geteuid(), getegid()});
  if (to.mode) rights.mode = *to.mode;
  if (!to.owner.empty()) rights.owner = userId(to.owner);
  if (!to.group.empty()) rights.group = groupId(to.group);
  return rights;
}

void giveRights(const std::string& path, const Rights& rights) {
  // Not for a moment has it rights of the one and the owner of the other.
  if (chmod(path.c_str(), rights.mode & 0700u) < 0) failFile("change", path, errno);
  if (chown(path.c_str(), rights.owner, rights.group) < 0) failFile("change", path, errno);
  if (chmod(path.c_str(), rights.mode) < 0) failFile("change", path, errno);
}

bool hasContent(const std::string& path, const std::string& content) {
  kj::AutoCloseFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) failFile("read", path, errno);
  struct stat info = {};
  KJ_SYSCALL(fstat(fd, &info));
  if (static_cast<size_t>(info.st_size) != content.size()) return false;
  kj::FdInputStream stream(fd.get());
  std::string there(content.size(), '\0');
  auto bytes = stream.tryRead(there.data(), content.size(), content.size());
  return bytes == content.size() && there == content;
}

bool exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

void removeFile(const std::string& path) {
  if (unlink(path.c_str()) < 0 && errno != ENOENT) failFile("remove", path, errno);
}

void moveFile(const std::string& from, const std::string& to) {
  if (rename(from.c_str(), to.c_str()) < 0) failFile("write", to, errno);
}

kj::ArrayPtr<const kj::byte> contentBytes(const std::string& text) {
  return kj::arrayPtr(reinterpret_cast<const kj::byte*>(text.data()), text.size());
}

using Files = PlacedFiles;

// What `.name.pending` says: first that the file has to be checked in its place, then that the
// command has to be run.
constexpr const char OWES_CHECK[] = "check\n";
constexpr const char OWES_COMMAND[] = "command\n";

void owe(const Files& files, const char* what) {
  replaceFile(files.pending, kj::StringPtr(what).asBytes(), Outlives::POWER);
}

enum class Found { SAME, OWES_CHECK, OWES_COMMAND, OTHER };

// Whether there is anything to do. Mends mode and owner of a file that is the same.
Found lookAtFile(const Destination& to, const Files& files, const std::string& content) {
  auto before = rightsOf(files.path);
  if (!before || !hasContent(files.path, content)) return Found::OTHER;
  auto wanted = wantedRights(to, before);
  if (wanted != *before) giveRights(files.path, wanted);
  if (!exists(files.pending)) return Found::SAME;
  return hasContent(files.pending, OWES_CHECK) ? Found::OWES_CHECK : Found::OWES_COMMAND;
}

// Beside its place, with all that it is to be.
void writeFresh(const Destination& to, const Files& files, const std::string& content) {
  std::error_code error;
  if (to.createFolders) std::filesystem::create_directories(folderOf(files.path), error);
  if (error) failFile("make", folderOf(files.path), error.value());
  auto rights = wantedRights(to, rightsOf(files.path));
  // Nobody else reads it before its owner may.
  replaceFile(files.fresh, contentBytes(content), Outlives::POWER, 0600);
  giveRights(files.fresh, rights);
}

// `owes`: what has to follow; null: nothing.
void putInPlace(const Files& files, const char* owes) {
  if (owes != nullptr) owe(files, owes);
  // What is kept already is what was good last.
  bool keeps = owes == OWES_CHECK && !exists(files.old) && exists(files.path);
  if (keeps && link(files.path.c_str(), files.old.c_str()) < 0) failFile("keep", files.path, errno);
  moveFile(files.fresh, files.path);
  syncFolder(folderOf(files.path));
}

// The file is good.
void settle(const Files& files, bool command) {
  if (command) owe(files, OWES_COMMAND);
  removeFile(files.old);
  if (!command) removeFile(files.pending);
}

void takeBack(const Files& files) {
  if (exists(files.old)) {
    moveFile(files.old, files.path);
  } else {
    removeFile(files.path);
  }
  removeFile(files.pending);
  syncFolder(folderOf(files.path));
}

std::vector<std::string> filled(std::vector<std::string> command, const std::string& file) {
  for (auto& word : command) {
    auto at = word.find(Placing::FILE_NAME.cStr());
    if (at != std::string::npos) word.replace(at, Placing::FILE_NAME.size(), file);
  }
  return command;
}

}  // namespace

std::string Placing::beside(const char* suffix) const {
  auto slash = destination.path.rfind('/');
  return destination.path.substr(0, slash + 1) + "." + destination.path.substr(slash + 1) + suffix;
}

bool Placing::checksBefore() const {
  for (auto& word : destination.check) {
    if (word.find(FILE_NAME.cStr()) != std::string::npos) return true;
  }
  return false;
}

Task<void> Placing::run(std::vector<std::string> command, const char* what) {
  ProcessSpec spec;
  for (auto& word : command) spec.argv.add(kj::str(word.c_str()));
  spec.env.add(kj::str(SEARCH_PATH));
  auto running =
      env.timer().timeoutAfter(destination.commandTimeout, env.command(kj::mv(spec)).promise());
  auto outcome = co_await attempt(kj::mv(running));
  auto name = kj::str(what, " '", command[0].c_str(), "' for '", destination.path.c_str(), "'");
  if (!outcome.ok()) {
    bool late = outcome.error().getType() == kj::Exception::Type::OVERLOADED;
    if (late) fail(kj::str(name, " was ended: it took more than commandTimeoutMs"));
    fail(kj::str(name, ": ", outcome.message()));
  }
  auto& result = outcome.value();
  if (result.status == 0) co_return;
  auto& text = result.errors.size() > 0 ? result.errors : result.output;
  auto said = text.slice(0, kj::min(text.size(), MOST_SAID_BYTES));
  std::string line(said.begin(), said.size());
  while (!line.empty() && line.back() <= ' ') line.pop_back();
  for (auto& c : line) c = c == '\n' ? ' ' : c;
  fail(kj::str(name, " ended with ", result.status, line.empty() ? "" : ": ", line.c_str()));
}

Task<void> Placing::write(const Files& files, const std::string& content, const char* owes) {
  auto write = [to = destination, files, content] { writeFresh(to, files, content); };
  co_await env.workers().run(kj::mv(write));
  if (checksBefore()) {
    auto good = co_await attempt(run(filled(destination.check, files.fresh), "the check"));
    if (!good.ok()) {
      auto drop = [files] { removeFile(files.fresh); };
      co_await env.workers().run(kj::mv(drop));
      fail(kj::str(good.message()));
    }
  }
  auto put = [files, owes] { putInPlace(files, owes); };
  co_await env.workers().run(kj::mv(put));
}

Task<void> Placing::checkInPlace(const Files& files) {
  auto good = co_await attempt(run(filled(destination.check, files.path), "the check"));
  if (good.ok()) co_return;
  auto back = [files] { takeBack(files); };
  co_await env.workers().run(kj::mv(back));
  fail(kj::str(good.message()));
}

Task<bool> Placing::put(const Files& files, const std::string& content) {
  auto pass = co_await turns.enter();
  auto look = [to = destination, files, content] { return lookAtFile(to, files, content); };
  auto found = co_await env.workers().run(kj::mv(look));
  if (found == Found::SAME) co_return false;
  bool command = !destination.command.empty();
  bool inPlace = !destination.check.empty() && !checksBefore();
  const char* owes = inPlace ? OWES_CHECK : command ? OWES_COMMAND : nullptr;
  if (found == Found::OTHER) co_await write(files, content, owes);
  bool checks = inPlace && found != Found::OWES_COMMAND;
  if (checks) co_await checkInPlace(files);
  auto good = [files, command] { settle(files, command); };
  co_await env.workers().run(kj::mv(good));
  co_return true;
}

Task<void> Placing::tell(const Files& files) {
  auto placed = turns.moment();
  auto pass = co_await turns.enter();
  auto command = filled(destination.command, files.path);
  // Another file's may have told them of this one, too.
  bool told = turns.hasRun(command, placed);
  if (told) co_return;
  auto began = turns.moment();
  co_await run(command, "the command");
  turns.ran(kj::mv(command), began);
}

Task<bool> Placing::place(std::string content) {
  Files files{destination.path, beside(".new"), beside(".old"), beside(".pending")};
  bool due = co_await put(files, content);
  if (!due) co_return false;
  if (!destination.command.empty()) co_await tell(files);
  auto done = [files] { removeFile(files.pending); };
  co_await env.workers().run(kj::mv(done));
  co_return true;
}

}  // namespace orch::integration::templates
