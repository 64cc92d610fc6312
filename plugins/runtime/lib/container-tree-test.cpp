#include "container-tree.h"

#include <catch2/catch.hpp>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "orch/testing/test-host.h"
#include "runnable.h"

namespace orch::runtime {
namespace {

namespace fs = std::filesystem;
using Kind = ContainerTree::Kind;

struct Tree {
  explicit Tree(kj::StringPtr name) : folder(name), rootPath(folder.sub("root").cStr()) {
    for (auto path : {"/bin", "/real", "/etc"}) fs::create_directories(rootPath + path);
    fs::create_directories(folder.sub("source").cStr());
    std::ofstream(rootPath + "/file") << "x";
  }
  void link(const char* target, const char* path) { fs::create_symlink(target, rootPath + path); }
  std::string source() { return folder.sub("source").cStr(); }
  testing::TestFolder folder;
  std::string rootPath;
};

TEST_CASE("container tree: a folder is made where links lead, though there is nothing yet",
          "[runtime]") {
  Tree on("tree-links");
  on.link("/srv/t1", "/t1");
  on.link("../new", "/real/up");
  on.link("t1", "/twice");
  RootFolder root(on.rootPath);
  ContainerTree tree(root);
  tree.makeFolder("/t1/work");
  CHECK(fs::is_directory(on.rootPath + "/srv/t1/work"));
  CHECK(tree.makeTarget("/real/up", true).path == "/new");
  CHECK(fs::is_directory(on.rootPath + "/new"));
  CHECK(tree.makeTarget("/twice/x", false).path == "/srv/t1/x");
  CHECK(fs::is_regular_file(on.rootPath + "/srv/t1/x"));
  CHECK(tree.makeTarget("/bin/../real", true).path == "/real");
}

TEST_CASE("container tree: links that run in a circle and files in the way are named",
          "[runtime]") {
  Tree on("tree-circle");
  on.link("b", "/a");
  on.link("a", "/b");
  on.link("/", "/top");
  RootFolder root(on.rootPath);
  ContainerTree tree(root);
  CHECK_THROWS_WITH(tree.makeFolder("/a/x"),
                    Catch::Contains("the links of '/a/x' in the container run in a circle"));
  CHECK_THROWS_WITH(tree.makeFolder("/file/a"), Catch::Contains("'/file' is in the way"));
  CHECK_THROWS_WITH(tree.makeFolder("/file"), Catch::Contains("'/file' is in the way"));
  CHECK_THROWS_WITH(tree.makeTarget("/file", true),
                    Catch::Contains("cannot mount a folder at '/file': the container has a file"));
  CHECK_THROWS_WITH(tree.makeTarget("/real", false), Catch::Contains("cannot mount a file"));
  CHECK_THROWS_WITH(tree.makeTarget("/top", true), Catch::Contains("is the root itself"));
}

TEST_CASE("container tree: what is missing in a mount is made there, unless it is read-only",
          "[runtime]") {
  Tree on("tree-mounts");
  fs::create_directories(on.source() + "/there");
  fs::create_symlink("/real/from-inside", on.source() + "/out");
  RootFolder root(on.rootPath);
  ContainerTree tree(root);
  tree.mount("/real", on.source(), true, false);
  CHECK(tree.makeTarget("/real/made", true).inRoot == false);
  CHECK(fs::is_directory(on.source() + "/made"));
  CHECK_FALSE(fs::exists(on.rootPath + "/real/made"));
  // A link in a mount is of the container, too.
  CHECK(tree.makeTarget("/real/out", true).path == "/real/from-inside");
  CHECK(fs::is_directory(on.source() + "/from-inside"));

  tree.mount("/etc", on.source(), true, true);
  CHECK(tree.makeTarget("/etc/there", true).path == "/etc/there");
  CHECK_THROWS_WITH(tree.makeTarget("/etc/not", true),
                    Catch::Contains("what is mounted at '/etc' is read-only: make 'not' in '"));
  CHECK_THROWS_WITH(tree.makeFolder("/etc/conf/dir"), Catch::Contains("is read-only"));
  CHECK_FALSE(fs::exists(on.source() + "/not"));
  CHECK_FALSE(fs::exists(on.source() + "/conf"));
  // A file system that is made with the container is left to the runtime.
  tree.mount("/bin", "", true, false);
  CHECK(tree.makeTarget("/bin/a/b", true).path == "/bin/a/b");
  CHECK_FALSE(fs::exists(on.rootPath + "/bin/a"));
  CHECK(tree.look("/bin/a").kind == Kind::UNKNOWN);
}

TEST_CASE("container tree: why a program cannot be executed", "[runtime]") {
  Tree on("tree-program");
  std::ofstream(on.rootPath + "/bin/tool") << "x";
  fs::permissions(on.rootPath + "/bin/tool", fs::perms(0755));
  fs::create_directories(on.rootPath + "/bin/sub");
  on.link("tool", "/bin/alias");
  RootFolder root(on.rootPath);
  ContainerTree tree(root);
  auto why = [&](const char* program, const char* workdir = "/") -> std::string {
    CheckedRequest checked;
    checked.arguments = {program};
    checked.environment = {"PATH=/sbin:/bin"};
    checked.workdir = workdir;
    auto said = whyNotRunnable(tree, checked);
    KJ_IF_MAYBE (text, said) return text->cStr();
    return "";
  };
  CHECK(why("/bin/tool") == "");
  CHECK(why("alias") == "");
  CHECK(why("./tool", "/bin") == "");
  CHECK(why("/bin") == "cannot run '/bin': it is a folder");
  CHECK(why("sub") == "cannot run 'sub': of '/bin/sub': it is a folder");
  CHECK(why("/nope") == "cannot run '/nope': the container has no such file");
  CHECK(why("/file/x") == "cannot run '/file/x': the container has no such file");
  CHECK(why("/file") == "cannot run '/file': it is not executable (its mode is 0644)");
  CHECK(why("nope") ==
        "cannot run 'nope': none of the folders of PATH (/sbin:/bin) in the container has it");
}

}  // namespace
}  // namespace orch::runtime
