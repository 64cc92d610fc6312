// The file in its place: real files and programs.
#include "placing.h"

#include <catch2/catch.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "orch/attempt.h"
#include "orch/testing/test-host.h"

namespace orch::integration::templates {
namespace {

struct Disk {
  Disk() : folder("template-placing") {
    mkdir(folder.path().cStr(), 0755);
    to.path = path("out");
  }
  kj::AsyncIoContext io = kj::setupAsyncIo();
  kj::Own<Env> env = newSystemEnv(io);
  testing::TestFolder folder;
  Turns turns;
  Destination to;

  std::string path(kj::StringPtr name) { return folder.sub(name).cStr(); }
  void write(kj::StringPtr name, const std::string& text) { std::ofstream(path(name)) << text; }
  std::string read(kj::StringPtr name) {
    std::ifstream file(path(name));
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
  }
  bool isThere(kj::StringPtr name) { return std::filesystem::exists(path(name)); }
  // "placed", "nothing", or what failed.
  std::string place(const std::string& content) {
    Placing placing(*env, turns, to);
    auto outcome = attempt(placing.place(content)).wait(io.waitScope);
    if (!outcome.ok()) return outcome.message().cStr();
    return outcome.value() ? "placed" : "nothing";
  }
  std::vector<std::string> shell(const std::string& script) { return {"sh", "-c", script}; }
  // That a program appends a line to `runs` with each run.
  std::vector<std::string> counting(const std::string& more = "true") {
    return shell("echo x >> " + path("runs") + "; " + more);
  }
  size_t runs() {
    auto text = read("runs");
    return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
  }
  // Of everything in the folder.
  size_t files() {
    size_t count = 0;
    for (auto& entry : std::filesystem::directory_iterator(path(""))) count += entry.exists();
    return count;
  }
  struct stat info() {
    struct stat found = {};
    REQUIRE(stat(to.path.c_str(), &found) == 0);
    return found;
  }
};

TEST_CASE("template: a file is replaced if it is another, and only then", "[template]") {
  Disk bench;
  bench.to.command = bench.counting();
  CHECK(bench.place("a") == "placed");
  CHECK(bench.read("out") == "a");
  auto first = bench.info();
  CHECK((first.st_mode & 07777) == 0644);
  CHECK(bench.place("a") == "nothing");
  CHECK(bench.info().st_ino == first.st_ino);
  CHECK(bench.runs() == 1);
  CHECK(bench.place("b") == "placed");
  CHECK(bench.read("out") == "b");
  CHECK(bench.runs() == 2);
  CHECK(bench.files() == 2);  // and nothing is left beside it
}

TEST_CASE("template: mode and owner are those that are set, else those that were", "[template]") {
  Disk bench;
  bench.write("out", "old");
  REQUIRE(chmod(bench.to.path.c_str(), 0600) == 0);
  CHECK(bench.place("a") == "placed");
  CHECK((bench.info().st_mode & 07777) == 0600);
  bench.to.mode = 0640;
  CHECK(bench.place("a") == "nothing");
  CHECK((bench.info().st_mode & 07777) == 0640);
  if (geteuid() == 0) {
    bench.to.owner = "nobody";
    bench.to.group = "12345";
    CHECK(bench.place("b") == "placed");
    CHECK((bench.info().st_uid == 65534 && bench.info().st_gid == 12345));
    CHECK(bench.place("b") == "nothing");
  }
  bench.to.owner = "no-such-user";
  CHECK(bench.place("c") == "there is no user 'no-such-user' on this host");
  CHECK(bench.read("out") == (geteuid() == 0 ? "b" : "a"));
}

TEST_CASE("template: a check before leaves the old file where it is", "[template]") {
  Disk bench;
  bench.to.check = bench.shell("grep -q good %s || { echo bad file >&2; exit 3; }");
  bench.to.command = bench.counting();
  CHECK(bench.place("good 1") == "placed");
  auto first = bench.info();
  CHECK(bench.place("worse") ==
        "the check 'sh' for '" + bench.to.path + "' ended with 3: bad file");
  CHECK(bench.info().st_ino == first.st_ino);
  CHECK(bench.runs() == 1);
  CHECK(bench.files() == 2);
  CHECK(bench.place("good 2") == "placed");
  CHECK(bench.runs() == 2);
}

TEST_CASE("template: a check in place brings the old file back", "[template]") {
  Disk bench;
  bench.to.check = bench.shell("grep -q good " + bench.to.path);
  bench.to.command = bench.counting();
  auto refused = "the check 'sh' for '" + bench.to.path + "' ended with 1";
  CHECK(bench.place("worse") == refused);
  CHECK(!bench.isThere("out"));
  CHECK(bench.place("good 1") == "placed");
  auto first = bench.info();
  CHECK(bench.place("worse") == refused);
  CHECK(bench.read("out") == "good 1");
  CHECK(bench.info().st_ino == first.st_ino);
  CHECK(bench.runs() == 1);
  CHECK(bench.files() == 2);
}

TEST_CASE("template: a command that fails is owed", "[template]") {
  Disk bench;
  bench.to.command = bench.counting("test -e " + bench.path("up"));
  auto refused = "the command 'sh' for '" + bench.to.path + "' ended with 1";
  CHECK(bench.place("a") == refused);
  CHECK(bench.read("out") == "a");
  CHECK(bench.place("a") == refused);
  bench.write("up", "");
  CHECK(bench.place("a") == "placed");
  CHECK(bench.place("a") == "nothing");
  CHECK(bench.runs() == 3);
}

TEST_CASE("template: a command of several files is run once for those that are there",
          "[template]") {
  Disk bench;
  auto destinationOf = [&](kj::StringPtr name, const std::string& more) {
    Destination to;
    to.path = bench.path(name);
    to.command = bench.counting(more);
    return to;
  };
  Placing one(*bench.env, bench.turns, destinationOf("one", "true"));
  Placing two(*bench.env, bench.turns, destinationOf("two", "true"));
  Placing three(*bench.env, bench.turns, destinationOf("three", "true"));
  Placing other(*bench.env, bench.turns, destinationOf("other", "test -e " + bench.path("three")));
  kj::Vector<kj::Promise<bool>> all;
  for (auto* placing : {&one, &two, &three, &other}) all.add(placing->place("a"));
  for (auto& placed : all) CHECK(placed.wait(bench.io.waitScope));
  // For three of them, and for the other; and none of them is owed any more.
  CHECK(bench.runs() == 2);
  CHECK(bench.files() == 5);
  CHECK(one.place("b").wait(bench.io.waitScope));
  CHECK(bench.runs() == 3);
}

TEST_CASE("template: what a crash left is taken up", "[template]") {
  Disk bench;
  bench.to.check = bench.shell("grep -q good " + bench.to.path);
  bench.to.command = bench.counting();
  SECTION("with a bad file in place") {
    bench.write(".out.old", "good old");
    bench.write("out", "worse");
    bench.write(".out.pending", "check\n");
    bench.place("worse");
    CHECK(bench.read("out") == "good old");
    CHECK(bench.runs() == 0);
  }
  SECTION("with a good file in place that nobody was told of") {
    bench.write("out", "good new");
    bench.write(".out.pending", "command\n");
    // Others' files may be broken now: the command says so, and this file stays.
    bench.to.check = bench.shell("false");
    CHECK(bench.place("good new") == "placed");
    CHECK(bench.runs() == 1);
  }
  SECTION("with a bad file in place, and another one to come") {
    bench.write(".out.old", "good old");
    bench.write("out", "worse");
    bench.write(".out.pending", "check\n");
    CHECK(bench.place("as bad").starts_with("the check"));
    CHECK(bench.read("out") == "good old");
    CHECK(bench.place("good new") == "placed");
    CHECK(bench.runs() == 1);
  }
  CHECK(!bench.isThere(".out.pending"));
  CHECK(!bench.isThere(".out.old"));
}

TEST_CASE("template: folders are made, or not", "[template]") {
  Disk bench;
  bench.to.path = bench.path("a/b/out");
  bench.to.createFolders = false;
  CHECK(bench.place("x").find("No such file or directory") != std::string::npos);
  bench.to.createFolders = true;
  CHECK(bench.place("x") == "placed");
  CHECK(bench.read("a/b/out") == "x");
  bench.to.path = bench.path("a");
  CHECK(bench.place("x") == "'" + bench.path("a") + "' is no file");
}

TEST_CASE("template: a program that there is not is named", "[template]") {
  Disk bench;
  bench.to.check = {"/no/such/program", "%s"};
  CHECK(bench.place("x").find("'/no/such/program'") != std::string::npos);
  CHECK(!bench.isThere("out"));
}

}  // namespace
}  // namespace orch::integration::templates
