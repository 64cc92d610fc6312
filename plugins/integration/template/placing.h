// The file that a template makes: put in its place as a whole, and only if it is good.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "orch/env.h"
#include "orch/semaphore.h"

namespace orch::integration::templates {

struct Destination {
  std::string path;                  // absolute
  std::optional<unsigned> mode;      // nothing: that of the file that is there, else 0644
  std::string owner, group;          // a name or a number; empty: those of the file that is there
  std::vector<std::string> check;    // a program and its arguments; empty: none
  std::vector<std::string> command;  // the same
  kj::Duration commandTimeout = 30 * kj::SECONDS;
  bool createFolders = true;
};

// Of the files of one plugin. One at a time is put in its place and checked, or told of: what
// checks a file in its place is about the others, too, and a program that is told must not see one
// that is bad. A command that several files have is run once for all that are in their places when
// it begins.
class Turns final {
 public:
  kj::Promise<Semaphore::Pass> enter() { return turn.enter(); }
  // A moment; each is later than the one before.
  uint64_t moment() { return ++last; }
  // Whether the command has begun since then, and succeeded.
  bool hasRun(const std::vector<std::string>& command, uint64_t since) const {
    auto found = begun.find(command);
    return found != begun.end() && found->second > since;
  }
  void ran(std::vector<std::string> command, uint64_t began) { begun[std::move(command)] = began; }

 private:
  Semaphore turn{1};
  uint64_t last = 0;
  std::map<std::vector<std::string>, uint64_t> begun;  // no more than there are templates
};

struct PlacedFiles {
  std::string path, fresh, old, pending;
};

// Beside `folder/name` stand, while it is at work: `.name.new`, not in place yet; `.name.old`, what
// stood there before and was good; `.name.pending`, which says whether check or command are still
// owed. They outlive a crash, and the next call takes up what is owed.
class Placing final {
 public:
  // What `check` has in place of an argument, or in one: the path of the new file, which is then
  // checked before it is in place. Without, it is checked in place, and goes again if it is bad.
  static constexpr kj::StringPtr FILE_NAME = "%s"_kj;

  // Both outlive it.
  Placing(Env& env, Turns& turns, Destination destination)
      : env(env), turns(turns), destination(std::move(destination)) {}

  // False if nothing was due: the file has this content already, and no command is owed. Fails if
  // the check does, and then the old file is in place; and if the command does, which is then owed.
  // One at a time.
  Task<bool> place(std::string content);

 private:
  // False if nothing was due.
  Task<bool> put(const PlacedFiles& files, const std::string& content);
  Task<void> tell(const PlacedFiles& files);
  // `command` has no `%s` in it any more.
  Task<void> run(std::vector<std::string> command, const char* what);
  // Puts it in place, checked if the check names the file.
  Task<void> write(const PlacedFiles& files, const std::string& content, const char* owes);
  Task<void> checkInPlace(const PlacedFiles& files);
  bool checksBefore() const;
  std::string beside(const char* suffix) const;

  Env& env;
  Turns& turns;
  const Destination destination;
};

}  // namespace orch::integration::templates
